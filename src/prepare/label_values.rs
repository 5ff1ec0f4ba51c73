//! Interprets the entries of a label column or array: good, bad or unknown.

use crate::{
    config::{LabelValues, Scalar, labels::BadValues},
    error::listed,
};
use std::collections::HashMap;

/// The labels of some entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// Good, bad or unknown, per entry.
    pub good: Vec<Option<bool>>,
    /// The value that counts as bad because it is the only one besides those that mean good.
    pub other: Option<Scalar>,
    /// A note for the user.
    pub note: Option<String>,
}

/// A value and its number of entries.
struct Seen {
    text: String,
    entries: usize,
    /// The position of the first entry.
    first: usize,
}

impl Seen {
    fn is(&self, value: &Scalar) -> bool {
        match value {
            Scalar::Number(value) => self.text.parse() == Ok(*value),
            Scalar::Text(value) => *value == self.text,
        }
    }

    fn rows(&self) -> String {
        format!("{} {}", self.entries, if self.entries == 1 { "row has" } else { "rows have" })
    }
}

/// Whether a text means that there is no value.
fn is_blank(text: &str) -> bool {
    text.is_empty()
        || text.parse().is_ok_and(f64::is_nan)
        || ["na", "n/a", "null"].iter().any(|blank| text.eq_ignore_ascii_case(blank))
}

/// Labels entries; a `None` entry stays unlabelled. `key` is the config key of the label set.
/// Without `values`, an entry other than 1, 0, true and false is an error (its position and text),
/// or unlabelled if the model is `trained` already.
pub fn read(
    entries: impl Iterator<Item = Option<String>>,
    values: &LabelValues,
    key: &str,
    trained: bool,
) -> std::result::Result<Labels, (usize, String)> {
    let named = |text: &str| {
        let bad = match &values.bad {
            Some(BadValues::These(bad)) => bad.as_slice(),
            _ => &[],
        };
        values
            .good
            .iter()
            .chain(bad)
            .any(|value| matches!(value, Scalar::Text(value) if value == text))
    };
    let mut seen: Vec<Seen> = vec![];
    let mut known: HashMap<String, Option<usize>> = HashMap::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut of = vec![];
    for (at, entry) in entries.enumerate() {
        let value = entry.and_then(|text| match known.get(&text) {
            Some(value) => *value,
            None => {
                let trimmed = text.trim();
                let value = (named(trimmed) || !is_blank(trimmed)).then(|| {
                    // 1 and 1.0 are the same value, 0 and -0 too.
                    let text = trimmed
                        .parse::<f64>()
                        .map_or_else(|_| trimmed.to_owned(), |number| (number + 0.0).to_string());
                    *places.entry(text).or_insert_with_key(|text| {
                        seen.push(Seen { text: text.clone(), entries: 0, first: at });
                        seen.len() - 1
                    })
                });
                known.insert(text, value);
                value
            }
        });
        if let Some(value) = value {
            seen[value].entries += 1;
        }
        of.push(value);
    }
    let good = |value: &Seen| match values.good.as_slice() {
        [] => value.text.parse() == Ok(1.0) || value.text.eq_ignore_ascii_case("true"),
        good => good.iter().any(|good| value.is(good)),
    };
    let others: Vec<&Seen> = seen.iter().filter(|value| !good(value)).collect();
    let other = match others[..] {
        [other] if seen.len() == 2 && !values.good.is_empty() && values.bad.is_none() => {
            Some(other)
        }
        _ => None,
    };
    let bad = |value: &Seen| match &values.bad {
        Some(BadValues::Others(_)) => true,
        Some(BadValues::These(bad)) => bad.iter().any(|bad| value.is(bad)),
        None if values.good.is_empty() => {
            value.text.parse() == Ok(0.0) || value.text.eq_ignore_ascii_case("false")
        }
        None => other.is_some(),
    };
    let unknown: Vec<&&Seen> = others.iter().filter(|value| !bad(value)).collect();
    if let Some(first) =
        unknown.first().filter(|_| !trained && values.good.is_empty() && values.bad.is_none())
    {
        return Err((first.first, first.text.clone()));
    }
    let note = other.map(|other| {
        let good: Vec<String> = values.good.iter().map(Scalar::to_string).collect();
        format!(
            "{key}: {} {}, the only value other than {}, and count as bad; confirm with bad_values = [{}]",
            other.rows(),
            other.text,
            listed(good.iter().map(String::as_str)),
            quoted(&other.text)
        )
    });
    let note = note.or_else(|| (!unknown.is_empty()).then(|| unlabelled(key, &unknown)));
    let meaning: Vec<Option<bool>> = seen
        .iter()
        .map(|value| if good(value) { Some(true) } else { bad(value).then_some(false) })
        .collect();
    Ok(Labels {
        good: of.into_iter().map(|value| meaning[value?]).collect(),
        other: other.map(|other| {
            other.text.parse().map_or_else(|_| Scalar::Text(other.text.clone()), Scalar::Number)
        }),
        note,
    })
}

