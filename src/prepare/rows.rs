//! The rows that a model sees: a part of a matrix, which is not copied.

use std::ops::Range;

/// Some or all rows and columns of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    columns: Option<&'a [Range<usize>]>,
    weights: Option<&'a [f32]>,
    index: Option<&'a [u32]>,
}

impl<'a> Rows<'a> {
    /// All of a matrix, `[rows, width]`; every row counts the same.
    pub fn new(values: &'a [f32], width: usize) -> Self {
        Self { values, stride: width, columns: None, weights: None, index: None }
    }

    /// How much each row of the matrix counts; all the same where absent.
    pub fn weighted(self, weights: Option<&'a [f32]>) -> Self {
        Self { weights, ..self }
    }

    /// Only these rows of the matrix, in this order.
    pub fn at(self, index: &'a [u32]) -> Self {
        Self { index: Some(index), ..self }
    }

    /// Only these columns of the matrix, in this order.
    pub fn columns(self, columns: &'a [Range<usize>]) -> Self {
        Self { columns: Some(columns), ..self }
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.map_or(self.stride, |columns| columns.iter().map(Range::len).sum())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.index.map_or(self.values.len() / self.stride.max(1), <[u32]>::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends row `i` to `out`.
    pub fn extend(&self, i: usize, out: &mut Vec<f32>) {
        let at = self.position(i) * self.stride;
        let row = &self.values[at..at + self.stride];
        match self.columns {
            None => out.extend_from_slice(row),
            Some(columns) => columns.iter().for_each(|range| out.extend_from_slice(&row[range.clone()])),
        }
    }

    /// Some rows one after the other, `[range, width]`.
    pub fn copy(&self, range: Range<usize>) -> Vec<f32> {
        let mut out = Vec::with_capacity(range.len() * self.width());
        range.for_each(|i| self.extend(i, &mut out));
        out
    }

    /// How much row `i` counts, where rows count differently.
    pub fn weight(&self, i: usize) -> Option<f32> {
        self.weights.map(|weights| weights[self.position(i)])
    }

    /// The sum of some rows' weights, each 1 where all count the same.
    pub fn total_weight(&self, rows: impl Iterator<Item = usize>) -> f64 {
        rows.map(|row| self.weight(row).map_or(1.0, f64::from)).sum()
    }

    /// Where row `i` stands in the matrix.
    pub fn position(&self, i: usize) -> usize {
        self.index.map_or(i, |index| index[i] as usize)
    }
}
