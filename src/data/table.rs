//! One file as read, before anything is chosen, sorted or scaled.

use super::{cells::Cells, channels::Hierarchy, field::Field, shape::Shape};
use crate::config::data::Format;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One histogram or one set of features a row, in file order.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// Its layout.
    pub format: Format,
    /// Its columns, or arrays.
    pub fields: Vec<Field>,
    /// Which row is which lumisection, or event.
    pub rows: Vec<TableRow>,
    /// Whether rows are events: they have no lumisection, and their `ls` is their position in the
    /// file.
    pub events: bool,
    /// How the values of a row are laid out.
    pub shape: Shape,
    /// Contents, `[rows, bins or features]`.
    pub values: Vec<f32>,
    /// Whether the first and last bin of each axis are underflow and overflow.
    pub flow_bins: bool,
    /// Whether a map's bins lie with y running fastest (index x · y bins + y) instead of x.
    pub y_fastest: bool,
    /// Edges of the axes where the file says them, the same for all rows: x from, x to, y from, y
    /// to.
    pub edges: [Option<f64>; 4],
    /// The ends of each row's axis in x, where they were asked for and the file says them.
    pub axes: Vec<[f64; 2]>,
    /// Names of the features; absent for histograms.
    pub features: Option<Arc<[String]>>,
    /// Where features belong by their names, where rules for that were given; they are then those
    /// of the channels.
    pub hierarchy: Option<Hierarchy>,
    /// Further columns that were asked for.
    pub columns: BTreeMap<String, Column>,
    /// Monitoring elements in the file and their number of rows.
    pub elements: BTreeMap<String, usize>,
    /// Rows that could not be read.
    pub faults: Vec<Fault>,
    /// What each row is like, where that was asked for instead of its values.
    pub summaries: Vec<Summary>,
    /// The cells of each feature, where summaries were asked for.
    pub cells: Vec<Cells>,
    /// What is worth knowing about how the file was read.
    pub notes: Vec<String>,
}

/// The identity of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// The detector's run, where the file or its name says it.
    pub run: Option<u32>,
    /// Lumisection number, or the number of the event.
    pub ls: u32,
    /// Line in the file, from 1; 0 in files without lines.
    pub line: u32,
    /// Position among the file's rows, from 0.
    pub index: u32,
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Line in the file, from 1; 0 in files without lines.
    pub line: u32,
    /// Position among the file's rows, from 0.
    pub index: u32,
    /// Run, where that could be read.
    pub run: Option<u32>,
    /// Lumisection, where that could be read.
    pub ls: Option<u32>,
    /// What is wrong.
    pub reason: String,
}

/// What a row is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Its monitoring element, as a position in [`Table::elements`]; 0 where there are none.
    pub element: u32,
    /// Its shape.
    pub shape: Shape,
    /// Whether it has underflow and overflow bins.
    pub flow_bins: bool,
    /// Sum of its values; NaN where they were not read.
    pub sum: f64,
    /// Whether all its values are 0; false where they were not read.
    pub empty: bool,
    /// Missing values.
    pub missing: u32,
}

/// A column of numbers or texts, one entry a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers; true is 1, false is 0, unknown is NaN.
    Numbers(Vec<f64>),
    /// Texts; unknown is blank.
    Texts(Vec<String>),
}

impl Column {
    /// Texts as numbers, where every one is a number, a flag or blank.
    pub fn from_texts(texts: Vec<String>) -> Self {
        let number = |text: &String| match text.to_lowercase().as_str() {
            "true" => Some(1.0),
            "false" => Some(0.0),
            other if is_missing(other) => Some(f64::NAN),
            other => other.parse::<f64>().ok(),
        };
        match texts.iter().map(number).collect::<Option<Vec<f64>>>() {
            Some(numbers) => Self::Numbers(numbers),
            None => Self::Texts(texts),
        }
    }