/// A value in TOML syntax.
fn quoted(text: &str) -> String {
    if text.parse::<f64>().is_ok() { text.to_owned() } else { format!("{text:?}") }
}

/// The note about values that are neither good nor bad, the most frequent first.
fn unlabelled(key: &str, unknown: &[&&Seen]) -> String {
    let mut unknown = unknown.to_vec();
    unknown.sort_by(|a, b| b.entries.cmp(&a.entries).then_with(|| a.text.cmp(&b.text)));
    let counts: Vec<String> =
        unknown.iter().map(|value| format!("{} {}", value.rows(), value.text)).collect();
    let (verb, it) = if unknown.len() == 1 { ("is", "it") } else { ("are", "them") };
    format!(
        "{key}: {}, which {verb} neither in values nor in bad_values: unlabelled; name {it} in one of the two, or set bad_values = \"others\"",
        listed(counts.iter().map(String::as_str))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::labels::Others;

    const GOOD: Option<bool> = Some(true);
    const BAD: Option<bool> = Some(false);

    fn numbers(values: &[f64]) -> Vec<Scalar> {
        values.iter().copied().map(Scalar::Number).collect()
    }

    fn read(
        texts: &[&str],
        good: &[f64],
        bad: Option<BadValues>,
        trained: bool,
    ) -> std::result::Result<Labels, (usize, String)> {
        let entries = texts.iter().map(|text| Some((*text).to_owned()));
        super::read(entries, &LabelValues { good: numbers(good), bad }, "labels.good", trained)
    }

    #[test]
    fn a_third_value_is_unlabelled_and_counted() {
        let labels = read(&["0", "1", "-1", "", "nan", "-1", "0"], &[0.0], None, false).unwrap();
        assert_eq!(labels.good, [GOOD, None, None, None, None, None, GOOD]);
        let note = labels.note.unwrap();
        assert!(note.contains("2 rows have -1, 1 row has 1, which are neither in values nor in bad_values: unlabelled"), "{note}");
        let labels =
            read(&["0", "1", "-1", "0"], &[0.0], Some(BadValues::These(numbers(&[1.0]))), false)
                .unwrap();
        assert_eq!(labels.good, [GOOD, BAD, None, GOOD]);
        assert!(
            labels
                .note
                .unwrap()
                .contains("1 row has -1, which is neither in values nor in bad_values: unlabelled")
        );
        let labels =
            read(&["0", "1", "-1", ""], &[0.0], Some(BadValues::Others(Others::All)), false)
                .unwrap();
        assert_eq!((labels.good.as_slice(), labels.note), (&[GOOD, BAD, BAD, None][..], None));
    }

    #[test]
    fn of_two_values_the_other_is_bad_and_that_is_told() {
        let labels = read(&["0", "1.0", "1", "", "0"], &[0.0], None, false).unwrap();
        assert_eq!(labels.good, [GOOD, BAD, BAD, None, GOOD]);
        assert_eq!(labels.other, Some(Scalar::Number(1.0)));
        assert!(labels.note.unwrap().contains(
            "2 rows have 1, the only value other than 0, and count as bad; confirm with bad_values = [1]"
        ));
        // A single value is ambiguous.
        assert_eq!(read(&["1", "1"], &[0.0], None, false).unwrap().good, [None, None]);
        let texts = super::read(
            ["none", "hot", "NA"].iter().map(|text| Some((*text).to_owned())),
            &LabelValues { good: vec![Scalar::Text("none".into())], bad: None },
            "labels.sets.defect",
            false,
        );
        assert_eq!(texts.unwrap().good, [GOOD, BAD, None]);
    }

    #[test]
    fn without_values_one_is_good_zero_is_bad_and_nothing_else_is_either() {
        assert_eq!(
            read(&["1", "0", "True", "false", ""], &[], None, false).unwrap().good,
            [GOOD, BAD, GOOD, BAD, None]
        );
        for other in ["-1", "2", "maybe"] {
            assert_eq!(read(&["1", "0", other], &[], None, false), Err((2, other.to_owned())));
            let trained = read(&["1", "0", other], &[], None, true).unwrap();
            assert_eq!(trained.good, [GOOD, BAD, None], "a trained model scores");
            assert!(trained.note.unwrap().contains(&format!("1 row has {other}, ")));
        }
        assert_eq!(
            read(&["1", "0", "-1"], &[], Some(BadValues::These(numbers(&[-1.0]))), false)
                .unwrap()
                .good,
            [GOOD, None, BAD]
        );
    }
}
