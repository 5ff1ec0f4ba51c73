//! Training of a non-negative matrix factorisation on the CPU.
//!
//! A step computes the coefficients of a batch's rows for the current components, accumulates the
//! sums of products that determine the best components for these coefficients, and updates the
//! components. If a batch is the whole table this is alternating least squares. With smaller
//! batches the sums carry over from batch to batch and old ones decay, as in scikit-learn's
//! `MiniBatchNMF` (Lefèvre, Bach and Févotte, "Online algorithms for nonnegative matrix
//! factorization with the Itakura-Saito divergence", WASPAA 2011).

use super::members::Member;
use crate::{
    config::model::{Nmf, NmfStart},
    model::{
        Architecture,
        matrix::{Matrix, multiply},
        nmf::{Encoder, Filled, Numbers, Solver, nndsvd, rows_at_once, solve},
    },
    prepare::Rows,
    train::trainer::{Job, MemberBatch, OptimizerState, Sums},
};
use rayon::prelude::*;
use std::ops::Range;

/// Pieces of a batch that one thread computes.
const PIECES: usize = 16;

/// A factorisation in training.
pub struct Factoriser<'a> {
    architecture: &'a Architecture,
    nmf: &'a Nmf,
    seed: u64,
    /// Whether components are initialised from the rows before the first step.
    starts: bool,
    divisor: f64,
    train: Filled<'a>,
    valid: Option<Rows<'a>>,
    /// `[components, bins]`
    components: Vec<f32>,
    known: Known,
    steps: i32,
    sums: Sums,
}

/// Sums over rows that determine the components.
#[derive(Clone, Default)]
struct Known {
    /// Coefficients times rows, `[components, bins]`.
    products: Vec<f32>,
    /// Coefficients times coefficients, `[components, components]`, followed by the weight of the
    /// rows.
    gram: Vec<f32>,
    /// Sum over rows of weight times squared error.
    loss: f64,
}

impl Known {
    fn nothing(components: usize, bins: usize) -> Self {
        Self {
            products: vec![0.0; components * bins],
            gram: vec![0.0; components * components + 1],
            loss: 0.0,
        }
    }

    /// Multiplies these sums by `kept` and adds others.
    fn add(&mut self, kept: f32, other: &Self) {
        let add = |own: &mut [f32], other: &[f32]| {
            own.iter_mut().zip(other).for_each(|(own, other)| *own = kept * *own + other)
        };
        add(&mut self.products, &other.products);
        add(&mut self.gram, &other.gram);
        self.loss += other.loss;
    }
}

impl<'a> Factoriser<'a> {
    /// A factorisation in training.
    pub fn new(job: &Job<'a>) -> Self {
        let Job { experiment, architecture, start, seed, train, valid } = *job;
        let nmf = &experiment.model.nmf;
        Self {
            architecture,
            nmf,
            seed,
            starts: nmf.start == NmfStart::Nndsvd && experiment.train.init.is_none(),
            divisor: experiment.loss.distance().divisor(train.width()),
            train: Filled::new(train, nmf.fill_zeros),
            valid,
            components: start.to_vec(),
            known: Known::nothing(architecture.latent(), train.width()),
            steps: 0,
            sums: Sums::default(),
        }
    }

