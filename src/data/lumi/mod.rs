//! What else is known of lumisections: OMS quantities, trigger rates, luminosities. Joined by (run,
//! LS); what is missing is unknown, never 0.

pub mod automasks;
pub mod golden_json;

use super::{
    expand,
    json::Object,
    lumisections::Lumisection,
    read::{names, text::Source},
    table::is_missing,
};
use crate::{
    config::{Value, data::Data},
    error::{Error, Result},
};
use golden_json::LumisectionSet;
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

/// The quantity that says when an LS began, in seconds since 1970 or by ISO 8601.
pub const START_TIME: &str = "start_time";

/// Recorded luminosity of a lumisection, by its name in OMS and in brilcalc.
pub const LUMINOSITIES: [&str; 2] = ["recorded_lumi_per_lumisection", "recorded"];

/// Quantities by name and lumisection.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// All names that the files have, for suggestions.
    pub names: BTreeSet<String>,
    quantities: BTreeMap<String, Quantity>,
}

/// One quantity.
#[derive(Clone, Debug)]
struct Quantity {
    origin: Origin,
    values: HashMap<(u32, u32), Value>,
}

/// Where a quantity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An OMS file.
    Oms,
    /// A file of trigger rates.
    Hlt,
    /// A brilcalc file.
    Brilcalc,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Oms => "OMS",
            Self::Hlt => "the HLT rates",
            Self::Brilcalc => "the brilcalc luminosities",
        })
    }
}

impl Facts {
    /// Reads the quantities of these names from the files that have them.
    pub fn read(files: &Data, wanted: &BTreeSet<String>) -> Result<Self> {
        let mut facts = Self::default();
        for path in expand(&files.oms)? {
            facts.read_oms(&path, wanted)?;
        }
        for path in expand(&files.hlt)? {
            facts.read_hlt(&path, wanted)?;
        }
        for path in expand(&files.brilcalc)? {
            facts.read_brilcalc(&path, wanted)?;
        }
        Ok(facts)
    }

    /// Whether a name is one of theirs.
    pub fn has(&self, name: &str) -> bool {
        self.quantities.contains_key(name)
    }

    /// The value of a quantity for a lumisection, and where the quantity comes from; `None` where
    /// no file has the name.
    pub fn get(&self, name: &str, id: Lumisection) -> Option<(Value, Origin)> {
        let quantity = self.quantities.get(name)?;
        let value = id
            .run
            .and_then(|run| quantity.values.get(&(run, id.ls)))
            .cloned()
            .unwrap_or(Value::Unknown);
        Some((value, quantity.origin))
    }

    /// The values of a quantity in a run, by LS.
    pub fn of_run(&self, name: &str, run: u32) -> Vec<(u32, Value)> {
        let Some(quantity) = self.quantities.get(name) else { return vec![] };
        let mut values: Vec<(u32, Value)> = quantity
            .values
            .iter()
            .filter(|((of, _), _)| *of == run)
            .map(|((_, ls), value)| (*ls, value.clone()))
            .collect();
        values.sort_by_key(|(ls, _)| *ls);
        values
    }

    /// The lumisections of which something is known.
    fn covered(&self) -> LumisectionSet {
        let mut runs: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for (run, ls) in self.quantities.values().flat_map(|quantity| quantity.values.keys()) {
            runs.entry(*run).or_default().push((*ls, *ls));
        }
        LumisectionSet::from_ranges(&runs)
    }

    /// Sets a value; two files that disagree are an error.
    fn set(
        &mut self,
        path: &Path,
        name: &str,
        origin: Origin,
        id: (u32, u32),
        value: Value,
    ) -> Result<()> {
        let quantity = self
            .quantities
            .entry(name.to_owned())
            .or_insert_with(|| Quantity { origin, values: HashMap::new() });
        if value == Value::Unknown {
            return Ok(());
        }
        match quantity.values.insert(id, value.clone()) {
            Some(before) if before != value => {
                let (run, ls) = id;
                Err(Error::input(format!(
                    "{}: {name} of run {run} LS {ls} is {value:?}, but was {before:?} before",
                    path.display()
                )))
            }
            _ => Ok(()),
        }
    }

