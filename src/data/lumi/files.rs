//! Reads the OMS, HLT and brilcalc files of an experiment.

use super::{brilcalc, hlt, info::LumiInfo, oms};
use crate::{config::data::Data, data::paths::expand, error::Result};
use std::collections::BTreeSet;

impl LumiInfo {
    /// Reads the quantities `wanted` from the files that have them.
    pub fn read(files: &Data, wanted: &BTreeSet<String>) -> Result<Self> {
        let mut info = Self::default();
        for path in expand(&files.oms)? {
            oms::read(&mut info, &path, wanted)?;
        }
        for path in expand(&files.hlt)? {
            hlt::read(&mut info, &path, wanted)?;
        }
        for path in expand(&files.brilcalc)? {
            brilcalc::read(&mut info, &path, wanted)?;
        }
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Key, Value},
        data::lumisections::Lumisection,
    };

    fn info(kind: &str, text: &str, names: &[&str]) -> Result<LumiInfo> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let paths = vec![file.path().to_path_buf()];
        let files = match kind {
            "oms" => Data { oms: Key::of(vec![], paths), ..Data::default() },
            "hlt" => Data { hlt: Key::of(vec![], paths), ..Data::default() },
            _ => Data { brilcalc: Key::of(vec![], paths), ..Data::default() },
        };
        LumiInfo::read(&files, &names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn get(info: &LumiInfo, name: &str, run: u32, ls: u32) -> Value {
        info.get(name, Lumisection { run: Some(run), ls }).unwrap().0
    }

    #[test]
    fn what_oms_does_not_say_is_unknown() {
        let text = "{\"run_number\": [1, 1], \"lumisection_number\": [1, 2], \"pileup\": [0.0, null], \"beams_stable\": [true, false], \"prescale_name\": [\"a\", \"b\"]}";
        let info = info("oms", text, &["pileup", "beams_stable", "prescale_name"]).unwrap();
        assert_eq!(get(&info, "pileup", 1, 1), Value::Number(0.0));
        assert_eq!(get(&info, "pileup", 1, 2), Value::Unknown);
        assert_eq!(get(&info, "pileup", 1, 3), Value::Unknown);
        assert_eq!(get(&info, "beams_stable", 1, 2), Value::Number(0.0));
        assert_eq!(get(&info, "prescale_name", 1, 1), Value::Text("a".into()));
        assert!(info.names.contains("run_number") && !info.has("run_number"));
    }

    #[test]
    fn a_trigger_is_found_whatever_its_version() {
        let text = "{\"7\": {\"HLT_ZeroBias_v9\": {\"rate\": [1.5, 2], \"first_lumisection_number\": [1, 2]}}, \"8\": {\"HLT_ZeroBias_v10\": {\"rate\": [3], \"first_lumisection_number\": [1]}}}";
        let info = info("hlt", text, &["HLT_ZeroBias_v*"]).unwrap();
        assert_eq!(
            [get(&info, "HLT_ZeroBias_v*", 7, 2), get(&info, "HLT_ZeroBias_v*", 8, 1)],
            [Value::Number(2.0), Value::Number(3.0)]
        );
        assert_eq!(get(&info, "HLT_ZeroBias_v*", 8, 2), Value::Unknown);
    }

    #[test]
    fn a_trigger_may_change_its_version_within_a_run() {
        let text = |first: &str, second: &str| {
            let path = |version: u32, rate: &str, from: u32| {
                format!(
                    "\"HLT_ZeroBias_v{version}\": {{\"rate\": [{rate}], \"first_lumisection_number\": [{from}, {}]}}",
                    from + 1
                )
            };
            format!("{{\"7\": {{{}, {}}}}}", path(9, first, 1), path(10, second, 2))
        };
        let found = info("hlt", &text("1, 0", "2, 3"), &["HLT_ZeroBias_v*"]).unwrap();
        assert_eq!(
            [1, 2, 3].map(|ls| get(&found, "HLT_ZeroBias_v*", 7, ls)),
            [1.0, 2.0, 3.0].map(Value::Number)
        );
        let message =
            info("hlt", &text("1, 5", "2, 3"), &["HLT_ZeroBias_v*"]).unwrap_err().to_string();
        assert!(
            message.contains("at run 7 LS 2 HLT_ZeroBias_v10 has the rate 2 and HLT_ZeroBias_v9 5"),
            "{message}"
        );
        assert!(info("hlt", &text("1, 5", "2, 3"), &["HLT_ZeroBias_v9"]).is_ok());
    }

    #[test]
    fn brilcalc_names_run_and_ls_with_colons() {
        let text = "#Data tag : 23v1\n#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/ub),avgpu,source\n297050:5849,12:12,06/19/17 01:02:03,STABLE BEAMS,6500,12.5,11.0,30.1,PXL\n#Summary:\n";
        let info = info("brilcalc", text, &["recorded", "beamstatus"]).unwrap();
        assert_eq!(get(&info, "recorded", 297_050, 12), Value::Number(11.0));
        assert_eq!(get(&info, "beamstatus", 297_050, 12), Value::Text("STABLE BEAMS".into()));
    }

    #[test]
    fn other_files_are_refused() {
        for (kind, text, part) in [
            ("oms", "{\"run_number\": [1], \"pileup\": [1]}", "no array lumisection_number"),
            (
                "oms",
                "{\"run_number\": [1], \"lumisection_number\": [1], \"pileup\": [1, 2]}",
                "pileup has 2 entries",
            ),
            ("oms", "[1]", "equally long arrays"),
            (
                "oms",
                "{\"run_number\": [1, 1], \"lumisection_number\": [1, 1], \"pileup\": [1, 2]}",
                "of run 1 LS 1",
            ),
            ("hlt", "{\"a\": {}}", "\"a\" is not a run number"),
            (
                "hlt",
                "{\"1\": {\"p\": {\"rate\": [1], \"first_lumisection_number\": []}}}",
                "1 rates for 0",
            ),
            ("brilcalc", "1,2,3\n", "no header"),
            (
                "oms",
                "{\"run_number\": [1], \"lumisection_number\": [1], \"pileup\": [1], \"pileup\": [2]}",
                "the key \"pileup\" is there twice",
            ),
            (
                "oms",
                "{\"run_number\": [1], \"run\": [2], \"lumisection_number\": [1]}",
                "run_number and run are both there and differ",
            ),
            ("hlt", "{\"1\": {}, \"1\": {}}", "the key \"1\" is there twice"),
            (
                "brilcalc",
                "#run:fill,ls,pileup(a),x,pileup(b)\n1:1,1:1,1,2,1\n",
                "columns 1 and 3 are named \"pileup\"",
            ),
        ] {
            let message = info(kind, text, &["pileup"]).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