    fn encoder(&self) -> Encoder<'_> {
        Encoder::new(
            &self.components,
            self.architecture.latent(),
            Numbers::new(self.nmf),
            Solver::of_coefficients(self.nmf.solver),
        )
    }

    /// The sums over some rows. `extend` appends the inputs of a row; `weight` is its weight.
    fn learn(
        &self,
        encoder: &Encoder<'_>,
        rows: Range<usize>,
        extend: &impl Fn(usize, &mut Vec<f32>),
        weight: &impl Fn(usize) -> f32,
    ) -> Known {
        let (count, bins) = (self.architecture.latent(), self.train.rows.width());
        let mut known = Known::nothing(count, bins);
        let (mut input, mut coefficients) = (vec![], vec![]);
        for start in rows.clone().step_by(rows_at_once(bins)) {
            let rows = start..(start + rows_at_once(bins)).min(rows.end);
            input.clear();
            rows.clone().for_each(|at| extend(at, &mut input));
            encoder.coefficients(&input, &mut coefficients);
            let weights: Vec<f32> = rows.clone().map(weight).collect();
            let weighted: Vec<f32> = coefficients
                .chunks_exact(rows.len())
                .flat_map(|own| own.iter().zip(&weights).map(|(own, weight)| own * weight))
                .collect();
            multiply(
                Matrix::new(&weighted, count, rows.len()),
                Matrix::new(&input, rows.len(), bins),
                &mut known.products,
                true,
            );
            let grams = &mut known.gram[..count * count];
            multiply(
                Matrix::new(&weighted, count, rows.len()),
                Matrix::new(&coefficients, count, rows.len()).transposed(),
                grams,
                true,
            );
            known.gram[count * count] += weights.iter().sum::<f32>();
            coefficients.iter_mut().for_each(|value| *value = -*value);
            let components = Matrix::new(&self.components, count, bins);
            multiply(
                Matrix::new(&coefficients, count, rows.len()).transposed(),
                components,
                &mut input,
                true,
            );
            known.loss += input
                .chunks_exact(bins)
                .zip(&weights)
                .map(|(row, weight)| f64::from(*weight) * squares(row))
                .sum::<f64>();
        }
        known
    }

    /// The same for many rows, in parallel; independent of the number of threads.
    fn learn_all(
        &self,
        rows: Range<usize>,
        extend: &(impl Fn(usize, &mut Vec<f32>) + Sync),
        weight: &(impl Fn(usize) -> f32 + Sync),
    ) -> Known {
        let encoder = self.encoder();
        let step = PIECES * rows_at_once(self.train.rows.width());
        let starts: Vec<usize> = rows.clone().step_by(step).collect();
        let parts: Vec<Known> = starts
            .into_par_iter()
            .map(|start| self.learn(&encoder, start..(start + step).min(rows.end), extend, weight))
            .collect();
        let mut all = Known::nothing(self.architecture.latent(), self.train.rows.width());
        parts.iter().for_each(|part| all.add(1.0, part));
        all
    }
}

impl Member for Factoriser<'_> {
    fn sums(&mut self) -> &mut Sums {
        &mut self.sums
    }

    fn step(&mut self, batch: Range<usize>, share: &MemberBatch<'_>) {
        if share.total <= 0.0 {
            return;
        }
        let rows = batch.len();
        let learned = self.learn_all(
            batch,
            &|at, out: &mut Vec<f32>| self.train.extend(share.row(at), out),
            &|at| self.train.rows.weight(share.row(at)).unwrap_or(1.0),
        );
        self.sums.loss += learned.loss / self.divisor * rows as f64 / share.total;
        // Sums with other components are not needed if the batch has all rows.
        let kept = if rows == self.train.rows.len() {
            0.0
        } else {
            self.nmf.forget.powf(rows as f64 / self.train.rows.len() as f64)
        };
        self.known.add(kept as f32, &learned);
        let count = self.architecture.latent();
        let (gram, weight) = self.known.gram.split_at(count * count);
        let penalties = (
            (self.nmf.l1_components * f64::from(weight[0])) as f32,
            (self.nmf.l2_components * f64::from(weight[0])) as f32,
        );
        solve(
            Solver::of_components(self.nmf.solver),
            gram,
            &self.known.products,
            penalties,
            &mut self.components,
        );
        self.steps += 1;
    }

    fn valid_loss_sum(&self) -> f64 {
        let Some(valid) = self.valid else { return 0.0 };
        let all = self.learn_all(
            0..valid.len(),
            &|at, out: &mut Vec<f32>| valid.extend(at, out),
            &|at| valid.weight(at).unwrap_or(1.0),
        );
        all.loss / self.divisor
    }

    fn optimizer_state(&self) -> OptimizerState {
        OptimizerState {
            steps: self.steps,
            parameters: self.components.clone(),
            statistics: vec![],
            first: self.known.products.clone(),
            second: self.known.gram.clone(),
        }
    }

    fn restore(&mut self, moments: &OptimizerState, sums: Sums) {
        (self.steps, self.sums) = (moments.steps, sums);
        self.components.clone_from(&moments.parameters);
        if self.steps > 0 {
            self.known =
                Known { products: moments.first.clone(), gram: moments.second.clone(), loss: 0.0 };
        } else if self.starts {
            self.components = nndsvd(&self.train, self.architecture.latent(), self.seed);
        }
    }

    fn weights(&self) -> Vec<f32> {
        self.components.clone()
    }
}

fn squares(row: &[f32]) -> f64 {
    // Short sums in single precision, added up in double precision.
    row.chunks(256).map(|part| f64::from(part.iter().map(|value| value * value).sum::<f32>())).sum()
}

#[cfg(test)]
pub(crate) mod tests;
