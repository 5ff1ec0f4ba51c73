//! The JSON schema of a config, and a validator of TOML tables that reports all faults at once.

use super::{check::Fault, document::join, experiment::Experiment};
use crate::error::suggestion;
use serde_json::{Value as Json, json};
use toml::Value;

/// The JSON schema (draft 2020-12) of an experiment file, generated from its Rust types.
pub fn schema() -> Json {
    let mut schema = serde_json::to_value(schemars::schema_for!(Experiment)).unwrap_or_default();
    schema["title"] = json!("Lumisift experiment");
    schema
}

/// All faults of a table against the schema, in the order of the table's keys.
pub fn faults(table: &toml::Table) -> Vec<Fault> {
    let root = schema();
    let mut faults = vec![];
    Walk { root: &root, faults: &mut faults }.table(table, &root, "");
    faults
}

struct Walk<'a> {
    root: &'a Json,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Walk<'a> {
    fn fault(&mut self, key: &str, message: String) {
        self.faults.push(Fault { key: key.to_owned(), message });
    }

    fn follow(&self, schema: &'a Json) -> &'a Json {
        match schema["$ref"].as_str().and_then(|name| name.strip_prefix('#')) {
            Some(pointer) => self.root.pointer(pointer).unwrap_or(&Json::Null),
            None => schema,
        }
    }

    fn table(&mut self, table: &toml::Table, schema: &'a Json, prefix: &str) {
        let properties = schema["properties"].as_object();
        for (name, value) in table {
            let key = join(prefix, name);
            if let Some(property) = properties.and_then(|properties| properties.get(name)) {
                self.value(value, property, &key);
            } else if schema["additionalProperties"].is_object() {
                self.value(value, &schema["additionalProperties"], &key);
            } else if schema["additionalProperties"] != true {
                let known: Vec<&str> =
                    properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                let near = suggestion(name, known.iter().copied());
                let place = if prefix.is_empty() {
                    "at the top".to_owned()
                } else {
                    format!("in [{prefix}]")
                };
                self.fault(
                    &key,
                    format!("unknown key {place}{near}; known are {}", known.join(", ")),
                );
            }
        }
    }

    fn value(&mut self, value: &Value, schema: &'a Json, key: &str) {
        let resolved = self.follow(schema);
        if let Some(choices) = resolved["anyOf"].as_array() {
            return self.any_of(value, choices, key);
        }
        if let Some(names) = choice_names(resolved) {
            let found = value.as_str();
            if !found.is_some_and(|found| names.contains(&found)) {
                let near =
                    found.map(|found| suggestion(found, names.iter().copied())).unwrap_or_default();
                self.fault(
                    key,
                    format!("found {}{near}; expected one of {}", show(value), names.join(", ")),
                );
            }
            return;
        }
        let expected = type_names(resolved);
        if !expected.iter().any(|name| has_type(value, name)) {
            let words: Vec<&str> = expected
                .iter()
                .filter(|name| **name != "null")
                .map(|name| type_word(name))
                .collect();
            return self
                .fault(key, format!("found {}; expected {}", show(value), words.join(" or ")));
        }
        match value {
            Value::Table(table) => self.table(table, resolved, key),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.value(item, &resolved["items"], &format!("{key}[{i}]"));
                }
            }
            Value::Integer(number) => self.range(*number as f64, value, resolved, key),
            Value::Float(number) => self.range(*number, value, resolved, key),
            _ => {}
        }
    }

    /// Checks a value against the one of several shapes whose type matches.
    fn any_of(&mut self, value: &Value, choices: &'a [Json], key: &str) {
        let shapes: Vec<&Json> = choices.iter().map(|choice| self.follow(choice)).collect();
        let fits = |shape: &&&Json| match choice_names(shape) {
            Some(_) => value.is_str(),
            None => type_names(shape).iter().any(|name| has_type(value, name)),
        };
        let shape = shapes
            .iter()
            .find(fits)
            .or_else(|| shapes.iter().find(|shape| shape["type"] != "null"));
        if let Some(shape) = shape {
            self.value(value, shape, key);
        }
    }

    fn range(&mut self, number: f64, value: &Value, schema: &Json, key: &str) {
        let bound = |name: &str| schema[name].as_f64();
        let rules = [
            (bound("minimum"), number >= bound("minimum").unwrap_or(0.0), "at least"),
            (bound("maximum"), number <= bound("maximum").unwrap_or(0.0), "at most"),
            (
                bound("exclusiveMinimum"),
                number > bound("exclusiveMinimum").unwrap_or(0.0),
                "more than",
            ),
            (
                bound("exclusiveMaximum"),
                number < bound("exclusiveMaximum").unwrap_or(0.0),
                "less than",
            ),
        ];
        let allowed: Vec<String> = rules
            .iter()
            .filter_map(|(bound, _, word)| bound.map(|bound| format!("{word} {bound}")))
            .collect();
        let broken = rules.iter().any(|(bound, holds, _)| bound.is_some() && !holds);
        if broken || !number.is_finite() {
            let allowed =
                if allowed.is_empty() { "a finite number".into() } else { allowed.join(" and ") };
            self.fault(key, format!("found {}; expected {allowed}", show(value)));
        }
    }
}

