//! Training on the CPU without an autodiff graph: hand-written forward, backward and update on flat
//! buffers.
//!
//! For networks of this size, the overhead of a framework exceeds the arithmetic. Here a step is
//! seven matrix products per pair of layers (the `gemm` crate) and a few vectorised passes over
//! memory that stays in the cache. The arithmetic is that of the reference path
//! ([`super::autodiff`]); tests compare the two.

use super::{
    autodiff::scoring_rows,
    elementwise::{
        AdamNumbers, adadelta, adam, add_rows, differentiate, distances, leave_out, normalise,
        normalised_slope, scale_and_shift,
    },
    members::Member,
    penalty::{Drawn, Encoder, sparsity},
};
use crate::{
    config::{Experiment, UpdateRule, model::Activation},
    model::{
        Architecture,
        architecture::{LayerPlace, MOMENTUM},
        host::{self, activate},
        matrix::{Matrix, multiply},
    },
    prepare::Rows,
    train::{
        optimizer::numbers,
        trainer::{Corruption, Job, MemberBatch, OptimizerState, Sums},
    },
};
use std::ops::Range;

/// One model in training.
pub struct Fused<'a> {
    architecture: &'a Architecture,
    experiment: &'a Experiment,
    layers: Vec<LayerPlace>,
    /// The layer that computes the log variances of the latents.
    log_variance: Option<LayerPlace>,
    train: Rows<'a>,
    valid: Option<Rows<'a>>,
    parameters: Vec<f32>,
    /// Running means and variances of batch norm.
    statistics: Vec<f32>,
    gradient: Vec<f32>,
    /// Mean gradient (Adam), last step (momentum) or mean squared step (Adadelta), `[parameters]`.
    first: Vec<f32>,
    /// Mean squared gradient, `[parameters]`.
    second: Vec<f32>,
    steps: i32,
    space: Space,
    sums: Sums,
}

/// Buffers of a batch.
#[derive(Default)]
struct Space {
    /// The inputs of the batch with noise, masking and fill values, `[rows, width]`.
    input: Vec<f32>,
    /// The unmodified inputs of the batch, NaN if missing; empty if they equal `input`.
    clean: Vec<f32>,
    /// The batch norm of each layer.
    norms: Vec<Normalised>,
    /// Each layer's output before dropout, `[rows, out]`.
    outputs: Vec<Vec<f32>>,
    /// Each layer's output after dropout; empty without dropout.
    dropped: Vec<Vec<f32>>,
    /// Log variances of the latents, their gradient, and the sampled latents; empty if latents are
    /// not sampled.
    log_variances: Vec<f32>,
    by_log_variance: Vec<f32>,
    latents: Vec<f32>,
    /// Additional values for the derivative of an activation; empty for most.
    saved: Vec<Vec<f32>>,
    /// Gradient of the loss by the current layer, `[rows, out]`, and by the one below.
    above: Vec<f32>,
    below: Vec<f32>,
}

/// Batch norm of a layer's linear part in a batch; empty if the layer is not normalised.
#[derive(Default)]
struct Normalised {
    /// Values normalised to mean 0 and variance 1 per column, `[rows, width]`.
    values: Vec<f32>,
    /// Mean, biased variance and 1 / √(variance + ε) of each column.
    mean: Vec<f32>,
    variance: Vec<f32>,
    inverse: Vec<f32>,
}

impl Normalised {
    fn fill(&mut self, values: &[f32], width: usize) {
        self.values.clear();
        self.values.extend_from_slice(values);
        [&mut self.mean, &mut self.variance, &mut self.inverse]
            .into_iter()
            .for_each(|numbers| numbers.resize(width, 0.0));
        normalise(&mut self.values, &mut self.mean, &mut self.variance, &mut self.inverse);
    }
}

