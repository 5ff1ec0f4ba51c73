//! The rows of a model: a view of a part of a matrix.

use std::ops::Range;

/// Some or all rows and columns of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    columns: Option<&'a [Range<usize>]>,
    weights: Option<&'a [f32]>,
    index: Option<&'a [u32]>,
    /// Replacements of missing cells, one number per column of the matrix; `None` if no cell is
    /// missing.
    fill: Option<&'a [f32]>,
}

impl<'a> Rows<'a> {
    /// All rows of a matrix, `[rows, width]`, with equal weights.
    pub fn new(values: &'a [f32], width: usize) -> Self {
        Self { values, stride: width, columns: None, weights: None, index: None, fill: None }
    }

    /// Sets the weight of each row of the matrix; `None` means equal weights.
    pub fn weighted(self, weights: Option<&'a [f32]>) -> Self {
        Self { weights, ..self }
    }

    /// Sets the replacements of missing cells for the model, one number per column of the matrix.
    /// Missing cells are NaN in the matrix and are excluded from losses and errors.
    pub fn filled(self, fill: Option<&'a [f32]>) -> Self {
        Self { fill, ..self }
    }

    /// The same rows without replacements if no cell of these rows and columns is missing.
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

    /// Whether row `i` has any present cell.
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

    /// Appends row `i` to `out`, with missing cells replaced.
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

    /// Appends row `i` to `out`; missing cells are NaN.
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

    /// Copies some rows, `[range, width]`; missing cells are NaN.
    pub fn copy_known(&self, range: Range<usize>) -> Vec<f32> {
        let mut out = Vec::with_capacity(range.len() * self.width());
        range.for_each(|i| self.extend_known(i, &mut out));
        out
    }

    /// Copies some rows, `[range, width]`, with missing cells replaced.
    pub fn copy(&self, range: Range<usize>) -> Vec<f32> {
        let mut out = Vec::with_capacity(range.len() * self.width());
        range.for_each(|i| self.extend(i, &mut out));
        out
    }

    /// The weight of row `i`; `None` if all weights are equal.
    pub fn weight(&self, i: usize) -> Option<f32> {
        self.weights.map(|weights| weights[self.position(i)])
    }

    /// The sum of some rows' weights; each is 1 without weights.
    pub fn total_weight(&self, rows: impl Iterator<Item = usize>) -> f64 {
        rows.map(|row| self.weight(row).map_or(1.0, f64::from)).sum()
    }

    /// The position of row `i` in the matrix.
    pub fn position(&self, i: usize) -> usize {
        self.index.map_or(i, |index| index[i] as usize)
    }
}
