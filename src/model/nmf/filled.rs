//! The rows that a factorisation is trained on.

use crate::prepare::Rows;

/// Training rows as used in training: zeros in bins that are not always 0 are replaced.
pub(crate) struct Filled<'a> {
    pub(crate) rows: Rows<'a>,
    /// Replacement of zeros in each bin.
    pub(crate) zeros: Option<Vec<f32>>,
}

impl<'a> Filled<'a> {
    /// Finds the bins that are always 0 if zeros are to be replaced (`fill`).
    pub(crate) fn new(rows: Rows<'a>, fill: Option<f64>) -> Self {
        let zeros = fill.map(|fill| {
            let (mut zeros, mut row) = (vec![0.0; rows.width()], vec![]);
            for i in 0..rows.len() {
                row.clear();
                rows.extend(i, &mut row);
                zeros
                    .iter_mut()
                    .zip(&row)
                    .filter(|(_, value)| **value != 0.0)
                    .for_each(|(zero, _)| *zero = fill as f32);
            }
            zeros
        });
        Self { rows, zeros }
    }

    /// Appends row `i`.
    pub(crate) fn extend(&self, i: usize, out: &mut Vec<f32>) {
        let before = out.len();
        self.rows.extend(i, out);
        if let Some(zeros) = &self.zeros {
            out[before..]
                .iter_mut()
                .zip(zeros)
                .filter(|(value, _)| **value == 0.0)
                .for_each(|(value, zero)| *value = *zero);
        }
    }
}

/// Rows whose coefficients are computed together, so that their data stay in the cache.
pub(crate) fn rows_at_once(bins: usize) -> usize {
    ((1 << 18) / bins.max(1)).clamp(16, 1024)
}
