//! `[labels]`: sources of labels.

use super::{
    check::Checker,
    keys::{Key, Scalar, choice, section},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

section! {
    /// What is known about which lumisections are good. Good = 1 (or true), always.
    Labels {
        /// Which lumisections are good: a column (true/false or 1/0), or a file: a golden or DCS
        /// JSON, a list of `run ls` lines, or a .npy with one number a row of data.train.
        #[serde(skip_serializing_if = "Option::is_none")]
        good: Option<LabelSource> = None,
        /// Further label sets to hold the scores against, by a name of your choice: `dcs =
        /// "DCSbit"`.
        #[serde(skip_serializing_if = "Key::is_unset")]
        sets: Key<BTreeMap<String, LabelSource>, Vec<LabelSpec>> = Key::default(),
        /// Whether JSONs and lists are complete: a lumisection that they do not name is then the
        /// opposite of those they name. Otherwise it is unlabelled, and a warning counts such
        /// lumisections.
        complete: bool = false,
        #[serde(skip_serializing_if = "Option::is_none")]
        subsystems: Option<Subsystems> = None,
        #[serde(skip_serializing_if = "Option::is_none")]
        classes: Option<ClassNames> = None,
        train_on: TrainOn = TrainOn::Good,
    }
}

/// Where labels come from: a column or file by name, or more said about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LabelSource {
    /// A column, or a file (.json, .txt, .npy, or a path).
    Name(String),
    /// With what makes a row good.
    Told(ToldLabels),
}

section! {
    /// A label source that says what its values mean.
    ToldLabels {
        /// The column.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<String> = None,
        /// The file: JSON, list of `run ls` lines, or .npy.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String> = None,
        /// The values of a column or .npy that mean good. Default: 1 and true; 0 and false are then
        /// bad, and any other value is an error.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        values: Vec<Scalar> = vec![],
        /// The values that mean bad: a list, or "others" for all that are not in `values`. Rows
        /// with any other value are unlabelled, and a warning counts them; blanks are unlabelled
        /// too. Default: where there are two values and one of them is in `values`, the other one.
        #[serde(skip_serializing_if = "Option::is_none")]
        bad_values: Option<BadValues> = None,
        /// What the lumisections are that a JSON or list names.
        lists: Lists = Lists::Good,
        /// Whether it names all of them. Default: labels.complete.
        #[serde(skip_serializing_if = "Option::is_none")]
        complete: Option<bool> = None,
    }
}

/// The values of a label column that mean bad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BadValues {
    /// All that do not mean good.
    Others(Others),
    /// These.
    These(Vec<Scalar>),
}

choice! {
    /// All values that are not named.
    Others {
        /// All that are not in `values`.
        All = "others",
    }
}

choice! {
    /// What the lumisections are that a label file names.
    Lists {
        /// Good ones, as in a golden JSON.
        Good = "good",
        /// Bad ones, as in a list of abnormal lumisections.
        Bad = "bad",
    }
}

section! {
    /// Classes of rows, beside good and bad: figures are given for each class.
    ClassNames {
        /// The column that tells them.
        column: String = String::new(),
        /// The values of each class, by its name: { QCD = [1, 2], Higgs = [3, 4] }.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        names: BTreeMap<String, Vec<Scalar>> = BTreeMap::new(),
        /// The name of all other values together. Default: each is a class of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        others: Option<String> = None,
    }
}

section! {
    /// A folder with one JSON of good lumisections per subsystem.
    Subsystems {
        /// The folder.
        folder: Key<String, PathBuf> = Key::default(),
        /// The names of the files; the part that * stands for is the name of the label set. Other
        /// files are skipped, and told.
        pattern: String = "*.json".into(),
    }
}

choice! {
    /// Which rows of the training split the model may see.
    TrainOn {
        /// Good ones only, where there are labels.
        Good = "good",
        /// All of them, whatever their label.
        All = "all",
    }
}

/// One set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSpec {
    /// "good" for `labels.good`, else the name in `labels.sets`.
    pub name: String,
    /// The source of the labels.
    pub origin: LabelOrigin,
}

/// The values of a column or .npy that mean good, and those that mean bad.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelValues {
    /// Values that mean good; 1 and true if empty.
    pub good: Vec<Scalar>,
    /// Values that mean bad; `None` if not configured.
    pub bad: Option<BadValues>,
}

/// Where labels come from.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelOrigin {
    /// A column of the data.
    Column {
        /// Its name.
        name: String,
        /// What its values mean.
        values: LabelValues,
    },
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// What the values of a .npy mean.
        values: LabelValues,
        /// What the lumisections are that a JSON or list names.
        lists: Lists,
        /// Whether it names all of these lumisections.
        complete: bool,
    },
}

impl LabelOrigin {
    /// The column; `None` for a file.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Column { name, .. } => Some(name),
            Self::File { .. } => None,
        }
    }

    fn settle(&mut self, bad: Option<&Scalar>) {
        let (Self::Column { values, .. } | Self::File { values, .. }) = self;
        if values.bad.is_none()
            && let Some(bad) =
                bad.filter(|bad| !values.good.is_empty() && !values.good.contains(bad))
        {
            values.bad = Some(BadValues::These(vec![bad.clone()]));
        }
    }
}

impl std::fmt::Display for LabelOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Column { name, .. } => write!(f, "column \"{name}\""),
            Self::File { path, .. } => {
                write!(f, "{}", path.file_name().unwrap_or_default().to_string_lossy())
            }
        }
    }
}