impl<'a> Fused<'a> {
    /// A model in training.
    pub fn new(job: &Job<'a>) -> Self {
        let Job { experiment, architecture, start, train, valid, .. } = *job;
        let (parameters, statistics) = start.split_at(architecture.parameters());
        let zeros = vec![0.0; parameters.len()];
        Self {
            architecture,
            experiment,
            layers: LayerPlace::all(architecture),
            log_variance: LayerPlace::log_variance(architecture),
            train,
            valid,
            parameters: parameters.to_vec(),
            statistics: statistics.to_vec(),
            gradient: zeros.clone(),
            first: zeros.clone(),
            second: zeros,
            steps: 0,
            space: Space::default(),
            sums: Sums::default(),
        }
    }

    /// Fills the buffers with the outputs of every layer for the rows of `space.input`.
    fn forward(&self, space: &mut Space, rows: usize, share: &MemberBatch<'_>) {
        let masks = share.masks.as_deref();
        let layers = self.layers.len();
        space.outputs.resize(layers, vec![]);
        space.dropped.resize(layers, vec![]);
        space.saved.resize(layers, vec![]);
        space.norms.resize_with(layers, Normalised::default);
        for (i, layer) in self.layers.iter().enumerate() {
            let (done, rest) = space.outputs.split_at_mut(i);
            let input = match i {
                0 => &space.input,
                _ if masks.is_some() => &space.dropped[i - 1],
                _ if i == self.architecture.encoder_layers && share.latents.is_some() => {
                    &space.latents
                }
                _ => &done[i - 1],
            };
            let output = &mut rest[0];
            layer.apply(&self.parameters, input, rows, output);
            if let Some(norm) = &layer.norm {
                let normalised = &mut space.norms[i];
                normalised.fill(output, layer.outputs);
                scale_and_shift(
                    &normalised.values,
                    &self.parameters[norm.scale.clone()],
                    &self.parameters[norm.shift.clone()],
                    output,
                );
            }
            let kind = self.architecture.activations[i];
            if [Activation::Gelu, Activation::Prelu].contains(&kind) {
                space.saved[i].clear();
                space.saved[i].extend_from_slice(output);
            }
            activate(kind, layer.slope(&self.parameters), output);
            let mut seen = &*output;
            if let (Some(numbers), Some(place)) = (&share.latents, &self.log_variance)
                && i + 1 == self.architecture.encoder_layers
            {
                place.apply(&self.parameters, input, rows, &mut space.log_variances);
                Drawn { means: output, log_variances: &space.log_variances, numbers }
                    .draw(&mut space.latents);
                seen = &space.latents;
            }
            if let Some(mask) = masks.and_then(|masks| masks.get(i)) {
                let dropped = &mut space.dropped[i];
                dropped.clear();
                dropped.extend(seen.iter().zip(mask).map(|(value, mask)| value * mask));
            }
        }
    }

    /// Converts the gradient by a layer's output to the gradient by the input of its activation.
    /// Also stores the gradient by the slope of PReLU.
    fn differentiate(&mut self, layer: usize, output: &[f32], saved: &[f32], gradient: &mut [f32]) {
        let place = &self.layers[layer];
        if let Some(slope) = place.slope {
            self.gradient[slope] = saved
                .iter()
                .zip(&*gradient)
                .map(|(value, gradient)| value.min(0.0) * gradient)
                .sum();
        }
        differentiate(
            self.architecture.activations[layer],
            place.slope(&self.parameters),
            output,
            saved,
            gradient,
        );
    }

