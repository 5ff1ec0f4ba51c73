//! Generates the reference of all config keys as Markdown from the JSON schema: `docs/config.md`.

use super::{document::join, schema::schema};
use serde_json::Value as Json;
use std::fmt::Write as _;

/// The page: top-level keys, then a part for each section.
pub fn markdown() -> String {
    let root = schema();
    let reference = Reference { root: &root };
    let mut text = String::from(
        "# All config keys\n\nThis page is made from the JSON schema by `lumisift schema --markdown`. \
         An experiment is one TOML file.\nEvery key has a default, unless its description says that \
         it is required or that nothing happens without it.\n`lumisift check CONFIG` checks a file \
         and shows the values in use. Unknown keys are errors.\n",
    );
    let (sections, keys): (Vec<_>, Vec<_>) =
        reference.properties(&root).partition(|(_, schema)| reference.is_table(schema));
    text.push_str("\n## Keys at the top\n");
    reference.keys(&mut text, keys.iter().map(|(name, schema)| ((*name).to_owned(), *schema)));
    for (name, section) in sections {
        let _ = write!(text, "\n## [{name}]\n");
        if let Some(description) = reference.description(section) {
            let _ = write!(text, "\n{description}\n");
        }
        reference.keys(&mut text, reference.flat(section, "").into_iter());
    }
    text
}

/// A schema being converted.
struct Reference<'a> {
    root: &'a Json,
}

impl<'a> Reference<'a> {
    /// Resolves a `$ref`, and the non-null one of several shapes.
    fn resolved(&self, schema: &'a Json) -> &'a Json {
        if let Some(pointer) = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#')) {
            return self.root.pointer(pointer).map_or(schema, |schema| self.resolved(schema));
        }
        let shapes: Vec<&Json> = schema["anyOf"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|shape| shape["type"] != "null")
            .collect();
        match shapes.as_slice() {
            [one] => self.resolved(one),
            _ => schema,
        }
    }

    fn properties(&self, schema: &'a Json) -> impl Iterator<Item = (&'a str, &'a Json)> + use<'a> {
        schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, key)| (name.as_str(), key))
    }

    fn is_table(&self, schema: &'a Json) -> bool {
        self.properties(self.resolved(schema)).next().is_some()
    }

    /// The keys of a section and of the tables in it, by their names within the section.
    fn flat(&self, section: &'a Json, prefix: &str) -> Vec<(String, &'a Json)> {
        let mut keys = vec![];
        for (name, schema) in self.properties(self.resolved(section)) {
            let name = join(prefix, name);
            let resolved = self.resolved(schema);
            let item = self.resolved(&resolved["items"]);
            if self.is_table(resolved) {
                keys.extend(self.flat(resolved, &name));
            } else {
                keys.push((name.clone(), schema));
                if self.is_table(item) {
                    keys.extend(self.flat(item, &format!("{name}[]")));
                }
            }
        }
        keys
    }

    /// The description of a key, or else that of its type.
    fn description(&self, schema: &'a Json) -> Option<String> {
        let own = schema["description"].as_str();
        let text = own.or_else(|| self.resolved(schema)["description"].as_str())?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Writes a table of keys, and the meaning of the values of choices.
    fn keys(&self, text: &mut String, keys: impl Iterator<Item = (String, &'a Json)>) {
        text.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
        let mut choices = String::new();
        for (name, schema) in keys {
            let resolved = self.resolved(schema);
            let _ = writeln!(
                text,
                "| `{name}` | {} | {} | {} |",
                cell(&self.value(resolved)),
                default(&schema["default"]),
                cell(&self.description(schema).unwrap_or_default()),
            );
            let words = self.words(resolved);
            if words.iter().any(|(_, meaning)| !meaning.is_empty()) {
                let _ = write!(choices, "\nValues of `{name}`:\n\n");
                for (word, meaning) in words {
                    let _ = writeln!(choices, "- `{word}`: {meaning}");
                }
            }
        }
        text.push_str(&choices);
    }

    /// The values of a choice with their meanings.
    fn words(&self, schema: &'a Json) -> Vec<(&'a str, String)> {
        let of = |list: &'a Json| list.as_array().into_iter().flatten();
        let constants = of(&schema["oneOf"]).filter_map(|item| {
            Some((item["const"].as_str()?, self.description(item).unwrap_or_default()))
        });
        let names = of(&schema["enum"]).filter_map(|item| Some((item.as_str()?, String::new())));
        constants.chain(names).collect()
    }

    /// Description of the allowed values.
    fn value(&self, schema: &'a Json) -> String {
        let words = self.words(schema);
        if !words.is_empty() {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            return words.join(", ");
        }
        if let Some(shapes) = schema["anyOf"].as_array() {
            let shapes: Vec<String> = shapes
                .iter()
                .filter(|shape| shape["type"] != "null")
                .map(|shape| self.value(self.resolved(shape)))
                .collect();
            return shapes.join(", or ");
        }
        if let Some(word) = schema["const"].as_str() {
            return format!("`{word}`");
        }
        let names: Vec<&str> = match &schema["type"] {
            Json::String(name) => vec![name],
            Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
            _ => vec![],
        };
        let of_type = |name: &&str| match *name {
            "null" => None,
            "string" => Some("text".to_owned()),
            "integer" => Some(format!("whole number{}", range(schema))),
            "number" => Some(format!("number{}", range(schema))),
            "boolean" => Some("`true` or `false`".to_owned()),
            "array" if self.is_table(&schema["items"]) => Some("list of tables".to_owned()),
            "array" => Some(format!("list of: {}", self.value(self.resolved(&schema["items"])))),
            "object" if schema["additionalProperties"].is_object() => Some(format!(
                "table of names; each: {}",
                self.value(self.resolved(&schema["additionalProperties"]))
            )),
            _ => Some("table".to_owned()),
        };
        names.iter().filter_map(of_type).collect::<Vec<_>>().join(" or ")
    }
}

/// The limits of a number.
fn range(schema: &Json) -> String {
    let bound = |name: &str, sign: &str| {
        let bound = &schema[name];
        let whole = bound.as_i64().map(|bound| bound.to_string());
        whole.or_else(|| Some(bound.as_f64()?.to_string())).map(|bound| format!("{sign} {bound}"))
    };
    let bounds: Vec<String> = [
        bound("minimum", "≥"),
        bound("exclusiveMinimum", ">"),
        bound("maximum", "≤"),
        bound("exclusiveMaximum", "<"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if bounds.is_empty() { String::new() } else { format!(" {}", bounds.join(", ")) }
}

fn default(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Array(items) if items.is_empty() => "`[]`".into(),
        Json::Object(_) => String::new(),
        value => format!("`{value}`"),
    }
}

/// Escapes text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_and_key_has_a_line() {
        let text = markdown();
        for line in [
            "| `seed` | whole number ≥ 0, ≤ 9223372036854775807 | `1` |",
            "## [train]",
            "| `batch_size` | whole number ≥ 1, ≤ 1000000 | `64` |",
            "| `checkpoint.seconds` |",
            "| `rules[].pattern` |",
            "- `ml4dqm`: ",
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert!(!text.contains("$ref"));
    }
}
