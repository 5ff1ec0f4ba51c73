//! A TOML file, the files that it `extends`, `--set` arguments and options of the command line,
//! merged into one table that records the place of each key.

use crate::{
    error::{Error, Result},
    files,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// A merged config with the place of every key.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Keys and values, later layers over earlier ones.
    pub table: Table,
    places: BTreeMap<String, Place>,
    /// The layer that wrote each key, counted from the lowest.
    layers: BTreeMap<String, usize>,
    next_layer: usize,
}

/// The place of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A file and its line, from 1.
    File(PathBuf, usize),
    /// A `--set` argument, as typed.
    Argument(String),
    /// Another option of the command line, as typed.
    Option(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Argument(text) => write!(f, "--set {text}"),
            Self::Option(text) => f.write_str(text),
        }
    }
}

impl Document {
    /// Reads a file and the files it extends, and applies `sets` (`key=value`) over them.
    pub fn load(path: &Path, sets: &[String]) -> Result<Self> {
        let mut document = Self::default();
        document.add_file(path, &mut vec![])?;
        document.add_arguments(sets)?;
        Ok(document)
    }

    /// Parses a text as the content of the file `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut document = Self::default();
        document.add_text(text, path)?;
        Ok(document)
    }

    /// Applies `key=value` arguments over the document.
    pub fn add_arguments(&mut self, sets: &[String]) -> Result<()> {
        self.next_layer += 1;
        for argument in sets {
            let Some((key, value)) = argument.split_once('=') else {
                return Err(Error::input(format!(
                    "--set {argument}: expected key=value, such as --set train.epochs=20"
                )));
            };
            let key = key.trim();
            if key.is_empty() || key.split('.').any(|part| part.trim().is_empty()) {
                return Err(Error::input(format!(
                    "--set {argument}: \"{key}\" is not a dotted key such as train.epochs"
                )));
            }
            self.add_value(key, parse_value(value.trim()), &Place::Argument(argument.clone()));
        }
        Ok(())
    }

    /// Applies the value of an option of the command line, such as `--device cuda`, to its key.
    pub fn add_option(&mut self, option: &str, key: &str, text: &str) {
        self.next_layer += 1;
        self.add_value(
            key,
            Value::String(text.to_owned()),
            &Place::Option(format!("{option} {text}")),
        );
    }

    /// Applies values by dotted key over the document.
    pub fn lay(&mut self, values: &[(String, Value)]) {
        self.next_layer += 1;
        values.iter().for_each(|(key, value)| {
            self.add_value(key, value.clone(), &Place::Argument(format!("{key}={value}")))
        });
    }

    fn add_value(&mut self, key: &str, value: Value, place: &Place) {
        if value.is_table() {
            // A whole table replaces the previous one.
            take_out(&mut self.table, key);
        }
        let mut layer = value;
        for part in key.rsplit('.') {
            layer = Value::Table(Table::from_iter([(part.trim().to_owned(), layer)]));
        }
        let Value::Table(layer) = layer else { return };
        self.merge(layer, &|_| place.clone());
    }

    /// The place of a key, or of the nearest key above it.
    pub fn place(&self, key: &str) -> Option<&Place> {
        let mut key = key;
        loop {
            if let Some(place) = self.places.get(key) {
                return Some(place);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    /// Whether any layer sets a key.
    pub fn says(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether `above` was written in a later layer than `below`: the command line is later than a
    /// file, a file is later than those it extends.
    pub fn overrides(&self, above: &str, below: &str) -> bool {
        matches!((self.layers.get(above), self.layers.get(below)), (Some(above), Some(below)) if above > below)
    }

    /// Makes the path in `text` absolute, relative to the file with `key` (or to the working
    /// directory for the command line).
    pub fn resolve(&self, key: &str, text: &str) -> PathBuf {
        let folder = match self.place(key) {
            Some(Place::File(file, _)) => file.parent().map(Path::to_path_buf).unwrap_or_default(),
            _ => PathBuf::new(),
        };
        let joined = folder.join(text);
        std::path::absolute(&joined).unwrap_or(joined)
    }

    fn add_file(&mut self, path: &Path, seen: &mut Vec<PathBuf>) -> Result<()> {
        files::regular(path)?;
        let identity = fs::canonicalize(path).map_err(|error| Error::reading(path, error))?;
        if seen.contains(&identity) {
            return Err(Error::input(format!(
                "{}: extends itself through the files it extends",
                path.display()
            )));
        }
        seen.push(identity);
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => Error::input(format!(
                "{}: is not text (not UTF-8), so not a TOML file",
                path.display()
            )),
            _ => Error::reading(path, error),
        })?;
        let base = Self::parse(&text, path)?;
        if let Some(Value::String(base)) = base.table.get("extends") {
            let base = path.parent().map(|folder| folder.join(base)).unwrap_or_else(|| base.into());
            self.add_file(&base, seen).map_err(|error| {
                error.map(|message| format!("{message}\n  extended by {}", path.display()))
            })?;
        }
        self.add_text(&text, path)
    }

    fn add_text(&mut self, text: &str, path: &Path) -> Result<()> {
        let table: Table = toml::from_str(text)
            .map_err(|error| Error::input(syntax_message(path, text, &error)))?;
        self.next_layer += 1;
        let mut lines = BTreeMap::new();
        if let Ok(spanned) = toml::de::DeTable::parse(text) {
            collect_lines(spanned.get_ref(), "", text, &mut lines);
        }
        self.merge(table, &|key| {
            Place::File(path.to_path_buf(), lines.get(key).copied().unwrap_or(1))
        });
        Ok(())
    }

    fn merge(&mut self, layer: Table, place: &dyn Fn(&str) -> Place) {
        let mut written = BTreeMap::new();
        merge_into(&mut self.table, layer, "", &mut written, place);
        self.layers.extend(written.keys().map(|key| (key.clone(), self.next_layer)));
        self.places.extend(written);
    }
}

fn merge_into(
    table: &mut Table,
    layer: Table,
    prefix: &str,
    places: &mut BTreeMap<String, Place>,
    place: &dyn Fn(&str) -> Place,
) {
    for (name, value) in layer {
        let key = join(prefix, &name);
        match (table.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => {
                merge_into(below, above, &key, places, place)
            }
            (_, value) => {
                note_places(&key, &value, places, place);
                table.insert(name, value);
            }
        }
    }
}

fn take_out(table: &mut Table, key: &str) {
    match key.split_once('.') {
        Some((name, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(name.trim()) {
                take_out(inner, rest);
            }
        }
        None => {
            table.remove(key.trim());
        }
    }
}

fn note_places(
    key: &str,
    value: &Value,
    places: &mut BTreeMap<String, Place>,
    place: &dyn Fn(&str) -> Place,
) {
    places.insert(key.to_owned(), place(key));
    match value {
        Value::Table(table) => table
            .iter()
            .for_each(|(name, value)| note_places(&join(key, name), value, places, place)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, value)| note_places(&format!("{key}[{i}]"), value, places, place)),
        _ => {}
    }
}

fn collect_lines(
    table: &toml::de::DeTable<'_>,
    prefix: &str,
    text: &str,
    lines: &mut BTreeMap<String, usize>,
) {
    for (name, value) in table {
        let key = join(prefix, name.get_ref());
        lines.insert(key.clone(), line_of(text, name.span().start));
        collect_value_lines(value, &key, text, lines);
    }
}

fn collect_value_lines(
    value: &toml::Spanned<toml::de::DeValue<'_>>,
    key: &str,
    text: &str,
    lines: &mut BTreeMap<String, usize>,
) {
    match value.get_ref() {
        toml::de::DeValue::Table(table) => collect_lines(table, key, text, lines),
        toml::de::DeValue::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let key = format!("{key}[{i}]");
                lines.insert(key.clone(), line_of(text, item.span().start));
                collect_value_lines(item, &key, text, lines);
            }
        }
        _ => {}
    }
}

