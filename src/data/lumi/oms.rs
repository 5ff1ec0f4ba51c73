//! Reads quantities of OMS (JSON).

use super::info::{LumiInfo, Origin};
use crate::{
    config::Value,
    data::{json::Object, read::text::Source},
    error::{Error, Result},
};
use serde_json::Value as Json;
use std::{collections::BTreeSet, path::Path};

/// A JSON object of equally long arrays, with `run_number` and `lumisection_number`.
pub fn read(info: &mut LumiInfo, path: &Path, wanted: &BTreeSet<String>) -> Result<()> {
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
    if let Some((name, values)) = columns.iter().find(|(_, values)| values.len() != runs.len()) {
        return Err(wrong(format!(
            "{name} has {} entries where run_number has {}",
            values.len(),
            runs.len()
        )));
    }
    for (name, values) in columns.iter() {
        info.names.insert(name.clone());
        if !wanted.contains(name) {
            continue;
        }
        for ((run, ls), value) in runs.iter().zip(&lumisections).zip(values) {
            info.set(path, name, Origin::Oms, (*run, *ls), json_value(value))?;
        }
    }
    Ok(())
}

fn json_value(value: &Json) -> Value {
    match value {
        Json::Bool(flag) => Value::Number(f64::from(u8::from(*flag))),
        Json::Number(number) => number.as_f64().map_or(Value::Unknown, Value::Number),
        Json::String(text) => Value::Text(text.as_str().into()),
        _ => Value::Unknown,
    }
}
