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
    /// What a model sees of missing cells, one number a column of the matrix; absent where no cell
    /// is missing.
    fill: Option<&'a [f32]>,
}

impl<'a> Rows<'a> {
    /// All of a matrix, `[rows, width]`; every row counts the same.
    pub fn new(values: &'a [f32], width: usize) -> Self {
        Self { values, stride: width, columns: None, weights: None, index: None, fill: None }
    }

    /// How much each row of the matrix counts; all the same where absent.
    pub fn weighted(self, weights: Option<&'a [f32]>) -> Self {
        Self { weights, ..self }
    }

    /// Missing cells, which are NaN in the matrix, are left out of losses and errors, and a model
    /// sees these numbers instead: one a column of the matrix.
    pub fn filled(self, fill: Option<&'a [f32]>) -> Self {
        Self { fill, ..self }
    }

    /// The same, known to be whole where no cell of these rows and columns is missing.
    pub fn whole_where_possible(self) -> Self {
        let mut row = vec![];
        let is_whole = |i: usize| {
            row.clear();
            self.extend_known(i, &mut row);
            row.iter().all(|value| !value.is_nan())
        };
        if self.is_masked() && (0..self.len()).all(is_whole) {
            Self { fill: None, ..self }
        } else {
            self
        }
    }

    /// Whether cells may be missing.
    pub fn is_masked(&self) -> bool {
        self.fill.is_some()
    }

    /// Whether row `i` has any cell.
    pub fn has_any(&self, i: usize) -> bool {
        let mut row = vec![];
        self.extend_known(i, &mut row);
        row.iter().any(|value| !value.is_nan())
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

    /// Appends row `i` to `out` as a model sees it.
    pub fn extend(&self, i: usize, out: &mut Vec<f32>) {
        let first = out.len();
        self.extend_known(i, out);
        let Some(fill) = self.fill else { return };
        let put = |(value, fill): (&mut f32, &f32)| {
            if value.is_nan() {
                *value = *fill;
            }
        };
        match self.columns {
            None => out[first..].iter_mut().zip(fill).for_each(put),
            Some(columns) => out[first..]
                .iter_mut()
                .zip(columns.iter().flat_map(|range| &fill[range.clone()]))
                .for_each(put),
        }
    }

    /// Appends row `i` to `out` as it is known: NaN where a cell is missing.
    pub fn extend_known(&self, i: usize, out: &mut Vec<f32>) {
        let at = self.position(i) * self.stride;
        let row = &self.values[at..at + self.stride];
        match self.columns {
            None => out.extend_from_slice(row),
            Some(columns) => {
                columns.iter().for_each(|range| out.extend_from_slice(&row[range.clone()]))
            }
        }
    }

    /// Some rows as they are known, `[range, width]`: NaN where a cell is missing.
    pub fn copy_known(&self, range: Range<usize>) -> Vec<f32> {
        let mut out = Vec::with_capacity(range.len() * self.width());
        range.for_each(|i| self.extend_known(i, &mut out));
        out
    }

    /// Some rows as a model sees them, one after the other, `[range, width]`.
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