/// The values of a choice: schemars writes them as `enum` or, with descriptions, as `oneOf` of
/// `const`s.
fn choice_names(schema: &Json) -> Option<Vec<&str>> {
    let constants = |list: &'_ Json| {
        list.as_array().map(|list| list.iter().filter_map(|item| item["const"].as_str()).count())
    };
    if let Some(names) = schema["enum"].as_array() {
        return Some(names.iter().filter_map(Json::as_str).collect());
    }
    match constants(&schema["oneOf"]) {
        Some(count) if count > 0 => Some(
            schema["oneOf"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|item| item["const"].as_str())
                .collect(),
        ),
        _ => schema["const"].as_str().map(|name| vec![name]),
    }
}

fn type_names(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(name) => vec![name],
        Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
        _ => vec![],
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_str(),
        "integer" => value.is_integer(),
        "number" => value.is_integer() || value.is_float(),
        "boolean" => value.is_bool(),
        "array" => value.is_array(),
        "object" => value.is_table(),
        _ => false,
    }
}

fn type_word(name: &str) -> &str {
    match name {
        "string" => "a text in quotes",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list [ … ]",
        "object" => "a table",
        other => other,
    }
}

fn show(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        faults(&toml::from_str(text).unwrap())
            .into_iter()
            .map(|fault| format!("{}: {}", fault.key, fault.message))
            .collect()
    }

    #[test]
    fn every_fault_is_told_at_once_with_the_nearest_name() {
        let faults = found(
            "sede = 1\n[train]\nepoch = 3\nbatch_size = 0\nshuffle = \"yes\"\n[model]\nactivation = \"rellu\"\nhidden = [10, 0]\n",
        );
        assert_eq!(faults.len(), 6, "{faults:#?}");
        assert!(
            faults[0].starts_with("model.activation: found \"rellu\" (did you mean \"relu\"?); expected one of relu, leaky_relu"),
            "{}",
            faults[0]
        );
        assert!(
            faults[1].starts_with("model.hidden[1]: found 0; expected at least 1"),
            "{}",
            faults[1]
        );
        assert!(faults.iter().any(|fault| {
            fault.starts_with("sede: unknown key at the top (did you mean \"seed\"?)")
        }));
        assert!(faults.iter().any(|fault| {
            fault.starts_with("train.epoch: unknown key in [train] (did you mean \"epochs\"?)")
        }));
        assert!(
            faults
                .iter()
                .any(|fault| fault == "train.shuffle: found \"yes\"; expected true or false")
        );
    }

    #[test]
    fn one_or_several_values_are_both_fine() {
        assert_eq!(found("[scale]\nkind = \"range\""), Vec::<String>::new());
        assert_eq!(found("[scale]\nkind = [\"unit-area\", \"standard\"]"), Vec::<String>::new());
        assert_eq!(found("[scale]\nkind = [\"unit-area\", \"standart\"]").len(), 1);
        assert_eq!(found("[scale]\nkind = 3").len(), 1);
    }

    #[test]
    fn bounds_may_be_exclusive_and_nan_is_no_number() {
        assert_eq!(found("[train]\nepochs = 0"), Vec::<String>::new());
        assert_eq!(found("[train.optimizer]\nlearning_rate = 0").len(), 1);
        assert_eq!(found("[train.optimizer]\nlearning_rate = nan").len(), 1);
        assert_eq!(found("[train.optimizer]\nbeta1 = 1.0").len(), 1);
        assert_eq!(found("[threshold]\npercentile = 100.5").len(), 1);
    }

    #[test]
    fn free_names_are_allowed_where_the_schema_says_so() {
        assert_eq!(found("[labels.sets]\ndcs = \"DCSbit\""), Vec::<String>::new());
        assert_eq!(found("[labels.sets]\ndcs = 3").len(), 1);
    }
}
