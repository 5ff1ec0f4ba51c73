//! Training on the CPU without an autodiff graph: forward, backward and update by hand on flat buffers.
//!
//! These networks are so small that a framework's bookkeeping costs more than their arithmetic. Here a step is seven matrix
//! products per pair of layers (the `gemm` crate) and a few vectorised passes over memory that stays in the cache. The
//! arithmetic is that of the reference path ([`super::reference`]), and tests hold the two together.

use super::{
    Batch, Job, Moments, Trainer,
    elementwise::{AdamNumbers, activate, adadelta, adam, add_rows, differentiate, distances},
    reference::scoring_rows,
};
use crate::{
    config::{
        Experiment, Optimizer,
        raw::{Activation, EpsilonPlacement},
    },
    error::Result,
    model::Architecture,
    prepare::Rows,
};
use gemm::Parallelism;
use std::ops::Range;

/// Products of fewer multiply-adds than this run on one thread: starting others costs more than they bring.
const PARALLEL: usize = 192 * 192 * 192;

/// One model in training.
pub struct Fused<'a> {
    architecture: &'a Architecture,
    experiment: &'a Experiment,
    layers: Vec<LayerPlace>,
    train: Rows<'a>,
    valid: Option<Rows<'a>>,
    order: Option<Vec<usize>>,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    /// Mean gradient (Adam), last step (momentum) or mean squared step (Adadelta), `[parameters]`.
    first: Vec<f32>,
    /// Mean squared gradient, `[parameters]`.
    second: Vec<f32>,
    steps: i32,
    space: Space,
    loss_sum: f64,
}

/// Where a layer's weight and bias stand in the flat parameters.
struct LayerPlace {
    inputs: usize,
    outputs: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

/// Buffers of a batch.
#[derive(Default)]
struct Space {
    /// The batch's inputs, `[rows, width]`.
    input: Vec<f32>,
    /// Each layer's output before dropout, `[rows, out]`.
    outputs: Vec<Vec<f32>>,
    /// Each layer's output as the next one sees it; empty without dropout.
    dropped: Vec<Vec<f32>>,
    /// What an activation needs beside its output to be differentiated; empty for most.
    saved: Vec<Vec<f32>>,
    /// Gradient of the loss by the layer at hand, `[rows, out]`, and by the one below.
    above: Vec<f32>,
    below: Vec<f32>,
}

impl<'a> Fused<'a> {
    /// A model in training.
    pub fn new(job: &Job<'a>) -> Self {
        let Job { experiment, architecture, start, train, valid, .. } = *job;
        let mut layers = vec![];
        let mut at = 0;
        for (inputs, outputs) in architecture.shapes() {
            let weight = at..at + inputs * outputs;
            let bias = weight.end..weight.end + outputs;
            at = bias.end;
            layers.push(LayerPlace { inputs, outputs, weight, bias });
        }
        Self {
            architecture,
            experiment,
            layers,
            train,
            valid,
            order: None,
            parameters: start.to_vec(),
            gradient: vec![0.0; start.len()],
            first: vec![0.0; start.len()],
            second: vec![0.0; start.len()],
            steps: 0,
            space: Space::default(),
            loss_sum: 0.0,
        }
    }

    /// Fills the buffers with the outputs of every layer for the rows of `space.input`.
    fn forward(&self, space: &mut Space, rows: usize, masks: Option<&[Vec<f32>]>) {
        let layers = self.layers.len();
        space.outputs.resize(layers, vec![]);
        space.dropped.resize(layers, vec![]);
        space.saved.resize(layers, vec![]);
        for (i, layer) in self.layers.iter().enumerate() {
            let (done, rest) = space.outputs.split_at_mut(i);
            let input = match i {
                0 => &space.input,
                _ if masks.is_some() => &space.dropped[i - 1],
                _ => &done[i - 1],
            };
            let output = &mut rest[0];
            output.resize(rows * layer.outputs, 0.0);
            output.chunks_exact_mut(layer.outputs).for_each(|row| row.copy_from_slice(&self.parameters[layer.bias.clone()]));
            multiply(
                Matrix::new(input, rows, layer.inputs),
                Matrix::new(&self.parameters[layer.weight.clone()], layer.inputs, layer.outputs),
                output,
                true,
            );
            let kind = self.architecture.activations[i];
            if kind == Activation::Gelu {
                space.saved[i].clear();
                space.saved[i].extend_from_slice(output);
            }
            activate(kind, output);
            if let Some(mask) = masks.and_then(|masks| masks.get(i)) {
                let dropped = &mut space.dropped[i];
                dropped.clear();
                dropped.extend(output.iter().zip(mask).map(|(value, mask)| value * mask));
            }
        }
    }

