//! Detects column names with the same meaning: repeated names, names that pandas and polars give to
//! repeated columns, several known names of one quantity. A second column of labels, runs or
//! weights must never become an input.

use crate::{
    data::field::Field,
    error::{Error, Result},
};
use regex::Regex;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::LazyLock,
};

/// Two columns of which one is used; the other must be equal in every row.
#[derive(Clone, Debug, PartialEq)]
pub struct Twin {
    /// Position of the column that is used.
    pub taken: usize,
    /// Position of the column that is ignored.
    pub left: usize,
    /// Why they should be equal.
    pub alike: Alike,
    /// Whether the format is known to repeat the name with other contents: then only the first
    /// column counts.
    pub lenient: bool,
}

/// Why two columns should be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alike {
    /// They have the same name.
    Name,
    /// One has the name that pandas (`label.1`) or polars (`label_duplicated_0`) gives to a
    /// repeated column.
    Suffix,
    /// Their names differ only in case or surrounding blanks.
    Case,
    /// Both have a known name of this key of `data.columns`.
    Key(&'static str),
}

/// A pair of columns with the same name, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Position of the first column.
    pub first: usize,
    /// Position of the second.
    pub second: usize,
    /// How their names agree.
    pub alike: Alike,
}

/// All pairs of columns with the same name: each column with the first of its name.
pub fn pairs(fields: &[Field]) -> Vec<Pair> {
    let whole: HashSet<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let bases: Vec<&str> = fields.iter().map(|field| base(&field.name, &whole)).collect();
    let mut first: HashMap<String, usize> = HashMap::new();
    // The column without a suffix comes first, whatever its position.
    let mut order: Vec<usize> =
        (0..fields.len()).filter(|&at| !fields[at].name.trim().is_empty()).collect();
    order.sort_by_key(|&at| bases[at].len() < fields[at].name.len());
    let mut pairs = vec![];
    for second in order {
        let key = bases[second].trim().to_lowercase();
        let Some(&first) = first.get(&key) else {
            first.insert(key, second);
            continue;
        };
        let alike = match () {
            () if fields[first].name == fields[second].name => Alike::Name,
            () if fields[first].name == bases[second] => Alike::Suffix,
            () => Alike::Case,
        };
        pairs.push(Pair { first, second, alike });
    }
    pairs
}

/// A name without the suffix of a repeated column, if the columns with smaller suffixes exist.
fn base<'a>(name: &'a str, all: &HashSet<&str>) -> &'a str {
    static PATTERN: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^(.+?)(\.|_duplicated_)(\d{1,4})$").ok());
    let suffixed = || {
        let found = PATTERN.as_ref()?.captures(name)?;
        let (base, link) = (found.get(1)?.as_str(), found.get(2)?.as_str());
        let first = if link == "." { 1 } else { 0 };
        let number: usize = found[3].parse().ok()?;
        let counted = number >= first
            && (first..number).all(|before| all.contains(format!("{base}{link}{before}").as_str()));
        (counted && all.contains(base)).then_some(base)
    };
    suffixed().unwrap_or(name)
}

/// A name for messages, with its position from 1: `column 3 "label"`.
pub fn shown(fields: &[Field], at: usize) -> String {
    format!("column {} \"{}\"", at + 1, fields[at].name)
}

impl Twin {
    /// A note on the pair; `differs` is the first row in which they differ. Fails if they differ
    /// and the choice is ambiguous.
    pub fn settle(
        &self,
        path: &Path,
        fields: &[Field],
        differs: Option<&str>,
    ) -> Result<Option<String>> {
        let (taken, left) = (shown(fields, self.taken), shown(fields, self.left));
        let why = match self.alike {
            Alike::Name => "have one name".into(),
            Alike::Suffix => "repeat one name".into(),
            Alike::Case => "have names that differ only in case or blanks".into(),
            Alike::Key(key) => format!("both have a usual name for data.columns.{key}"),
        };
        let Some(place) = differs else {
            return Ok((!self.lenient).then(|| {
                format!("{taken} and {left} {why} and hold the same; the latter is left out")
            }));
        };
        if self.lenient {
            return Ok(Some(format!(
                "{taken} and {left} {why} but differ ({place}); only the former is used"
            )));
        }
        let (a, b) = (&fields[self.taken].name, &fields[self.left].name);
        let remedy = match self.alike {
            Alike::Name => "rename or remove one of them".into(),
            Alike::Suffix | Alike::Case => format!(
                "name the one that is not meant in data.columns.ignore, or both in data.columns.features if both are inputs (\"{a}\", \"{b}\")"
            ),
            Alike::Key(key) => format!("choose one with data.columns.{key} = \"{a}\" or \"{b}\""),
        };
        Err(Error::input(format!(
            "{}: {taken} and {left} {why} but differ ({place}); {remedy}",
            path.display()
        )))
    }
}

/// Fails if one of the columns at `wanted` shares its name with another column. Case is ignored.
pub fn refuse_repeated(
    path: &Path,
    header: &[String],
    wanted: impl Iterator<Item = usize>,
) -> Result<()> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (at, name) in header.iter().enumerate() {
        places.entry(name.trim().to_lowercase()).or_default().push((at + 1).to_string());
    }
    for name in wanted.map(|at| &header[at]) {
        let places = &places[&name.trim().to_lowercase()];
        if places.len() > 1 {
            return Err(Error::input(format!(
                "{}: columns {} are named \"{name}\"; expected one of them",
                path.display(),
                places.join(" and ")
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::field::FieldKind;

    fn found(names: &[&str]) -> Vec<(usize, usize, Alike)> {
        let fields: Vec<Field> = names
            .iter()
            .map(|name| Field {
                name: (*name).into(),
                kind: FieldKind::Number,
                type_name: String::new(),
            })
            .collect();
        pairs(&fields).into_iter().map(|pair| (pair.first, pair.second, pair.alike)).collect()
    }

    #[test]
    fn repeated_names_are_found_in_all_their_forms() {
        assert_eq!(found(&["a", "b", "a", "a"]), [(0, 2, Alike::Name), (0, 3, Alike::Name)]);
        assert_eq!(
            found(&["label.1", "label", "label.2"]),
            [(1, 0, Alike::Suffix), (1, 2, Alike::Suffix)]
        );
        assert_eq!(
            found(&["x", "x_duplicated_0", "x_duplicated_1"]),
            [(0, 1, Alike::Suffix), (0, 2, Alike::Suffix)]
        );
        assert_eq!(found(&["Label", " label"]), [(0, 1, Alike::Case)]);
    }

    #[test]
    fn a_number_at_the_end_of_a_name_need_not_be_a_count() {
        for names in [["q", "q.5"], ["a.1", "a.2"], ["", ""], ["x_duplicated_1", "x"]] {
            assert_eq!(found(&names), [], "{names:?}");
        }
    }
}
