//! Figures of classes of rows: efficiency and purity of each class above the threshold.

use super::channels::judged_rows;
use crate::{
    config::Experiment,
    prepare::classes::Classes,
    score::{roc, run::judged, scores::Scores},
};
use serde::{Deserialize, Serialize};

/// Figures of the classes of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassesFigures {
    /// The column of classes.
    pub column: String,
    /// The rows of the figures: a split, or all.
    pub on: String,
    /// The column's values among all rows that were read.
    pub values: Vec<ClassValue>,
    /// The classes.
    pub classes: Vec<ClassFigures>,
}

/// A value of the column of classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassValue {
    /// The value.
    pub value: String,
    /// Its class.
    pub class: String,
    /// Number of rows with it.
    pub rows: usize,
}

/// Figures of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Its name.
    pub name: String,
    /// The label of its rows in `labels.good`, if it is the same for all.
    pub good: Option<bool>,
    /// Number of its rows.
    pub rows: usize,
    /// Number of its rows above the threshold.
    pub flagged: usize,
    /// Share of its rows above the threshold; absent without rows.
    pub efficiency: Option<f64>,
    /// Its 95 % interval (Wilson's).
    pub interval: Option<(f64, f64)>,
    /// The share of this class among the flagged rows of all classes; absent if none is flagged.
    pub purity: Option<f64>,
    /// Its 95 % interval (Wilson's).
    pub purity_interval: Option<(f64, f64)>,
}

impl ClassesFigures {
    /// Counts the rows of each class and those flagged by the main channel.
    pub fn new(experiment: &Experiment, scores: &Scores, classes: &Classes) -> Self {
        let rows = || scores.evaluated().filter(|&row| judged(experiment, scores.rows[row].split));
        let is_flagged =
            |row: usize| scores.main().is_some_and(|channel| channel.flagged(row) == Some(true));
        let good = |row: usize| {
            scores
                .labels
                .iter()
                .position(|name| name == "good")
                .and_then(|at| scores.rows[row].labels[at])
        };
        let all_flagged =
            rows().filter(|&row| scores.rows[row].class.is_some() && is_flagged(row)).count();
        let class = |(at, name): (usize, &String)| {
            let of_class: Vec<usize> =
                rows().filter(|&row| scores.rows[row].class == Some(at as u8)).collect();
            let flagged = of_class.iter().filter(|&&row| is_flagged(row)).count();
            let first = of_class.first().and_then(|&row| good(row));
            let (efficiency, purity) = (
                roc::rate_with_interval(flagged, of_class.len()),
                roc::rate_with_interval(flagged, all_flagged),
            );
            ClassFigures {
                name: name.clone(),
                good: first.filter(|_| of_class.iter().all(|&row| good(row) == first)),
                rows: of_class.len(),
                flagged,
                efficiency: efficiency.map(|(rate, _, _)| rate),
                interval: efficiency.map(|(_, low, high)| (low, high)),
                purity: purity.map(|(rate, _, _)| rate),
                purity_interval: purity.map(|(_, low, high)| (low, high)),
            }
        };
        let value = |(value, class, rows): &(String, u8, usize)| ClassValue {
            value: value.clone(),
            class: classes.names[*class as usize].clone(),
            rows: *rows,
        };
        Self {
            column: classes.column.clone(),
            on: judged_rows(experiment).into(),
            values: classes.values.iter().map(value).collect(),
            classes: classes.names.iter().enumerate().map(class).collect(),
        }
    }
}