    /// A JSON object of equally long arrays, with `run_number` and `lumisection_number`.
    fn read_oms(&mut self, path: &Path, wanted: &BTreeSet<String>) -> Result<()> {
        let wrong = |reason: String| {
            Error::input(format!(
                "{}: {reason}; expected a JSON object of equally long arrays, as OMS has them",
                path.display()
            ))
        };
        let text = Source::open(path)?.rest(path)?;
        let columns: Object<Vec<Json>> =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let column = |names: &[&str]| {
            let mut all = names.iter().filter_map(|name| Some((name, columns.get(*name)?)));
            let (first, found) =
                all.next().ok_or_else(|| wrong(format!("no array {}", names.join(" or "))))?;
            if let Some((other, _)) = all.find(|(_, other)| *other != found) {
                return Err(wrong(format!(
                    "{first} and {other} are both there and differ; expected one of them"
                )));
            }
            let number = |(i, value): (usize, &Json)| {
                value
                    .as_u64()
                    .and_then(|number| u32::try_from(number).ok())
                    .ok_or_else(|| wrong(format!("entry {i} of {} is {value}", names[0])))
            };
            found.iter().enumerate().map(number).collect::<Result<Vec<u32>>>()
        };
        let (runs, lumisections) =
            (column(&["run_number", "run"])?, column(&["lumisection_number", "ls_number", "ls"])?);
        if let Some((name, values)) = columns.iter().find(|(_, values)| values.len() != runs.len())
        {
            return Err(wrong(format!(
                "{name} has {} entries where run_number has {}",
                values.len(),
                runs.len()
            )));
        }
        for (name, values) in columns.iter() {
            self.names.insert(name.clone());
            if !wanted.contains(name) {
                continue;
            }
            for ((run, ls), value) in runs.iter().zip(&lumisections).zip(values) {
                self.set(path, name, Origin::Oms, (*run, *ls), json_value(value))?;
            }
        }
        Ok(())
    }

    /// `{"run": {"path_v3": {"rate": […], "first_lumisection_number": […]}}}`. A wanted `path_v*`
    /// is every version of it.
    fn read_hlt(&mut self, path: &Path, wanted: &BTreeSet<String>) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Rates {
            rate: Vec<Option<f64>>,
            first_lumisection_number: Vec<u32>,
        }
        let wrong = |reason: String| {
            let expected =
                "{\"run\": {\"path\": {\"rate\": […], \"first_lumisection_number\": […]}}}";
            Error::input(format!("{}: {reason}; expected {expected}", path.display()))
        };
        let text = Source::open(path)?.rest(path)?;
        let runs: Object<Object<Rates>> =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        for (run, paths) in runs.iter() {
            let number: u32 =
                run.parse().map_err(|_| wrong(format!("\"{run}\" is not a run number")))?;
            // The version of a path may change within a run; only one has a rate at a time.
            let mut rates: BTreeMap<&str, BTreeMap<u32, (f64, &str)>> = BTreeMap::new();
            for (trigger, entries) in paths.iter() {
                if entries.rate.len() != entries.first_lumisection_number.len() {
                    let (rates, lumisections) =
                        (entries.rate.len(), entries.first_lumisection_number.len());
                    return Err(wrong(format!(
                        "run {run}, {trigger}: {rates} rates for {lumisections} lumisections"
                    )));
                }
                let any_version = trigger
                    .rsplit_once("_v")
                    .filter(|(_, version)| version.bytes().all(|byte| byte.is_ascii_digit()));
                let any_version = any_version.map(|(name, _)| format!("{name}_v*"));
                for name in std::iter::once(trigger.clone()).chain(any_version) {
                    self.names.insert(name.clone());
                    let Some(name) = wanted.get(&name) else { continue };
                    for (ls, rate) in entries.first_lumisection_number.iter().zip(&entries.rate) {
                        let Some(rate) = *rate else { continue };
                        let known =
                            rates.entry(name).or_default().entry(*ls).or_insert((0.0, trigger));
                        match *known {
                            (before, _)
                                if before == 0.0 || known.1 == trigger && before == rate =>
                            {
                                *known = (rate, trigger)
                            }
                            _ if rate == 0.0 => {}
                            (before, other) => {
                                let path = path.display();
                                return Err(Error::input(format!(
                                    "{path}: at run {run} LS {ls} {other} has the rate {before} and {trigger} {rate}, so that {name} could be either; name the version"
                                )));
                            }
                        }
                    }
                }
            }
            for (name, rates) in rates {
                for (ls, (rate, _)) in rates {
                    self.set(path, name, Origin::Hlt, (number, ls), Value::Number(rate))?;
                }
            }
        }
        Ok(())
    }

    /// `#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/ub),avgpu,source`, then rows
    /// with `run:fill` and `ls:ls`.
    fn read_brilcalc(&mut self, path: &Path, wanted: &BTreeSet<String>) -> Result<()> {
        let text = Source::open(path)?.rest(path)?;
        let text = String::from_utf8_lossy(&text);
        let place = |line: usize, reason: &str| {
            let path = path.display();
            Error::input(format!(
                "{path}:{}: {reason}; expected what `brilcalc lumi --byls --output-style csv` writes",
                line + 1
            ))
        };
        let mut header: Vec<&str> = vec![];
        for (number, line) in text.lines().enumerate() {
            if let Some(names) = line.strip_prefix("#run:fill,ls,") {
                header = names
                    .split(',')
                    .map(|name| name.split('(').next().unwrap_or(name).trim())
                    .collect();
                self.names.extend(header.iter().map(|name| (*name).to_owned()));
                let known: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
                names::refuse_repeated(
                    path,
                    &known,
                    (0..known.len()).filter(|at| wanted.contains(header[*at])),
                )?;
                continue;
            }
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            if header.is_empty() {
                return Err(place(number, "no header \"#run:fill,ls,…\" above the first row"));
            }
            let fields: Vec<&str> = line.split(',').collect();
            let first = |at: usize| {
                fields.get(at).and_then(|field| field.split(':').next()?.trim().parse::<u32>().ok())
            };
            let (Some(run), Some(ls)) = (first(0), first(1)) else {
                return Err(place(number, "a row without run:fill and ls:ls"));
            };
            if fields.len() != header.len() + 2 {
                return Err(place(
                    number,
                    &format!("{} fields where the header has {}", fields.len(), header.len() + 2),
                ));
            }
            for (name, field) in
                header.iter().zip(&fields[2..]).filter(|(name, _)| wanted.contains(**name))
            {
                let field = field.trim();
                let known =
                    || field.parse().map_or_else(|_| Value::Text(field.into()), Value::Number);
                let value = if is_missing(field) { Value::Unknown } else { known() };
                self.set(path, name, Origin::Brilcalc, (run, ls), value)?;
            }
        }
        if header.is_empty() { Err(place(0, "no header \"#run:fill,ls,…\"")) } else { Ok(()) }
    }
}

