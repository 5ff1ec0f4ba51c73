//! Files of named arrays.

use crate::data::field::FieldKind;
use std::ops::Range;

/// An array of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayInfo {
    /// Its name, including its groups.
    pub name: String,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its kind of contents.
    pub kind: FieldKind,
    /// Its type in the terms of the file format.
    pub type_name: String,
}

impl ArrayInfo {
    /// Number of rows; 0 for a single value.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Whether it holds numbers or flags.
    pub fn is_numeric(&self) -> bool {
        matches!(self.kind, FieldKind::Number | FieldKind::Flag)
    }

    /// Whether there is one value per row: `(n,)` or `(n, 1)`.
    pub fn is_narrow(&self) -> bool {
        !self.shape.is_empty() && self.shape[1..].iter().all(|length| *length == 1)
    }

    /// Number of values per row; 1 for a column.
    pub fn inner(&self) -> usize {
        self.shape.iter().skip(1).fold(1, |product, length| product.saturating_mul(*length))
    }

    /// Number of all values; `None` on overflow.
    pub fn values(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, length| product.checked_mul(*length))
    }

    /// `(3763, 40)`, as Python writes it.
    pub fn show_shape(&self) -> String {
        let lengths: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        format!("({})", lengths.join(", "))
    }
}

/// A file of arrays. Errors name the array.
pub trait ArrayFile: Sync {
    /// The arrays of the file.
    fn list(&self) -> &[ArrayInfo];
    /// Whether rows can be read without reading those before them.
    fn seekable(&self) -> bool;
    /// Reads rows of a numeric array, the inner axes in C order.
    fn singles(
        &self,
        at: usize,
        rows: Range<usize>,
        into: &mut [f32],
    ) -> std::result::Result<(), String>;
    /// Reads rows of numeric columns into `[rows, sources]`.
    fn columns(
        &self,
        sources: &[usize],
        rows: Range<usize>,
        into: &mut [f32],
    ) -> std::result::Result<(), String> {
        let mut column = vec![0.0; rows.len()];
        for (at, &source) in sources.iter().enumerate() {
            self.singles(source, rows.clone(), &mut column)?;
            column
                .iter()
                .enumerate()
                .for_each(|(row, value)| into[row * sources.len() + at] = *value);
        }
        Ok(())
    }
    /// Reads a numeric column.
    fn doubles(&self, at: usize) -> std::result::Result<Vec<f64>, String>;
    /// Reads a column of texts.
    fn texts(&self, at: usize) -> std::result::Result<Vec<String>, String>;
}