/// `prefix.name`, or `name` at the top.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Parses a TOML value, or else returns the text itself (`device=cpu`).
fn parse_value(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

fn syntax_message(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let shown = text.lines().nth(line - 1).unwrap_or("").trim();
    format!("{}:{line}: not valid TOML: {}\n  {shown}", path.display(), error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(text, Path::new("/folder/a.toml")).unwrap()
    }

    #[test]
    fn keys_know_their_lines() {
        let document = document(
            "seed = 3\n[train]\nepochs = 2\noptimizer.kind = \"sgd\"\n[threshold]\nalso = [\n  {smooth = 3},\n]\n",
        );
        let line = |key: &str| document.place(key).unwrap().to_string();
        assert_eq!(line("seed"), "/folder/a.toml:1");
        assert_eq!(line("train.epochs"), "/folder/a.toml:3");
        assert_eq!(line("train.optimizer.kind"), "/folder/a.toml:4");
        assert_eq!(line("threshold.also[0].smooth"), "/folder/a.toml:7");
        assert_eq!(
            line("train.unknown"),
            "/folder/a.toml:2",
            "the place of the section is used for a missing key"
        );
    }

    #[test]
    fn arguments_win_and_say_so() {
        let mut document = document("[train]\nepochs = 2\n[data]\ntrain = [\"a.csv\"]\n");
        document
            .add_arguments(&[
                "train.epochs=5".into(),
                "data.train=[\"b.csv\"]".into(),
                "device=cuda:1".into(),
            ])
            .unwrap();
        assert_eq!(document.table["train"]["epochs"].as_integer(), Some(5));
        assert_eq!(document.place("train.epochs").unwrap().to_string(), "--set train.epochs=5");
        assert_eq!(document.table["device"].as_str(), Some("cuda:1"));
        assert_eq!(
            document.resolve("data.train[0]", "b.csv"),
            std::env::current_dir().unwrap().join("b.csv")
        );
    }

    #[test]
    fn later_layers_override_earlier_ones() {
        let mut document = document("[split]\nby = \"block\"\nblock = 7\n");
        document.add_arguments(&["split.by=run".into(), "split.valid=0.1".into()]).unwrap();
        assert!(document.overrides("split.by", "split.block"));
        assert!(
            !document.overrides("split.valid", "split.by"),
            "arguments are one layer, whatever their order"
        );
        assert!(
            !document.overrides("split.block", "split.by")
                && !document.overrides("split.by", "split.none")
        );
    }

    #[test]
    fn paths_are_relative_to_their_own_file() {
        let document = document("[data]\ntrain = [\"a.csv\"]\n");
        assert_eq!(document.resolve("data.train[0]", "a.csv"), Path::new("/folder/a.csv"));
    }

    #[test]
    fn a_set_without_a_value_is_refused() {
        assert!(Document::default().add_arguments(&["train.epochs".into()]).is_err());
        assert!(Document::default().add_arguments(&["train..epochs=1".into()]).is_err());
    }

    #[test]
    fn a_value_cannot_smuggle_in_other_keys() {
        let mut document = Document::default();
        document.add_arguments(&["name=1\nseed = 4".into()]).unwrap();
        assert!(!document.table.contains_key("seed"));
    }
}