    /// Fills `gradient` for the batch whose outputs are in `space`, and returns the sum over rows of weight times distance.
    fn backward(&mut self, space: &mut Space, rows: usize, batch: &Batch<'_>) -> f64 {
        let last = self.layers.len() - 1;
        let width = self.train.width();
        let weights: Option<Vec<f32>> = batch.rows.clone().map(|i| self.train.weight(self.row(i))).collect();
        space.above.resize(rows * width, 0.0);
        let loss = distances(
            self.experiment.loss,
            &space.outputs[last],
            &space.input,
            &mut space.above,
            width,
            weights.as_deref(),
            (1.0 / (batch.total * self.experiment.loss.divisor(width))) as f32,
        );
        differentiate(self.architecture.activations[last], &space.outputs[last], &space.saved[last], &mut space.above);
        for i in (0..=last).rev() {
            let layer = &self.layers[i];
            let input = match i {
                0 => &space.input,
                _ if batch.masks.is_some() => &space.dropped[i - 1],
                _ => &space.outputs[i - 1],
            };
            multiply(
                Matrix::new(input, rows, layer.inputs).transposed(),
                Matrix::new(&space.above, rows, layer.outputs),
                &mut self.gradient[layer.weight.clone()],
                false,
            );
            add_rows(&space.above, &mut self.gradient[layer.bias.clone()]);
            if i == 0 {
                break;
            }
            space.below.resize(rows * layer.inputs, 0.0);
            multiply(
                Matrix::new(&space.above, rows, layer.outputs),
                Matrix::new(&self.parameters[layer.weight.clone()], layer.inputs, layer.outputs).transposed(),
                &mut space.below,
                false,
            );
            if let Some(mask) = batch.masks.and_then(|masks| masks.get(i - 1)) {
                space.below.iter_mut().zip(mask).for_each(|(gradient, mask)| *gradient *= mask);
            }
            let activity = self.experiment.config.loss.activity_l2;
            if i == 1 && activity > 0.0 {
                let factor = (2.0 * activity / rows as f64) as f32;
                space.below.iter_mut().zip(&space.outputs[0]).for_each(|(gradient, value)| *gradient += factor * value);
            }
            differentiate(self.architecture.activations[i - 1], &space.outputs[i - 1], &space.saved[i - 1], &mut space.below);
            std::mem::swap(&mut space.above, &mut space.below);
        }
        loss
    }

    fn row(&self, i: usize) -> usize {
        self.order.as_ref().map_or(i, |order| order[i])
    }

    fn update(&mut self, rate: f64) {
        self.steps += 1;
        let config = &self.experiment.config;
        if config.loss.l2 > 0.0 {
            let factor = (2.0 * config.loss.l2) as f32;
            for layer in &self.layers {
                let range = layer.weight.clone();
                self.gradient[range.clone()].iter_mut().zip(&self.parameters[range]).for_each(|(gradient, weight)| *gradient += factor * weight);
            }
        }
        if let Some(limit) = config.train.gradient_clip {
            let norm = self.gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            if norm > limit {
                let factor = (limit / norm) as f32;
                self.gradient.iter_mut().for_each(|value| *value *= factor);
            }
        }
        match self.experiment.optimizer {
            Optimizer::Adam { beta1, beta2, epsilon, placement, weight_decay } => {
                // m̂ / (√v̂ + ε) = (√c₂ / c₁) m / (√v + ε √c₂) with c the bias corrections; Keras leaves ε uncorrected.
                let (correction1, correction2) = (1.0 - beta1.powi(self.steps), (1.0 - beta2.powi(self.steps)).sqrt());
                let epsilon = if placement == EpsilonPlacement::Torch { epsilon * correction2 } else { epsilon };
                let numbers = AdamNumbers {
                    beta1: beta1 as f32,
                    fresh1: (1.0 - beta1) as f32,
                    beta2: beta2 as f32,
                    fresh2: (1.0 - beta2) as f32,
                    epsilon: epsilon as f32,
                    rate: (rate * correction2 / correction1) as f32,
                    keep: (1.0 - rate * weight_decay) as f32,
                };
                adam(&mut self.parameters, &self.gradient, &mut self.first, &mut self.second, numbers);
            }
            Optimizer::Sgd { momentum } => {
                let (momentum, rate) = (momentum as f32, rate as f32);
                for ((parameter, gradient), velocity) in self.parameters.iter_mut().zip(&self.gradient).zip(&mut self.first) {
                    *velocity = momentum * *velocity + gradient;
                    *parameter -= rate * *velocity;
                }
            }
            Optimizer::Adadelta { rho, epsilon } => {
                let (rho, epsilon, rate) = (rho as f32, epsilon as f32, rate as f32);
                adadelta(&mut self.parameters, &self.gradient, &mut self.first, &mut self.second, rho, epsilon, rate);
            }
            Optimizer::RmsProp { rho, epsilon } => {
                let (fresh, rho, epsilon, rate) = ((1.0 - rho) as f32, rho as f32, epsilon as f32, rate as f32);
                for ((parameter, gradient), second) in self.parameters.iter_mut().zip(&self.gradient).zip(&mut self.second) {
                    *second = rho * *second + fresh * gradient * gradient;
                    *parameter -= rate * (gradient / (second.sqrt() + epsilon));
                }
            }
        }
    }
}

impl Trainer for Fused<'_> {
    fn start_epoch(&mut self, order: Option<&[usize]>) {
        self.order = order.map(<[usize]>::to_vec);
        self.loss_sum = 0.0;
    }