    /// A column of unknowns.
    pub fn unknown(rows: usize) -> Self {
        Self::Numbers(vec![f64::NAN; rows])
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry of row `i` as people write it; blank where unknown.
    pub fn text(&self, i: usize) -> String {
        match self {
            Self::Numbers(numbers) if numbers[i].is_nan() => String::new(),
            Self::Numbers(numbers) => numbers[i].to_string(),
            Self::Texts(texts) => texts[i].clone(),
        }
    }

    /// Whether entry `i` says anything.
    pub fn is_known(&self, i: usize) -> bool {
        match self {
            Self::Numbers(numbers) => !numbers[i].is_nan(),
            Self::Texts(texts) => !texts[i].is_empty(),
        }
    }

    /// The entries at these positions, in this order.
    pub fn take(&self, positions: &[usize]) -> Self {
        match self {
            Self::Numbers(numbers) => {
                Self::Numbers(positions.iter().map(|&i| numbers[i]).collect())
            }
            Self::Texts(texts) => {
                Self::Texts(positions.iter().map(|&i| texts[i].clone()).collect())
            }
        }
    }

    /// Appends entry `i` of another column.
    pub fn push(&mut self, from: &Self, i: usize) {
        match (&mut *self, from) {
            (Self::Numbers(numbers), Self::Numbers(from)) => numbers.push(from[i]),
            (Self::Texts(texts), from) => texts.push(from.text(i)),
            (Self::Numbers(numbers), from) => {
                let mut texts: Vec<String> =
                    (0..numbers.len()).map(|at| Self::Numbers(vec![numbers[at]]).text(0)).collect();
                texts.push(from.text(i));
                *self = Self::Texts(texts);
            }
        }
    }

    /// Both columns one after the other; numbers become texts where the other holds texts.
    pub fn append(self, other: Self) -> Self {
        match (self, other) {
            (Self::Numbers(mut a), Self::Numbers(b)) => {
                a.extend(b);
                Self::Numbers(a)
            }
            (a, b) => Self::Texts(
                (0..a.len()).map(|i| a.text(i)).chain((0..b.len()).map(|i| b.text(i))).collect(),
            ),
        }
    }
}

/// Whether an entry says that there is none.
pub fn is_missing(text: &str) -> bool {
    const MARKERS: [&str; 10] =
        ["na", "n/a", "<na>", "#n/a", "nan", "-nan", "null", "none", "-", "--"];
    text.is_empty() || MARKERS.iter().any(|marker| marker.eq_ignore_ascii_case(text))
}

impl Table {
    /// Number of values of a row.
    pub fn width(&self) -> usize {
        self.shape.width()
    }

    /// The values of row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width()..(i + 1) * self.width()]
    }

    /// The place of a row or a fault, for messages: `file:line`, or the row's position where the
    /// file has no lines.
    pub fn place(&self, line: u32, index: u32) -> String {
        place_in(&self.path, line, index)
    }
}

/// The place of a row: `file:line`, or its position (from 0) where the file has no lines.
pub fn place_in(path: &Path, line: u32, index: u32) -> String {
    if line > 0 {
        format!("{}:{line}", path.display())
    } else {
        format!("{}: row {index}", path.display())
    }
}

/// Edges as people write them: "0 to 2", of a map "0 to 2, 0 to 5".
pub fn show_edges(edges: [Option<f64>; 4]) -> String {
    let show = |edge: Option<f64>| edge.map_or_else(|| "?".into(), |edge| edge.to_string());
    let x = format!("{} to {}", show(edges[0]), show(edges[1]));
    if edges[2].or(edges[3]).is_none() {
        x
    } else {
        format!("{x}, {} to {}", show(edges[2]), show(edges[3]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_numbers_where_they_can_be() {
        let column = |texts: &[&str]| {
            Column::from_texts(texts.iter().map(|text| (*text).to_owned()).collect())
        };
        let Column::Numbers(numbers) = column(&["True", "0", "", "2.5"]) else {
            panic!("not numbers")
        };
        assert!(numbers[0] == 1.0 && numbers[1] == 0.0 && numbers[2].is_nan() && numbers[3] == 2.5);
        let both = Column::Numbers(vec![1.0, f64::NAN]).append(column(&["a"]));
        assert_eq!(both, Column::Texts(vec!["1".into(), String::new(), "a".into()]));
    }
}