    /// Computes `gradient` for the batch whose outputs are in `space`. Returns the sum over rows of
    /// weight times distance, and the batch's penalty.
    fn backward(
        &mut self,
        space: &mut Space,
        batch: Range<usize>,
        share: &MemberBatch<'_>,
    ) -> (f64, f64) {
        let rows = batch.len();
        let last = self.layers.len() - 1;
        let width = self.train.width();
        let weights: Option<Vec<f32>> = batch.map(|i| self.train.weight(share.row(i))).collect();
        // Each row's share of the batch's weight.
        let parts = || {
            (0..rows)
                .map(|row| {
                    weights.as_ref().map_or(1.0, |weights| weights[row]) / share.total as f32
                })
                .collect::<Vec<f32>>()
        };
        let penalties = self.experiment.loss.penalties();
        let encoder_layers = self.architecture.encoder_layers;
        let (mut penalty, mut contracted, mut bent) = (0.0, vec![], vec![]);
        if penalties.contractive > 0.0 {
            contracted = vec![0.0; self.parameters.len()];
            let encoder = Encoder {
                layers: &self.layers[..encoder_layers],
                kinds: &self.architecture.activations,
                parameters: &self.parameters,
                outputs: &space.outputs,
                saved: &space.saved,
            };
            (penalty, bent) = encoder.contraction(penalties.contractive, &parts(), &mut contracted);
        }
        space.above.resize(rows * width, 0.0);
        let left_out = self
            .train
            .is_masked()
            .then(|| leave_out(&space.outputs[last], &mut space.clean, width, weights.as_deref()));
        let loss = distances(
            self.experiment.loss.distance(),
            &space.outputs[last],
            if share.corruption.is_some() || left_out.is_some() {
                &space.clean
            } else {
                &space.input
            },
            &mut space.above,
            width,
            left_out.as_deref().or(weights.as_deref()),
            (1.0 / (share.total * self.experiment.loss.distance().divisor(width))) as f32,
        );
        self.differentiate(last, &space.outputs[last], &space.saved[last], &mut space.above);
        for i in (0..=last).rev() {
            let layer = &self.layers[i];
            if let Some(norm) = &layer.norm {
                let (by_scale, by_shift) =
                    self.gradient[norm.scale.start..norm.shift.end].split_at_mut(layer.outputs);
                let Normalised { values, inverse, .. } = &space.norms[i];
                normalised_slope(
                    values,
                    inverse,
                    &self.parameters[norm.scale.clone()],
                    &mut space.above,
                    by_scale,
                    by_shift,
                );
            }
            let input = match i {
                0 => &space.input,
                _ if share.masks.is_some() => &space.dropped[i - 1],
                _ if i == encoder_layers && share.latents.is_some() => &space.latents,
                _ => &space.outputs[i - 1],
            };
            if let Some(bent) = bent.get(i) {
                space.above.iter_mut().zip(bent).for_each(|(gradient, bent)| *gradient += bent);
            }
            multiply(
                Matrix::new(input, rows, layer.inputs).transposed(),
                Matrix::new(&space.above, rows, layer.outputs),
                &mut self.gradient[layer.weight.clone()],
                false,
            );
            // Batch norm cancels the bias, so its gradient is 0; the sum would be only rounding
            // error.
            if layer.norm.is_none() {
                add_rows(&space.above, &mut self.gradient[layer.bias.clone()]);
            }
            let beside = self.log_variance.as_ref().filter(|_| i + 1 == encoder_layers);
            if let Some(place) = beside {
                let by_log_variance = Matrix::new(&space.by_log_variance, rows, place.outputs);
                multiply(
                    Matrix::new(input, rows, place.inputs).transposed(),
                    by_log_variance,
                    &mut self.gradient[place.weight.clone()],
                    false,
                );
                add_rows(&space.by_log_variance, &mut self.gradient[place.bias.clone()]);
            }
            if i == 0 {
                break;
            }
            space.below.resize(rows * layer.inputs, 0.0);
            multiply(
                Matrix::new(&space.above, rows, layer.outputs),
                Matrix::new(&self.parameters[layer.weight.clone()], layer.inputs, layer.outputs)
                    .transposed(),
                &mut space.below,
                false,
            );
            if let Some(place) = beside {
                let weight = Matrix::new(
                    &self.parameters[place.weight.clone()],
                    place.inputs,
                    place.outputs,
                )
                .transposed();
                multiply(
                    Matrix::new(&space.by_log_variance, rows, place.outputs),
                    weight,
                    &mut space.below,
                    true,
                );
            }
            if let Some(mask) = share.masks.as_ref().and_then(|masks| masks.get(i - 1)) {
                space.below.iter_mut().zip(mask).for_each(|(gradient, mask)| *gradient *= mask);
            }
            if i == encoder_layers {
                let latents = &space.outputs[i - 1];
                if let Some(silence) = penalties.sparsity {
                    penalty += sparsity(silence, latents, &parts(), &mut space.below);
                }
                if let Some(numbers) = &share.latents {
                    let drawn =
                        Drawn { means: latents, log_variances: &space.log_variances, numbers };
                    penalty += drawn.divergence(
                        share.kl,
                        &parts(),
                        &mut space.below,
                        &mut space.by_log_variance,
                    );
                }
            }
            let activity = self.experiment.loss.activity_l2;
            if i == 1 && activity > 0.0 {
                let factor = (2.0 * activity / rows as f64) as f32;
                space
                    .below
                    .iter_mut()
                    .zip(&space.outputs[0])
                    .for_each(|(gradient, value)| *gradient += factor * value);
            }
            self.differentiate(i - 1, &space.outputs[i - 1], &space.saved[i - 1], &mut space.below);
            std::mem::swap(&mut space.above, &mut space.below);
        }
        self.gradient
            .iter_mut()
            .zip(&contracted)
            .for_each(|(gradient, contracted)| *gradient += contracted);
        (loss, penalty)
    }

