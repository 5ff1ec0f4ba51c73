//! Classes of rows: the kind of event or lumisection, independent of whether it is good.

use crate::{
    config::{Scalar, labels::ClassNames},
    data::{Samples, table::Column},
    error::{Error, Result, listed},
};
use std::collections::BTreeMap;

/// The classes of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classes {
    /// The column of classes.
    pub column: String,
    /// Names of the classes, those of the config first.
    pub names: Vec<String>,
    /// The class of each row, an index into `names`; `None` if the column is blank.
    pub of: Vec<Option<u8>>,
    /// Each value of the column as text, with its class and its number of rows among all that were
    /// read.
    pub values: Vec<(String, u8, usize)>,
}

/// Maximum number of classes: they are distinguished by colour.
const MOST: usize = 40;
/// Maximum number of values.
const MOST_VALUES: usize = 1000;

impl Classes {
    /// Reads the classes of rows from their column. Returns `None` if the data lack the column, as
    /// data to be scored may.
    pub fn read(samples: &Samples, config: &ClassNames) -> Result<Option<Self>> {
        let Some(column) = samples.columns.get(&config.column) else { return Ok(None) };
        let mut classes = Self {
            column: config.column.clone(),
            names: config.names.keys().cloned().collect(),
            ..Self::default()
        };
        let mut known: BTreeMap<String, Option<usize>> = BTreeMap::new();
        for row in 0..samples.rows.len() {
            let text = column.text(row);
            let value = match known.get(&text) {
                Some(value) => *value,
                None => {
                    let value = if text.is_empty() {
                        None
                    } else {
                        Some(classes.add(&text, column, row, config)?)
                    };
                    known.insert(text, value);
                    value
                }
            };
            let class = value.map(|value| &mut classes.values[value]).map(|(_, class, rows)| {
                *rows += 1;
                *class
            });
            classes.of.push(class);
        }
        classes.values.sort_by(|a, b| {
            (a.1, number(&a.0), &a.0)
                .partial_cmp(&(b.1, number(&b.0), &b.0))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        Ok(Some(classes))
    }

    /// Adds a new value; returns its index in `values`.
    fn add(
        &mut self,
        text: &str,
        column: &Column,
        row: usize,
        config: &ClassNames,
    ) -> Result<usize> {
        let same = |value: &Scalar| match (value, column) {
            (Scalar::Number(value), Column::Numbers(numbers)) => *value == numbers[row],
            (Scalar::Number(value), Column::Texts(_)) => number(text) == Some(*value),
            (Scalar::Text(value), _) => value == text,
        };
        let named = config.names.values().position(|values| values.iter().any(same));
        let name = config.others.clone().unwrap_or_else(|| format!("{} {text}", config.column));
        let class = named
            .or_else(|| self.names.iter().position(|known| *known == name))
            .unwrap_or(self.names.len());
        if class == self.names.len() {
            self.names.push(name);
        }
        if self.names.len() > MOST {
            return Err(Error::input(format!(
                "labels.classes: column \"{}\" has more than {MOST} classes: {}; set labels.classes.others to one name for all other values",
                config.column,
                listed(self.names.iter().map(String::as_str))
            )));
        }
        if self.values.len() == MOST_VALUES {
            return Err(Error::input(format!(
                "labels.classes.column: \"{}\" has more than {MOST_VALUES} values, of which {} is one; expected a column of few kinds",
                config.column, text
            )));
        }
        self.values.push((text.to_owned(), class as u8, 0));
        Ok(self.values.len() - 1)
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        let mut samples = Samples::made(&[vec![1.0; values.len()]]);
        samples.columns.insert("id".into(), Column::Numbers(values.to_vec()));
        samples
    }

    fn names(others: Option<&str>) -> ClassNames {
        let names =
            BTreeMap::from([("background".into(), vec![Scalar::Number(1.0), Scalar::Number(2.0)])]);
        ClassNames { column: "id".into(), names, others: others.map(Into::into) }
    }

    #[test]
    fn values_are_counted_by_class() {
        let samples = samples(&[1.0, 10.0, 2.0, f64::NAN, 3.0, 1.0]);
        let classes = Classes::read(&samples, &names(Some("signal"))).unwrap().unwrap();
        assert_eq!(classes.names, ["background", "signal"]);
        assert_eq!(classes.of, [Some(0), Some(1), Some(0), None, Some(1), Some(0)]);
        let counted: Vec<(&str, u8, usize)> = classes
            .values
            .iter()
            .map(|(value, class, rows)| (value.as_str(), *class, *rows))
            .collect();
        assert_eq!(counted, [("1", 0, 2), ("2", 0, 1), ("3", 1, 1), ("10", 1, 1)]);
        let apart = Classes::read(&samples, &names(None)).unwrap().unwrap();
        assert_eq!(apart.names, ["background", "id 10", "id 3"]);
    }

    #[test]
    fn a_column_of_measurements_makes_no_classes() {
        let samples = self::samples(&(0..100).map(f64::from).collect::<Vec<_>>());
        assert!(
            Classes::read(&samples, &names(None))
                .unwrap_err()
                .to_string()
                .contains("labels.classes.others")
        );
        let many = self::samples(&(0..2000).map(f64::from).collect::<Vec<_>>());
        assert!(
            Classes::read(&many, &names(Some("signal")))
                .unwrap_err()
                .to_string()
                .contains("has more than 1000 values")
        );
        assert_eq!(Classes::read(&Samples::made(&[vec![1.0]]), &names(None)).unwrap(), None);
    }
}
