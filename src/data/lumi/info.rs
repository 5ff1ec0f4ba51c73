//! Quantities of lumisections by (run, LS). A missing value is unknown, never 0.

use super::golden_json::LumisectionSet;
use crate::{
    config::Value,
    data::lumisections::Lumisection,
    error::{Error, Result},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

/// The name of the start time of an LS, in seconds since 1970 or by ISO 8601.
pub const START_TIME: &str = "start_time";

/// Names of the recorded luminosity of a lumisection in OMS and in brilcalc.
pub const LUMINOSITIES: [&str; 2] = ["recorded_lumi_per_lumisection", "recorded"];

/// Quantities by name and lumisection.
#[derive(Clone, Debug, Default)]
pub struct LumiInfo {
    /// All names in the files, for suggestions.
    pub names: BTreeSet<String>,
    quantities: BTreeMap<String, Quantity>,
}

/// One quantity.
#[derive(Clone, Debug)]
struct Quantity {
    origin: Origin,
    values: HashMap<(u32, u32), Value>,
}

/// The source of a quantity.
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

impl LumiInfo {
    /// Whether a quantity has this name.
    pub fn has(&self, name: &str) -> bool {
        self.quantities.contains_key(name)
    }

    /// The value of a quantity for a lumisection, and the source of the quantity; `None` if no file
    /// has the name.
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

    /// The lumisections with at least one value.
    pub fn covered(&self) -> LumisectionSet {
        let mut runs: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for (run, ls) in self.quantities.values().flat_map(|quantity| quantity.values.keys()) {
            runs.entry(*run).or_default().push((*ls, *ls));
        }
        LumisectionSet::from_ranges(&runs)
    }

    /// Sets a value; fails if it was set to another before.
    pub fn set(
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
}
