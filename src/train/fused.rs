//! Training on the CPU without an autodiff graph: forward, backward and update by hand on flat buffers.
//!
//! These networks are so small that a framework's bookkeeping costs more than their arithmetic. Here a step is seven matrix
//! products per pair of layers (the `gemm` crate) and a few vectorised passes over memory that stays in the cache. The
//! arithmetic is that of the reference path ([`super::reference`]), and tests hold the two together.

use super::{
    Batch, Job, Moments, Share, Trainer,
    elementwise::{AdamNumbers, adadelta, adam, add_rows, differentiate, distances},
    fit::retain,
    reference::scoring_rows,
};
use crate::{
    config::{
        Experiment, Optimizer,
        raw::{Activation, EpsilonPlacement},
    },
    error::Result,
    model::{
        Architecture,
        host::{LayerPlace, Matrix, activate, multiply},
    },
    prepare::Rows,
};
use std::ops::Range;

/// One model in training.
pub struct Fused<'a> {
    architecture: &'a Architecture,
    experiment: &'a Experiment,
    layers: Vec<LayerPlace>,
    train: Rows<'a>,
    valid: Option<Rows<'a>>,
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
        Self {
            architecture,
            experiment,
            layers: LayerPlace::all(architecture),
            train,
            valid,
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
            layer.apply(&self.parameters, input, rows, output);
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
    fn backward(&mut self, space: &mut Space, batch: Range<usize>, share: &Share<'_>) -> f64 {
        let rows = batch.len();
        let last = self.layers.len() - 1;
        let width = self.train.width();
        let weights: Option<Vec<f32>> = batch.map(|i| self.train.weight(share.row(i))).collect();
        space.above.resize(rows * width, 0.0);
        let loss = distances(
            self.experiment.loss,
            &space.outputs[last],
            &space.input,
            &mut space.above,
            width,
            weights.as_deref(),
            (1.0 / (share.total * self.experiment.loss.divisor(width))) as f32,
        );
        differentiate(self.architecture.activations[last], &space.outputs[last], &space.saved[last], &mut space.above);
        for i in (0..=last).rev() {
            let layer = &self.layers[i];
            let input = match i {
                0 => &space.input,
                _ if share.masks.is_some() => &space.dropped[i - 1],
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
            if let Some(mask) = share.masks.as_ref().and_then(|masks| masks.get(i - 1)) {
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
                    fresh1: (1.0 - beta1) as f32,
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
                let (fresh, epsilon, rate) = ((1.0 - rho) as f32, epsilon as f32, rate as f32);
                adadelta(&mut self.parameters, &self.gradient, &mut self.first, &mut self.second, fresh, epsilon, rate);
            }
            Optimizer::RmsProp { rho, epsilon } => {
                let (fresh, epsilon, rate) = ((1.0 - rho) as f32, epsilon as f32, rate as f32);
                for ((parameter, gradient), second) in self.parameters.iter_mut().zip(&self.gradient).zip(&mut self.second) {
                    *second += fresh * (gradient * gradient - *second);
                    *parameter -= rate * (gradient / (second.sqrt() + epsilon));
                }
            }
        }
    }
}

impl Fused<'_> {
    fn step(&mut self, batch: Range<usize>, share: &Share<'_>) {
        if share.total <= 0.0 {
            return;
        }
        let mut space = std::mem::take(&mut self.space);
        let rows = batch.len();
        space.input.clear();
        for i in batch.clone() {
            self.train.extend(share.row(i), &mut space.input);
        }
        self.forward(&mut space, rows, share.masks.as_deref());
        self.loss_sum += self.backward(&mut space, batch, share) * rows as f64 / share.total;
        self.update(share.rate);
        self.space = space;
    }

    fn valid_loss_sum(&self) -> f64 {
        let Some(valid) = self.valid else { return 0.0 };
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
        sum
    }

    fn moments(&self) -> Moments {
        Moments { steps: self.steps, parameters: self.parameters.clone(), first: self.first.clone(), second: self.second.clone() }
    }

    fn restore(&mut self, moments: &Moments, loss_sum: f64) {
        let Moments { steps, parameters, first, second } = moments.clone();
        (self.steps, self.parameters, self.first, self.second, self.loss_sum) = (steps, parameters, first, second, loss_sum);
    }
}

/// Members take their steps one after the other: what each computes is the same as alone.
impl Trainer for Vec<Fused<'_>> {
    fn start_epoch(&mut self) {
        self.iter_mut().for_each(|member| member.loss_sum = 0.0);
    }

    fn step(&mut self, batch: Batch<'_>) -> Result<()> {
        self.iter_mut().zip(batch.members).for_each(|(member, share)| member.step(batch.rows.clone(), share));
        Ok(())
    }

    fn loss_sums(&mut self) -> Result<Vec<f64>> {
        Ok(self.iter().map(|member| member.loss_sum).collect())
    }

    fn diverged(&self) -> Vec<usize> {
        (0..self.len()).filter(|&at| !self[at].loss_sum.is_finite()).collect()
    }

    fn valid_loss_sums(&mut self) -> Result<Vec<f64>> {
        Ok(self.iter().map(Fused::valid_loss_sum).collect())
    }

    fn moments(&mut self) -> Result<Vec<Moments>> {
        Ok(self.iter().map(Fused::moments).collect())
    }

    fn restore(&mut self, moments: &[&Moments], loss_sums: &[f64]) {
        self.iter_mut().zip(moments.iter().zip(loss_sums)).for_each(|(member, (moments, sum))| member.restore(moments, *sum));
    }

    fn weights(&mut self) -> Result<Vec<Vec<f32>>> {
        Ok(self.iter().map(|member| member.parameters.clone()).collect())
    }

    fn keep(&mut self, members: &[usize]) -> Result<()> {
        retain(self, members);
        Ok(())
    }
}