    /// Updates the running statistics with the batch whose outputs are in `space`.
    fn update_running_stats(&mut self, space: &Space, rows: usize) {
        if rows < 2 {
            return;
        }
        let fresh = MOMENTUM as f32;
        let unbiased = (rows as f64 / (rows as f64 - 1.0)) as f32;
        for (layer, batch) in self.layers.iter().zip(&space.norms) {
            let Some(norm) = &layer.norm else { continue };
            for (range, values, factor) in
                [(&norm.mean, &batch.mean, 1.0), (&norm.variance, &batch.variance, unbiased)]
            {
                let running = &mut self.statistics[range.clone()];
                running.iter_mut().zip(values).for_each(|(running, value)| {
                    *running = (1.0 - fresh) * *running + fresh * (factor * value)
                });
            }
        }
    }

    fn update(&mut self, rate: f64) {
        self.steps += 1;
        if self.experiment.loss.l2 > 0.0 {
            let factor = (2.0 * self.experiment.loss.l2) as f32;
            for layer in self.layers.iter().chain(&self.log_variance) {
                let range = layer.weight.clone();
                self.gradient[range.clone()]
                    .iter_mut()
                    .zip(&self.parameters[range])
                    .for_each(|(gradient, weight)| *gradient += factor * weight);
            }
        }
        if let Some(limit) = self.experiment.train.gradient_clip {
            let norm =
                self.gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            if norm > limit {
                let factor = (limit / norm) as f32;
                self.gradient.iter_mut().for_each(|value| *value *= factor);
            }
        }
        let rule = self.experiment.update_rule();
        let [rate, momentum, fresh1, fresh2, epsilon, keep] =
            numbers(rule, self.steps, rate).map(|number| number as f32);
        match rule {
            UpdateRule::Adam { .. } => {
                let numbers = AdamNumbers { fresh1, fresh2, epsilon, rate, keep };
                adam(
                    &mut self.parameters,
                    &self.gradient,
                    &mut self.first,
                    &mut self.second,
                    numbers,
                );
            }
            UpdateRule::Sgd { .. } => {
                for ((parameter, gradient), velocity) in
                    self.parameters.iter_mut().zip(&self.gradient).zip(&mut self.first)
                {
                    *velocity = momentum * *velocity + gradient;
                    *parameter -= rate * *velocity;
                }
            }
            UpdateRule::Adadelta { .. } => {
                adadelta(
                    &mut self.parameters,
                    &self.gradient,
                    &mut self.first,
                    &mut self.second,
                    fresh2,
                    epsilon,
                    rate,
                );
            }
            UpdateRule::RmsProp { .. } => {
                for ((parameter, gradient), second) in
                    self.parameters.iter_mut().zip(&self.gradient).zip(&mut self.second)
                {
                    *second += fresh2 * (gradient * gradient - *second);
                    *parameter -= rate * (gradient / (second.sqrt() + epsilon));
                }
            }
        }
    }
}

