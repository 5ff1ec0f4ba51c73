//! Recognises files with information on lumisections of any format.

use super::{brilcalc, golden_json::LumisectionSet, hlt, info::LumiInfo, oms};
use crate::{
    data::read::{
        format::looks_like_json,
        text::{Source, without_mark},
    },
    error::{Error, Result},
};
use serde_json::{Map, Value as Json};
use std::{collections::BTreeSet, path::Path};

/// A file with information on lumisections.
pub enum LumiFile {
    /// A golden or DCS JSON, or a list.
    Lumisections(LumisectionSet),
    /// Quantities by lumisection.
    Quantities {
        /// The kind of file.
        format: &'static str,
        /// The lumisections it covers.
        covered: LumisectionSet,
        /// The names of its quantities.
        names: Vec<String>,
    },
    /// JSON of another kind.
    Other {
        /// Description of its probable kind.
        what: String,
        /// Its keys.
        names: Vec<String>,
    },
}

/// The content of a file with information on lumisections; `None` if it is a page of histograms.
pub fn recognise(path: &Path) -> Result<Option<LumiFile>> {
    let start = Source::open(path)?.peek(path, 4096)?;
    let start = without_mark(&start).trim_ascii_start();
    if !looks_like_json(start) {
        if start.starts_with(b"#") {
            let mut info = LumiInfo::default();
            brilcalc::read(&mut info, path, &BTreeSet::from(["recorded".to_owned()]))?;
            let format = "luminosities of brilcalc";
            return Ok(Some(LumiFile::Quantities {
                format,
                covered: info.covered(),
                names: info.names.into_iter().collect(),
            }));
        }
        // A list begins with numbers, so other files need not be read to the end.
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if !line.iter().all(|byte| {
            byte.is_ascii_digit() || byte.is_ascii_whitespace() || b",;#".contains(byte)
        }) {
            return Err(Error::input(format!("{}: no list of lumisections", path.display())));
        }
        return LumisectionSet::read(path).map(|set| Some(LumiFile::Lumisections(set)));
    }
    let text = Source::open(path)?.rest(path)?;
    let text = without_mark(&text);
    let json: Json = serde_json::from_slice(text)
        .map_err(|error| Error::input(format!("{}: not valid JSON: {error}", path.display())))?;
    let other = |what: String, names: Vec<String>| Ok(Some(LumiFile::Other { what, names }));
    match &json {
        Json::Object(object) if of_runs(object, Json::is_array) => {
            LumisectionSet::read(path).map(|set| Some(LumiFile::Lumisections(set)))
        }
        Json::Object(object) if of_runs(object, Json::is_object) => {
            let mut info = LumiInfo::default();
            hlt::read(&mut info, path, &BTreeSet::new())?;
            let names: BTreeSet<String> = std::mem::take(&mut info.names);
            hlt::read(&mut info, path, &names)?;
            Ok(Some(LumiFile::Quantities {
                format: "trigger rates",
                covered: info.covered(),
                names: names.into_iter().collect(),
            }))
        }
        Json::Object(object) if object.contains_key("run_number") => {
            let mut info = LumiInfo::default();
            oms::read(&mut info, path, &BTreeSet::from(["run_number".to_owned()]))?;
            Ok(Some(LumiFile::Quantities {
                format: "quantities of OMS",
                covered: info.covered(),
                names: info.names.into_iter().collect(),
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

/// Whether all keys of an object are run numbers, with values that satisfy `is`.
fn of_runs(object: &Map<String, Json>, is: fn(&Json) -> bool) -> bool {
    object.iter().all(|(key, value)| key.parse::<u32>().is_ok() && is(value))
}

/// The keys of an object; empty for other JSON.
fn keys(json: &Json) -> Vec<String> {
    json.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}
