//! Shared checks of sections: faults, paths, expressions, times, and keys that only some kinds
//! have.

use super::{
    document::Document,
    expression::Expression,
    keys::{Key, Section},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use toml::{Table, Value};

/// A key with an invalid value.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Dotted key, list items as `[i]`.
    pub key: String,
    /// The value found and the values allowed.
    pub message: String,
}

/// One line per fault: place, key, found and expected value.
pub(super) fn message(document: &Document, faults: &[Fault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| match document.place(&fault.key) {
            Some(place) => format!("{place}: {}: {}", fault.key, fault.message),
            None => format!("config: {}: {}", fault.key, fault.message),
        })
        .collect();
    if lines.len() == 1 {
        lines.concat()
    } else {
        format!("the config has {} faults\n  {}", lines.len(), lines.join("\n  "))
    }
}

/// Removes a faulty key, so that the rest can be read and checked too. For an item of a list,
/// removes the whole list.
pub(super) fn remove(table: &mut Table, key: &str) {
    let (name, rest) = match key.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (key, None),
    };
    match (table.get_mut(name), rest) {
        (Some(Value::Table(inner)), Some(rest)) => remove(inner, rest),
        _ => {
            table.remove(name.split('[').next().unwrap_or(name));
        }
    }
}

/// A section of a table by its dotted name.
pub(super) fn section<'t>(table: &'t mut Table, name: &str) -> Option<&'t mut Table> {
    name.split('.').try_fold(table, |table, part| table.get_mut(part)?.as_table_mut())
}

/// Whether two values are equal; integers and floats are compared as numbers.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|whole| whole as f64));
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The path of a file or pattern on this machine. A batch system may have transferred it to the
/// folder `LUMISIFT_INPUTS`, under its name. The config keeps the original path.
fn sent(path: PathBuf) -> PathBuf {
    let there = std::env::var_os("LUMISIFT_INPUTS")
        .zip(path.file_name())
        .map(|(folder, name)| Path::new(&folder).join(name));
    let holds = |path: &Path| {
        glob::glob(&path.to_string_lossy()).is_ok_and(|mut found| found.next().is_some())
    };
    there.filter(|there| there.exists() || holds(there)).unwrap_or(path)
}

/// Parses hours, minutes and seconds: "7h 30m".
pub(super) fn duration(text: &str) -> Option<Duration> {
    let part = |part: &str| {
        let unit = part.chars().last()?;
        let number: f64 = part[..part.len() - unit.len_utf8()].parse().ok()?;
        let seconds = number
            * match unit {
                's' => 1.0,
                'm' => 60.0,
                'h' => 3600.0,
                _ => return None,
            };
        Duration::try_from_secs_f64(seconds).ok()
    };
    let parts: Vec<Duration> = text.split_whitespace().map(part).collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| parts.into_iter().sum())
}

/// Collects the faults of a config.
pub(super) struct Checker<'a> {
    pub(super) document: &'a Document,
    pub(super) faults: Vec<Fault>,
}

impl Checker<'_> {
    /// Adds a fault, unless the key already has one.
    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>) {
        if !self.faults.iter().any(|fault| fault.key.starts_with(key)) {
            self.faults.push(Fault { key: key.into(), message: message.into() });
        }
    }

    /// Refuses keys of a section that its kind does not have; `by` is the key of the kind, and
    /// `usual` its default.
    pub(super) fn kinds<S: Section>(
        &mut self,
        table: &mut Table,
        name: &str,
        by: &str,
        usual: &str,
    ) {
        let Some(own) = section(table, name) else { return };
        let kind = own.get(by).and_then(Value::as_str).unwrap_or(usual).to_owned();
        let has = |key: &str| {
            S::KINDS.iter().all(|(name, kinds)| *name != key || kinds.contains(&kind.as_str()))
        };
        self.refuse::<S>(own, name, (&format!("{name}.{by}"), by, &kind), has);
    }

    /// Refuses keys of a section that a kind does not have and that differ from their defaults.
    /// Keys in a layer below the one that chose the kind are removed instead, so that a file can
    /// override the kind without resetting the keys of another kind.
    pub(super) fn refuse<S: Section>(
        &mut self,
        own: &mut Table,
        name: &str,
        (chosen, by, kind): (&str, &str, &str),
        has: impl Fn(&str) -> bool,
    ) {
        let usual = Table::try_from(S::default()).unwrap_or_default();
        let other: Vec<String> = own.keys().filter(|key| !has(key)).cloned().collect();
        for key in other {
            let Some(value) = own.remove(&key) else { continue };
            let is_usual = match usual.get(&key) {
                Some(usual) => same(usual, &value),
                None => value.as_array().is_some_and(Vec::is_empty),
            };
            let key = format!("{name}.{key}");
            if !is_usual && !self.document.overrides(chosen, &key) {
                self.fault(&key, format!("has no meaning with {by} = \"{kind}\""));
            }
        }
    }

    /// Parses a condition or quantity.
    pub(super) fn parse(&mut self, key: &str, text: &str) -> Option<Expression> {
        Expression::parse(text)
            .map_err(|message| self.fault(key, format!("\"{text}\": {message}")))
            .ok()
    }

    /// Parses an optional condition or quantity.
    pub(super) fn expression(
        &mut self,
        key: &str,
        value: &mut Key<Option<String>, Option<Expression>>,
    ) {
        value.meaning = value.written.as_ref().and_then(|text| self.parse(key, text));
    }

    /// Parses several conditions or quantities.
    pub(super) fn expressions(&mut self, key: &str, value: &mut Key<Vec<String>, Vec<Expression>>) {
        let texts = value.written.iter().enumerate();
        value.meaning =
            texts.filter_map(|(i, text)| self.parse(&format!("{key}[{i}]"), text)).collect();
    }

    /// Makes a path absolute; returns its path on this machine.
    pub(super) fn absolute(&self, key: &str, text: &mut String) -> PathBuf {
        let path = self.document.resolve(key, text);
        *text = path.to_string_lossy().into_owned();
        sent(path)
    }

    /// Resolves an optional path.
    pub(super) fn path(&self, key: &str, value: &mut Key<Option<String>, Option<PathBuf>>) {
        value.meaning = value.written.as_mut().map(|text| self.absolute(key, text));
    }

    /// Resolves several paths or globs.
    pub(super) fn paths(&self, key: &str, value: &mut Key<Vec<String>, Vec<PathBuf>>) {
        let texts = value.written.iter_mut().enumerate();
        value.meaning =
            texts.map(|(i, text)| self.absolute(&format!("{key}[{i}]"), text)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(duration("7h 30m"), Some(Duration::from_secs(27_000)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert!(["", "7", "7d", "-3s", "h", "7h30m"].iter().all(|text| duration(text).is_none()));
    }
}
