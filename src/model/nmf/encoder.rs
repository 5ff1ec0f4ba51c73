//! Computes coefficients from rows, and rows from coefficients, on the CPU.

use super::{
    filled::rows_at_once,
    solve::{Solver, gram, solve},
};
use crate::{
    config::model::Nmf,
    model::matrix::{Matrix, multiply},
};

/// Parameters for computing coefficients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// L1 penalty of a coefficient, multiplied by the number of bins.
    pub l1: f64,
    /// L2 penalty: half of it, multiplied by the number of bins, times the squared coefficient.
    pub l2: f64,
    /// Upper limit of inputs when coefficients are computed for scoring.
    pub clip: Option<f32>,
}

impl Numbers {
    /// The values of a config.
    pub fn new(nmf: &Nmf) -> Self {
        Self {
            l1: nmf.l1_coefficients,
            l2: nmf.l2_coefficients,
            clip: nmf.clip.map(|clip| clip as f32),
        }
    }
}

/// Components and their Gram matrix, which every solution uses.
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

    /// The coefficients of rows `[rows, bins]`, as `[components, rows]`. The coefficients of a row
    /// do not depend on other rows.
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
