//! Non-negative matrix factorisation: a row is a sum of a few *components*, each so many times as
//! its *coefficient* says, and neither is ever negative.
//!
//! Given components `H` `[components, bins]`, the coefficients `w` of a row `x` make ½ ‖x − wH‖² +
//! bins · (l1 Σw + ½ l2 ‖w‖²) small; the components do the same with all rows, with rows in the
//! place of bins (the objective of scikit-learn's `NMF`, its alpha_W · l1_ratio being
//! `l1_coefficients` here, and so on). Either is a problem without false minima once the other is
//! held, and is solved to the end, by coordinate descent (Hsieh and Dhillon, "Fast coordinate
//! descent methods with variable selection for non-negative matrix factorization", KDD 2011).
//! Coefficients are found anew whenever they are wanted, so that a model is its components and
//! nothing else.
//!
//! In memory everything has the components in front: coefficients are `[components, rows]`, so that
//! one pass over rows or bins updates one component of all of them at once.

mod solve;
mod start;
pub mod tensors;

pub(crate) use solve::{Solver, gram, solve};
pub(crate) use start::nndsvd;

use super::host::{Matrix, multiply};
use crate::{config::model::Nmf, prepare::Rows};

/// What coefficients are found with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// What a coefficient costs: times the number of bins.
    pub l1: f64,
    /// What its square costs, halved: times the number of bins.
    pub l2: f64,
    /// What inputs are cut off at before coefficients are found for scoring.
    pub clip: Option<f32>,
}

impl Numbers {
    /// As a config says.
    pub fn new(nmf: &Nmf) -> Self {
        Self {
            l1: nmf.l1_coefficients,
            l2: nmf.l2_coefficients,
            clip: nmf.clip.map(|clip| clip as f32),
        }
    }
}

/// Training rows as training sees them: zeros of bins that are not always 0 are filled up.
pub(crate) struct Filled<'a> {
    pub(crate) rows: Rows<'a>,
    /// What zeros of each bin become.
    pub(crate) zeros: Option<Vec<f32>>,
}

impl<'a> Filled<'a> {
    /// Looks through the rows for bins that are always 0, where zeros are to be filled up.
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

/// Rows whose coefficients are found together: what belongs to them stays in the cache.
pub(crate) fn rows_at_once(bins: usize) -> usize {
    ((1 << 18) / bins.max(1)).clamp(16, 1024)
}

/// Components with what every solution needs of them.
pub(crate) struct Encoder<'a> {
    components: &'a [f32],
    bins: usize,
    count: usize,
    gram: Vec<f32>,
    l1: f32,
    l2: f32,
    solver: Solver,
}

impl<'a> Encoder<'a> {
    /// From components, `[count, bins]`.
    pub(crate) fn new(
        components: &'a [f32],
        count: usize,
        numbers: Numbers,
        solver: Solver,
    ) -> Self {
        let bins = components.len() / count.max(1);
        let scale = |penalty: f64| (penalty * bins as f64) as f32;
        Self {
            components,
            bins,
            count,
            gram: gram(components, count),
            l1: scale(numbers.l1),
            l2: scale(numbers.l2),
            solver,
        }
    }

    /// The coefficients of rows `[rows, bins]`, as `[components, rows]`. Those of a row do not
    /// depend on the rows beside it.
    pub(crate) fn coefficients(&self, input: &[f32], out: &mut Vec<f32>) {
        let rows = input.len() / self.bins;
        let mut products = vec![0.0; self.count * rows];
        let components = Matrix::new(self.components, self.count, self.bins);
        multiply(
            components,
            Matrix::new(input, rows, self.bins).transposed(),
            &mut products,
            false,
        );
        out.clear();
        out.resize(self.count * rows, self.solver.start());
        solve(self.solver, &self.gram, &products, (self.l1, self.l2), out);
    }

    /// The coefficients of scored rows, `[rows, components]`, appended to `out`.
    pub(crate) fn encode(&self, input: &[f32], clip: Option<f32>, out: &mut Vec<f32>) {
        let (mut clipped, mut coefficients) = (vec![], vec![]);
        for input in input.chunks(rows_at_once(self.bins) * self.bins) {
            let rows = input.len() / self.bins;
            let seen = match clip {
                None => input,
                Some(clip) => {
                    clipped.clear();
                    clipped.extend(input.iter().map(|value| value.min(clip)));
                    &clipped
                }
            };
            self.coefficients(seen, &mut coefficients);
            out.extend((0..rows).flat_map(|row| coefficients.iter().skip(row).step_by(rows)));
        }
    }
}

/// Rows from coefficients `[rows, components]`, appended to `out`, `[rows, bins]`.
pub(crate) fn decode(components: &[f32], count: usize, coefficients: &[f32], out: &mut Vec<f32>) {
    let (bins, rows) = (components.len() / count.max(1), coefficients.len() / count.max(1));
    let before = out.len();
    out.resize(before + rows * bins, 0.0);
    multiply(
        Matrix::new(coefficients, rows, count),
        Matrix::new(components, count, bins),
        &mut out[before..],
        false,
    );
}
