//! Reads rates of HLT triggers (JSON).

use super::info::{LumiInfo, Origin};
use crate::{
    config::Value,
    data::{json::Object, read::text::Source},
    error::{Error, Result},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// `{"run": {"path_v3": {"rate": […], "first_lumisection_number": […]}}}`. A wanted `path_v*`
/// means every version.
pub fn read(info: &mut LumiInfo, path: &Path, wanted: &BTreeSet<String>) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Rates {
        rate: Vec<Option<f64>>,
        first_lumisection_number: Vec<u32>,
    }
    let wrong = |reason: String| {
        let expected = "{\"run\": {\"path\": {\"rate\": […], \"first_lumisection_number\": […]}}}";
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
                info.names.insert(name.clone());
                let Some(name) = wanted.get(&name) else { continue };
                for (ls, rate) in entries.first_lumisection_number.iter().zip(&entries.rate) {
                    let Some(rate) = *rate else { continue };
                    let known = rates.entry(name).or_default().entry(*ls).or_insert((0.0, trigger));
                    match *known {
                        (before, _) if before == 0.0 || known.1 == trigger && before == rate => {
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
                info.set(path, name, Origin::Hlt, (number, ls), Value::Number(rate))?;
            }
        }
    }
    Ok(())
}