    fn step(&mut self, batch: Batch<'_>, rate: f64) {
        let mut space = std::mem::take(&mut self.space);
        let rows = batch.rows.len();
        space.input.clear();
        for i in batch.rows.clone() {
            self.train.extend(self.row(i), &mut space.input);
        }
        self.forward(&mut space, rows, batch.masks);
        self.loss_sum += self.backward(&mut space, rows, &batch) * rows as f64 / batch.total;
        self.update(rate);
        self.space = space;
    }

    fn loss_sum(&self) -> Result<f64> {
        Ok(self.loss_sum)
    }

    fn has_diverged(&self) -> bool {
        !self.loss_sum.is_finite()
    }

    fn valid_loss_sum(&self) -> Result<f64> {
        let Some(valid) = self.valid else { return Ok(0.0) };
        let mut space = Space::default();
        let mut sum = 0.0;
        let step = scoring_rows(valid.width()).min(512);
        for start in (0..valid.len()).step_by(step) {
            let range = start..(start + step).min(valid.len());
            space.input.clear();
            range.clone().for_each(|i| valid.extend(i, &mut space.input));
            self.forward(&mut space, range.len(), None);
            let output = &space.outputs[self.layers.len() - 1];
            space.above.resize(output.len(), 0.0);
            let weights: Option<Vec<f32>> = range.map(|i| valid.weight(i)).collect();
            sum += distances(self.experiment.loss, output, &space.input, &mut space.above, valid.width(), weights.as_deref(), 0.0);
        }
        Ok(sum)
    }

    fn moments(&self) -> Result<Moments> {
        Ok(Moments { steps: self.steps, parameters: self.parameters.clone(), first: self.first.clone(), second: self.second.clone() })
    }

    fn restore(&mut self, moments: &Moments, loss_sum: f64) {
        let Moments { steps, parameters, first, second } = moments.clone();
        (self.steps, self.parameters, self.first, self.second, self.loss_sum) = (steps, parameters, first, second, loss_sum);
    }

    fn weights(&self) -> Result<Vec<f32>> {
        Ok(self.parameters.clone())
    }
}

/// A matrix in row-major memory, perhaps seen transposed.
struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns);
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }
}

/// `out = left · right`, or `out += left · right`; `out` is row-major.
#[allow(unsafe_code, reason = "gemm takes raw pointers; the lengths are checked just above the call")]
fn multiply(left: Matrix<'_>, right: Matrix<'_>, out: &mut [f32], add: bool) {
    let (m, k, n) = (left.rows, left.columns, right.columns);
    assert_eq!(right.rows, k);
    assert_eq!(out.len(), m * n);
    let parallelism = if m * n * k < PARALLEL { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: every index a product touches is below rows · columns of its matrix, which `Matrix::new` and the asserts above
    // hold equal to the lengths of the slices; `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_are_sums_of_products(m in 1_usize..7, k in 1_usize..7, n in 1_usize..7, seed in 0_u32..100) {
            let number = |i: usize| ((i as u32 * 7 + seed) % 11) as f32 - 5.0;
            let (left, right): (Vec<f32>, Vec<f32>) = ((0..m * k).map(number).collect(), (0..k * n).map(|i| number(i + 3)).collect());
            let mut out = vec![1.0; m * n];
            multiply(Matrix::new(&left, m, k), Matrix::new(&right, k, n), &mut out, true);
            let mut turned = vec![f32::NAN; n * m];
            multiply(Matrix::new(&right, k, n).transposed(), Matrix::new(&left, m, k).transposed(), &mut turned, false);
            for i in 0..m {
                for j in 0..n {
                    let wanted: f32 = (0..k).map(|at| left[i * k + at] * right[at * n + j]).sum();
                    prop_assert_eq!(out[i * n + j], wanted + 1.0);
                    prop_assert_eq!(turned[j * m + i], wanted);
                }
            }
        }
    }
}