/// A file that says something about lumisections.
pub enum Known {
    /// A golden or DCS JSON, or a list.
    Lumisections(LumisectionSet),
    /// Quantities by lumisection.
    Quantities {
        /// Which kind of file.
        format: &'static str,
        /// The lumisections it covers.
        covered: LumisectionSet,
        /// What it says of them.
        names: Vec<String>,
    },
    /// JSON of another kind.
    Other {
        /// What it seems to be.
        what: String,
        /// Its keys.
        names: Vec<String>,
    },
}

/// What a file says about lumisections; `None` where it is a page of histograms.
pub fn recognise(path: &Path) -> Result<Option<Known>> {
    let start = Source::open(path)?.peek(path, 4096)?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start).trim_ascii_start();
    if !super::table::looks_like_json(start) {
        if start.starts_with(b"#") {
            let mut facts = Facts::default();
            facts.read_brilcalc(path, &BTreeSet::from(["recorded".to_owned()]))?;
            let format = "luminosities of brilcalc";
            return Ok(Some(Known::Quantities {
                format,
                covered: facts.covered(),
                names: facts.names.into_iter().collect(),
            }));
        }
        // A list begins with numbers; anything else need not be read to its end to know.
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if !line.iter().all(|byte| {
            byte.is_ascii_digit() || byte.is_ascii_whitespace() || b",;#".contains(byte)
        }) {
            return Err(Error::input(format!("{}: no list of lumisections", path.display())));
        }
        return LumisectionSet::read(path).map(|set| Some(Known::Lumisections(set)));
    }
    let text = Source::open(path)?.rest(path)?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let json: Json = serde_json::from_slice(text)
        .map_err(|error| Error::input(format!("{}: not valid JSON: {error}", path.display())))?;
    let keys = |json: &Json| {
        json.as_object()
            .map(|object| object.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let of_runs = |object: &serde_json::Map<String, Json>, is: fn(&Json) -> bool| {
        object.iter().all(|(key, value)| key.parse::<u32>().is_ok() && is(value))
    };
    let other = |what: String, names: Vec<String>| Ok(Some(Known::Other { what, names }));
    match &json {
        Json::Object(object) if of_runs(object, Json::is_array) => {
            LumisectionSet::read(path).map(|set| Some(Known::Lumisections(set)))
        }
        Json::Object(object) if of_runs(object, Json::is_object) => {
            let mut facts = Facts::default();
            facts.read_hlt(path, &BTreeSet::new())?;
            let names: BTreeSet<String> = std::mem::take(&mut facts.names);
            facts.read_hlt(path, &names)?;
            Ok(Some(Known::Quantities {
                format: "trigger rates",
                covered: facts.covered(),
                names: names.into_iter().collect(),
            }))
        }
        Json::Object(object) if object.contains_key("run_number") => {
            let mut facts = Facts::default();
            facts.read_oms(path, &BTreeSet::from(["run_number".to_owned()]))?;
            Ok(Some(Known::Quantities {
                format: "quantities of OMS",
                covered: facts.covered(),
                names: facts.names.into_iter().collect(),
            }))
        }
        Json::Object(object) => match object.get("results").and_then(Json::as_array) {
            Some(results) if results.first().is_some_and(|first| first.get("data").is_some()) => {
                Ok(None)
            }
            Some(results) => {
                let names = results.first().map(keys).unwrap_or_default();
                let of = if names.iter().any(|name| name == "ls_number") {
                    " of lumisections"
                } else {
                    ""
                };
                other(
                    format!("a DIALS page{of} with {} results, no histograms", results.len()),
                    names,
                )
            }
            None => other("JSON of another kind".into(), keys(&json)),
        },
        Json::Array(records) => other(
            format!("a JSON list of {} records", records.len()),
            records.first().map(keys).unwrap_or_default(),
        ),
        _ => other("JSON of another kind".into(), vec![]),
    }
}

fn json_value(value: &Json) -> Value {
    match value {
        Json::Bool(flag) => Value::Number(f64::from(u8::from(*flag))),
        Json::Number(number) => number.as_f64().map_or(Value::Unknown, Value::Number),
        Json::String(text) => Value::Text(text.as_str().into()),
        _ => Value::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;

    fn facts(kind: &str, text: &str, names: &[&str]) -> Result<Facts> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let paths = vec![file.path().to_path_buf()];
        let files = match kind {
            "oms" => Data { oms: Key::of(vec![], paths), ..Data::default() },
            "hlt" => Data { hlt: Key::of(vec![], paths), ..Data::default() },
            _ => Data { brilcalc: Key::of(vec![], paths), ..Data::default() },
        };
        Facts::read(&files, &names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn get(facts: &Facts, name: &str, run: u32, ls: u32) -> Value {
        facts.get(name, Lumisection { run: Some(run), ls }).unwrap().0
    }

    #[test]
    fn what_oms_does_not_say_is_unknown() {
        let text = "{\"run_number\": [1, 1], \"lumisection_number\": [1, 2], \"pileup\": [0.0, null], \"beams_stable\": [true, false], \"prescale_name\": [\"a\", \"b\"]}";
        let facts = facts("oms", text, &["pileup", "beams_stable", "prescale_name"]).unwrap();
        assert_eq!(get(&facts, "pileup", 1, 1), Value::Number(0.0));
        assert_eq!(get(&facts, "pileup", 1, 2), Value::Unknown);
        assert_eq!(get(&facts, "pileup", 1, 3), Value::Unknown);
        assert_eq!(get(&facts, "beams_stable", 1, 2), Value::Number(0.0));
        assert_eq!(get(&facts, "prescale_name", 1, 1), Value::Text("a".into()));
        assert!(facts.names.contains("run_number") && !facts.has("run_number"));
    }

    #[test]
    fn a_trigger_is_found_whatever_its_version() {
        let text = "{\"7\": {\"HLT_ZeroBias_v9\": {\"rate\": [1.5, 2], \"first_lumisection_number\": [1, 2]}}, \"8\": {\"HLT_ZeroBias_v10\": {\"rate\": [3], \"first_lumisection_number\": [1]}}}";
        let facts = facts("hlt", text, &["HLT_ZeroBias_v*"]).unwrap();
        assert_eq!(
            [get(&facts, "HLT_ZeroBias_v*", 7, 2), get(&facts, "HLT_ZeroBias_v*", 8, 1)],
            [Value::Number(2.0), Value::Number(3.0)]
        );
        assert_eq!(get(&facts, "HLT_ZeroBias_v*", 8, 2), Value::Unknown);
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
        let found = facts("hlt", &text("1, 0", "2, 3"), &["HLT_ZeroBias_v*"]).unwrap();
        assert_eq!(
            [1, 2, 3].map(|ls| get(&found, "HLT_ZeroBias_v*", 7, ls)),
            [1.0, 2.0, 3.0].map(Value::Number)
        );
        let message =
            facts("hlt", &text("1, 5", "2, 3"), &["HLT_ZeroBias_v*"]).unwrap_err().to_string();
        assert!(
            message.contains("at run 7 LS 2 HLT_ZeroBias_v10 has the rate 2 and HLT_ZeroBias_v9 5"),
            "{message}"
        );
        assert!(facts("hlt", &text("1, 5", "2, 3"), &["HLT_ZeroBias_v9"]).is_ok());
    }

    #[test]
    fn brilcalc_names_run_and_ls_with_colons() {
        let text = "#Data tag : 23v1\n#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/ub),avgpu,source\n297050:5849,12:12,06/19/17 01:02:03,STABLE BEAMS,6500,12.5,11.0,30.1,PXL\n#Summary:\n";
        let facts = facts("brilcalc", text, &["recorded", "beamstatus"]).unwrap();
        assert_eq!(get(&facts, "recorded", 297_050, 12), Value::Number(11.0));
        assert_eq!(get(&facts, "beamstatus", 297_050, 12), Value::Text("STABLE BEAMS".into()));
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
            let message = facts(kind, text, &["pileup"]).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