impl Labels {
    /// Sets the meaning of `sets` to all label sets, that of `labels.good` first.
    pub(super) fn check(&mut self, checker: &mut Checker) {
        if self.sets.written.contains_key("good") {
            checker.fault(
                "labels.sets.good",
                "the name \"good\" is reserved for labels.good; choose another",
            );
        }
        let complete = self.complete;
        let good = self.good.iter_mut().map(|source| ("good", "labels.good".to_owned(), source));
        let sets = self
            .sets
            .written
            .iter_mut()
            .map(|(name, source)| (name.as_str(), format!("labels.sets.{name}"), source));
        self.sets.meaning = good
            .chain(sets)
            .filter_map(|(name, key, source)| source.check(checker, name, &key, complete))
            .collect();
        if let Some(classes) = &self.classes {
            classes.check(checker);
        }
        if let Some(subsystems) = &mut self.subsystems {
            subsystems.check(checker);
        }
    }

    /// Sets the values that count as bad, by label set, if the config does not.
    pub fn settle(&mut self, bad: &BTreeMap<String, Scalar>) {
        for set in &mut self.sets.meaning {
            set.origin.settle(bad.get(&set.name));
        }
    }
}

impl ClassNames {
    fn check(&self, checker: &mut Checker) {
        if self.column.is_empty() {
            checker.fault("labels.classes.column", "missing; expected the column of classes");
        }
        let all: Vec<(&String, &Scalar)> = self
            .names
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
            .collect();
        let twice = all.iter().enumerate().find_map(|(at, (name, value))| {
            Some((name, value, all[..at].iter().find(|(_, before)| before == value)?.0))
        });
        if let Some((name, value, other)) = twice {
            checker.fault("labels.classes.names", format!("{value} is of both {other} and {name}"));
        }
    }
}

impl Subsystems {
    fn check(&mut self, checker: &mut Checker) {
        if self.folder.written.is_empty() {
            checker.fault(
                "labels.subsystems.folder",
                "missing; expected the folder of the label files",
            );
        }
        if self.pattern.matches('*').count() != 1 {
            checker.fault(
                "labels.subsystems.pattern",
                format!("found \"{}\"; expected one *, which matches the subsystem", self.pattern),
            );
        }
        self.folder.meaning =
            checker.absolute("labels.subsystems.folder", &mut self.folder.written);
    }
}

/// Whether a label source names a file: it has a file extension, or is a path.
fn is_file(text: &str) -> bool {
    text.contains(['/', '\\'])
        || [".json", ".txt", ".npy"].iter().any(|ending| text.to_lowercase().ends_with(ending))
}

impl LabelSource {
    fn check(
        &mut self,
        checker: &mut Checker,
        name: &str,
        key: &str,
        complete: bool,
    ) -> Option<LabelSpec> {
        let mut told = match self {
            Self::Name(text) if is_file(text) => {
                ToldLabels { file: Some(text.clone()), ..ToldLabels::default() }
            }
            Self::Name(text) => ToldLabels { column: Some(text.clone()), ..ToldLabels::default() },
            Self::Told(told) => told.clone(),
        };
        told.check_values(checker, key);
        let path = told.file.as_mut().map(|file| checker.absolute(&format!("{key}.file"), file));
        let values = LabelValues { good: told.values.clone(), bad: told.bad_values.clone() };
        let (lists, complete) = (told.lists, told.complete.unwrap_or(complete));
        let origin = match (&told.column, path) {
            (Some(column), None) => LabelOrigin::Column { name: column.clone(), values },
            (None, Some(path)) => LabelOrigin::File { path, values, lists, complete },
            _ => {
                checker.fault(key, "expected either column or file");
                return None;
            }
        };
        *self = match self {
            Self::Name(_) => Self::Name(told.file.or(told.column).unwrap_or_default()),
            Self::Told(_) => Self::Told(told),
        };
        Some(LabelSpec { name: name.to_owned(), origin })
    }
}

impl ToldLabels {
    /// Checks that values are set only for a column or .npy, and lists and completeness only for a
    /// JSON or list.
    fn check_values(&self, checker: &mut Checker, key: &str) {
        let is_array = self.file.as_ref().is_some_and(|file| file.to_lowercase().ends_with(".npy"));
        let has_values = self.column.is_some() || is_array;
        if has_values {
            if self.lists == Lists::Bad || self.complete.is_some() {
                checker.fault(key, "lists and complete are for a JSON or list of lumisections; expected values = [...] with the good values");
            }
        } else if !self.values.is_empty() || self.bad_values.is_some() {
            let set = if self.values.is_empty() { "bad_values" } else { "values" };
            checker.fault(key, format!("{set} is for a column or a .npy; set lists = \"bad\" if the lumisections of a file are bad"));
        }
        let Some(BadValues::These(bad)) = self.bad_values.as_ref().filter(|_| has_values) else {
            return;
        };
        let place = format!("{key}.bad_values");
        if let Some(value) = bad.iter().find(|value| self.values.contains(value)) {
            checker.fault(
                &place,
                format!("{value} is in values as well; expected each value in one of them"),
            );
        }
        let usual = |value: &&Scalar| {
            matches!(value, Scalar::Number(1.0))
                || matches!(value, Scalar::Text(text) if text.eq_ignore_ascii_case("true"))
        };
        if let Some(value) = bad.iter().find(usual).filter(|_| self.values.is_empty()) {
            checker.fault(&place, format!("{value} means good by default; expected values = [...] with those that mean good"));
        }
    }
}