impl Member for Fused<'_> {
    fn sums(&mut self) -> &mut Sums {
        &mut self.sums
    }

    fn is_diverged(&self) -> bool {
        !self.sums.loss.is_finite()
    }

    fn step(&mut self, batch: Range<usize>, share: &MemberBatch<'_>) {
        if share.total <= 0.0 {
            return;
        }
        let mut space = std::mem::take(&mut self.space);
        let rows = batch.len();
        space.input.clear();
        for i in batch.clone() {
            self.train.extend(share.row(i), &mut space.input);
        }
        if self.train.is_masked() {
            space.clean.clear();
            batch.clone().for_each(|i| self.train.extend_known(share.row(i), &mut space.clean));
        } else if share.corruption.is_some() {
            space.clean.clone_from(&space.input);
        }
        if let Some(Corruption { added, kept }) = &share.corruption {
            space
                .input
                .iter_mut()
                .zip(added)
                .zip(kept)
                .for_each(|((input, added), kept)| *input = (*input + added) * kept);
        }
        self.forward(&mut space, rows, share);
        self.update_running_stats(&space, rows);
        let (loss, penalty) = self.backward(&mut space, batch, share);
        self.sums.loss += loss * rows as f64 / share.total;
        self.sums.penalty += penalty * rows as f64;
        self.update(share.rate);
        self.space = space;
    }

    fn valid_loss_sum(&self) -> f64 {
        let Some(valid) = self.valid else { return 0.0 };
        let (plain, folded) = (self.architecture.plain(), self.architecture.fold(&self.weights()));
        let (mut output, mut gradient) = (vec![], vec![]);
        let mut sum = 0.0;
        let step = scoring_rows(valid.width()).min(512);
        for start in (0..valid.len()).step_by(step) {
            let range = start..(start + step).min(valid.len());
            let input = valid.copy(range.clone());
            output.clear();
            host::run(&plain, &folded, 0..plain.layers(), &input, &mut output);
            gradient.resize(output.len(), 0.0);
            let mut weights: Option<Vec<f32>> = range.clone().map(|i| valid.weight(i)).collect();
            let mut target = input;
            if valid.is_masked() {
                target = valid.copy_known(range);
                weights = Some(leave_out(&output, &mut target, valid.width(), weights.as_deref()));
            }
            sum += distances(
                self.experiment.loss.distance(),
                &output,
                &target,
                &mut gradient,
                valid.width(),
                weights.as_deref(),
                0.0,
            );
        }
        sum
    }

    fn weights(&self) -> Vec<f32> {
        [self.parameters.as_slice(), &self.statistics].concat()
    }

    fn optimizer_state(&self) -> OptimizerState {
        let (parameters, statistics) = (self.parameters.clone(), self.statistics.clone());
        OptimizerState {
            steps: self.steps,
            parameters,
            statistics,
            first: self.first.clone(),
            second: self.second.clone(),
        }
    }

    fn restore(&mut self, moments: &OptimizerState, sums: Sums) {
        let OptimizerState { steps, parameters, statistics, first, second } = moments.clone();
        (self.steps, self.parameters, self.statistics) = (steps, parameters, statistics);
        (self.first, self.second, self.sums) = (first, second, sums);
    }
}
