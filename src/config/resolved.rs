//! Resolved configs as values by dotted key, and their differences.

use super::experiment::affects_results;
use std::collections::{BTreeMap, BTreeSet};

/// The differences between two resolved configs, key by key.
pub fn differences(begun: &str, wanted: &str) -> Vec<String> {
    const MOST: usize = 6;
    let (begun, wanted) = (flat(begun), flat(wanted));
    let keys: BTreeSet<&String> =
        begun.keys().chain(wanted.keys()).filter(|key| affects_results(key)).collect();
    let show = |value: Option<&toml::Value>| {
        value.map_or_else(|| "nothing".to_owned(), toml::Value::to_string)
    };
    let differ = keys.into_iter().filter(|key| begun.get(*key) != wanted.get(*key));
    differ
        .take(MOST)
        .map(|key| format!("{key} was {}, is {}", show(begun.get(key)), show(wanted.get(key))))
        .collect()
}

/// The values of a config by dotted key.
pub fn flat(text: &str) -> BTreeMap<String, toml::Value> {
    fn add(prefix: &str, value: toml::Value, to: &mut BTreeMap<String, toml::Value>) {
        match value {
            toml::Value::Table(table) => table.into_iter().for_each(|(key, value)| {
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                add(&key, value, to);
            }),
            value => {
                to.insert(prefix.to_owned(), value);
            }
        }
    }
    let mut values = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        add("", toml::Value::Table(table), &mut values);
    }
    values
}
