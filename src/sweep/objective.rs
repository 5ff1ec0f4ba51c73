//! The objective of a sweep: a figure of the report.

use crate::{
    error::{Error, Result, suggestion},
    files::folder::names,
};

/// A figure of `report.json` by its path. Entries of lists are addressed by their name, label set,
/// channel or number; the only entry of a list can be omitted.
pub fn figure(report: &serde_json::Value, path: &str) -> Result<f64> {
    let mut at = vec![report];
    let parts: Vec<&str> = path.split('.').collect();
    let mut rest = &parts[..];
    while let [part, after @ ..] = rest {
        let mut next = vec![];
        // Filters the entries matched so far by this part of the path.
        if at.len() > 1 {
            next.extend(at.iter().copied().filter(|value| is_called(value, part)));
        }
        for value in at.iter().filter(|_| next.is_empty()).collect::<Vec<_>>() {
            match value {
                serde_json::Value::Object(fields) => next.extend(fields.get(*part)),
                serde_json::Value::Array(entries) => {
                    let numbered =
                        part.parse::<usize>().ok().and_then(|number| entries.get(number));
                    next.extend(entries.iter().filter(|entry| is_called(entry, part)));
                    if next.is_empty() {
                        next.extend(numbered);
                    }
                    if next.is_empty() && entries.len() == 1 {
                        next.extend(entries[0].get(*part));
                    }
                }
                _ => {}
            }
        }
        if next.is_empty() {
            break;
        }
        (at, rest) = (next, after);
    }
    // The only entry of a list can be omitted.
    let found: Vec<&serde_json::Value> = at.into_iter().filter(|_| rest.is_empty()).collect();
    match found[..] {
        [value] if value.is_number() => Ok(value.as_f64().unwrap_or(f64::NAN)),
        [value] if value.is_null() => {
            Err(Error::input(format!("sweep.objective: \"{path}\" is null in {}", names::REPORT)))
        }
        [_, _, ..] => Err(Error::input(format!(
            "sweep.objective: \"{path}\" is several figures of {}; name one of them",
            names::REPORT
        ))),
        _ => {
            let mut known = vec![];
            figures("", report, &mut known);
            let near = suggestion(path, known.iter().map(String::as_str));
            // Prefers figures of the same part of the report.
            let first = parts[0];
            let alike = |name: &String| name.split('.').next() == Some(first);
            if known.iter().any(alike) {
                known.retain(alike);
            }
            known.dedup();
            known.truncate(12);
            Err(Error::input(format!(
                "sweep.objective: {} has no figure \"{path}\"{near}; among them are {}",
                names::REPORT,
                known.join(", ")
            )))
        }
    }
}

/// Whether an entry of a list has this name.
fn is_called(entry: &serde_json::Value, name: &str) -> bool {
    ["name", "labels", "channel"].iter().any(|key| entry[*key] == *name)
}

/// The paths of all figures.
fn figures(prefix: &str, value: &serde_json::Value, found: &mut Vec<String>) {
    let join =
        |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    match value {
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| figures(&join(name), value, found))
        }
        serde_json::Value::Array(entries) => {
            entries.iter().filter(|entry| entry.is_object()).for_each(|entry| {
                let name = ["labels", "name", "channel"]
                    .iter()
                    .find_map(|key| entry[*key].as_str())
                    .filter(|_| entries.len() > 1);
                figures(&name.map_or_else(|| prefix.to_owned(), join), entry, found);
            })
        }
        serde_json::Value::Number(_) => found.push(prefix.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_found_by_names_numbers_or_as_the_only_ones() {
        let report = json!({
            "auc": [{"channel": "a", "labels": "good", "auc": 0.5}, {"channel": "b", "labels": "good", "good": 212, "auc": 0.6}, {"channel": "b", "labels": "dcs", "auc": 0.7}],
            "channels": [{"name": "all", "training": {"valid_loss": 2.0, "best": null}}],
            "runs": [{"flagged": 3}, {"flagged": 4}],
        });
        let figure = |path: &str| figure(&report, path).map_err(|error| error.to_string());
        assert_eq!(figure("channels.training.valid_loss"), Ok(2.0));
        assert_eq!(figure("channels.all.training.valid_loss"), Ok(2.0));
        assert_eq!(figure("auc.dcs.auc"), Ok(0.7));
        assert_eq!(figure("auc.b.good.auc"), Ok(0.6));
        assert_eq!(figure("runs.1.flagged"), Ok(4.0));
        assert!(figure("auc.good.auc").unwrap_err().contains("several figures"));
        assert!(figure("channels.training.best").unwrap_err().contains("is null"));
        assert!(
            figure("channels.training.valid_los")
                .unwrap_err()
                .contains("did you mean \"channels.training.valid_loss\"?")
        );
        assert!(figure("auc").is_err() && figure("").is_err());
    }
}
