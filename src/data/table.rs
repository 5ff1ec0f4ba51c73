//! The contents of a file as read, before selection, sorting and scaling.

use super::{cells::Cells, channels::Hierarchy, field::Field, shape::Shape};
use crate::config::data::Format;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A table with one histogram or one set of features per row, in file order.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// Its layout.
    pub format: Format,
    /// Its columns, or arrays.
    pub fields: Vec<Field>,
    /// Identities of the rows.
    pub rows: Vec<TableRow>,
    /// Whether rows are events, which have no lumisection; their `ls` is their position in the
    /// file.
    pub events: bool,
    /// The shape of a row's values.
    pub shape: Shape,
    /// Contents, `[rows, bins or features]`.
    pub values: Vec<f32>,
    /// Whether the first and last bin of each axis are underflow and overflow.
    pub flow_bins: bool,
    /// Whether y is the fastest axis of a map (index x · y bins + y) instead of x.
    pub y_fastest: bool,
    /// Edges of the axes if the file has them and they are equal in all rows: x from, x to, y from,
    /// y to.
    pub edges: [Option<f64>; 4],
    /// The ends of each row's axis in x, if requested and in the file.
    pub axes: Vec<[f64; 2]>,
    /// Names of the features; `None` for histograms.
    pub features: Option<Arc<[String]>>,
    /// The hierarchy of features by their names, if there are rules for it; the features are then
    /// those of the channels.
    pub hierarchy: Option<Hierarchy>,
    /// Further columns that were requested.
    pub columns: BTreeMap<String, Column>,
    /// Monitoring elements in the file and their number of rows.
    pub elements: BTreeMap<String, usize>,
    /// Rows that could not be read.
    pub faults: Vec<Fault>,
    /// A summary of each row, if requested instead of its values.
    pub summaries: Vec<Summary>,
    /// Statistics of the cells of each feature, if summaries were requested.
    pub cells: Vec<Cells>,
    /// Notes on how the file was read.
    pub notes: Vec<String>,
}

/// The identity of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// The detector's run, if the file or its name has it.
    pub run: Option<u32>,
    /// Lumisection number, or event number.
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
    /// Run, if it could be read.
    pub run: Option<u32>,
    /// Lumisection, if it could be read.
    pub ls: Option<u32>,
    /// What is wrong.
    pub reason: String,
}

/// Summary of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Its monitoring element, as a position in [`Table::elements`]; 0 if there are none.
    pub element: u32,
    /// Its shape.
    pub shape: Shape,
    /// Whether it has underflow and overflow bins.
    pub flow_bins: bool,
    /// Sum of its values; NaN if they were not read.
    pub sum: f64,
    /// Whether all its values are 0; false if they were not read.
    pub empty: bool,
    /// Number of missing values.
    pub missing: u32,
}

/// A column of numbers or texts, one entry per row.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers; true is 1, false is 0, unknown is NaN.
    Numbers(Vec<f64>),
    /// Texts; unknown is blank.
    Texts(Vec<String>),
}

impl Column {
    /// Converts texts to numbers if every one is a number, a flag or blank.
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

    /// The entry of row `i` as text; blank if unknown.
    pub fn text(&self, i: usize) -> String {
        match self {
            Self::Numbers(numbers) if numbers[i].is_nan() => String::new(),
            Self::Numbers(numbers) => numbers[i].to_string(),
            Self::Texts(texts) => texts[i].clone(),
        }
    }

    /// Whether entry `i` is known.
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

    /// Concatenates two columns; numbers become texts if the other holds texts.
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

/// Whether an entry means a missing value.
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

    /// The place of a row or a fault for messages: `file:line`, or the row's position if the file
    /// has no lines.
    pub fn place(&self, line: u32, index: u32) -> String {
        place_in(&self.path, line, index)
    }
}

/// The place of a row: `file:line`, or its position (from 0) if the file has no lines.
pub fn place_in(path: &Path, line: u32, index: u32) -> String {
    if line > 0 {
        format!("{}:{line}", path.display())
    } else {
        format!("{}: row {index}", path.display())
    }
}

/// Formats edges: "0 to 2", for a map "0 to 2, 0 to 5".
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
