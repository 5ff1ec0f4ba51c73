//! Training on the CPU without an autodiff graph: forward, backward and update by hand on flat buffers.
//!
//! These networks are so small that a framework's bookkeeping costs more than their arithmetic. Here a step is seven matrix
//! products per pair of layers (the `gemm` crate) and a few vectorised passes over memory that stays in the cache. The
//! arithmetic is that of the reference path ([`super::reference`]), and tests hold the two together.

use super::{Batch, Rows, Trainer};
use crate::{
    config::{
        Experiment, Loss, Optimizer,
        raw::{Activation, EpsilonPlacement},
    },
    error::Result,
    model::Architecture,
};
use gemm::Parallelism;
use pulp::{Arch, NullaryFnOnce};
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
    /// Mean gradient (Adam) or last step (momentum), `[parameters]`.
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
    /// From flat weights `[parameters]`.
    pub fn new(experiment: &'a Experiment, architecture: &'a Architecture, start: &[f32], train: Rows<'a>, valid: Option<Rows<'a>>) -> Self {
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
        let width = self.train.width;
        let weights: Option<Vec<f32>> = self.train.weights.map(|weights| batch.rows.clone().map(|i| weights[self.row(i)]).collect());
        space.above.resize(rows * width, 0.0);
        let loss = distances(
            self.experiment.loss,
            &space.outputs[last],
            &space.input,
            &mut space.above,
            width,
            weights.as_deref(),
            (1.0 / (batch.total * width as f64)) as f32,
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
            space.input.extend_from_slice(self.train.row(self.row(i)));
        }
        self.forward(&mut space, rows, batch.masks);
        self.loss_sum += self.backward(&mut space, rows, &batch);
        self.update(rate);
        self.space = space;
    }

    fn loss_sum(&self) -> Result<f64> {
        Ok(self.loss_sum)
    }

    fn valid_loss_sum(&self) -> Result<f64> {
        let Some(valid) = self.valid else { return Ok(0.0) };
        let mut space = Space::default();
        let mut sum = 0.0;
        for start in (0..valid.len()).step_by(512) {
            let range = start..(start + 512).min(valid.len());
            space.input.clear();
            space.input.extend_from_slice(&valid.values[range.start * valid.width..range.end * valid.width]);
            self.forward(&mut space, range.len(), None);
            let output = &space.outputs[self.layers.len() - 1];
            space.above.resize(output.len(), 0.0);
            let weights = valid.weights.map(|weights| &weights[range]);
            sum += distances(self.experiment.loss, output, &space.input, &mut space.above, valid.width, weights, 0.0);
        }
        Ok(sum)
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

/// A function whose body is compiled for the vector units of several generations of processors, chosen at run time.
macro_rules! vectorised {
    ($(#[$doc:meta])* fn $name:ident<$life:lifetime>($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        fn $name<$life>($($argument: $type),*) {
            struct Body<$life> { $($argument: $type),* }
            impl NullaryFnOnce for Body<'_> {
                type Output = ();
                #[inline(always)]
                fn call(self) {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            Arch::new().dispatch(Body { $($argument),* });
        }
    };
}

#[derive(Clone, Copy)]
struct AdamNumbers {
    beta1: f32,
    fresh1: f32,
    beta2: f32,
    fresh2: f32,
    epsilon: f32,
    rate: f32,
    keep: f32,
}

/// Below this a mean gradient moves nothing, but as a denormal number it would slow the processor down tenfold.
const TINY: f32 = 1e-30;

vectorised! {
    fn adam<'a>(parameters: &'a mut [f32], gradient: &'a [f32], first: &'a mut [f32], second: &'a mut [f32], numbers: AdamNumbers) {
        let n = parameters.len();
        let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
        for i in 0..n {
            let g = gradient[i];
            let m = numbers.beta1 * first[i] + numbers.fresh1 * g;
            let v = numbers.beta2 * second[i] + numbers.fresh2 * (g * g);
            first[i] = if m.abs() < TINY { 0.0 } else { m };
            second[i] = if v < TINY { 0.0 } else { v };
            parameters[i] = parameters[i] * numbers.keep - numbers.rate * (m / (v.sqrt() + numbers.epsilon));
        }
    }
}

vectorised! {
    /// Adds the rows of `values` up to `sum`.
    fn add_rows<'a>(values: &'a [f32], sum: &'a mut [f32]) {
        sum.fill(0.0);
        for row in values.chunks_exact(sum.len()) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}

/// eˣ to about 2e-7 relative: 2ⁿ · 2ᶠ with |f| ≤ ½ and the Taylor series of eʸ, y = f ln 2, to the seventh power.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to a whole number
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the difference keeps its digits.
    let y = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let series =
        1.0 + y * (1.0 + y * (0.5 + y * (0.166_666_67 + y * (0.041_666_668 + y * (0.008_333_334 + y * (0.001_388_889 + y * 0.000_198_412_7))))));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    series * power
}

vectorised! {
    fn sigmoid<'a>(values: &'a mut [f32]) {
        for value in values {
            *value = 1.0 / (1.0 + exp(-*value));
        }
    }
}

vectorised! {
    fn sigmoid_slope<'a>(output: &'a [f32], gradient: &'a mut [f32]) {
        for (gradient, a) in gradient.iter_mut().zip(output) {
            *gradient *= a * (1.0 - a);
        }
    }
}

vectorised! {
    fn relu<'a>(values: &'a mut [f32]) {
        for value in values {
            // Not max(x, 0), which would hide that a training diverges: it takes NaN for 0.
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
    }
}

vectorised! {
    fn relu_slope<'a>(output: &'a [f32], gradient: &'a mut [f32]) {
        for (gradient, a) in gradient.iter_mut().zip(output) {
            *gradient = if *a > 0.0 { *gradient } else { 0.0 };
        }
    }
}

vectorised! {
    fn tanh<'a>(values: &'a mut [f32]) {
        for value in values {
            // tanh x = 1 − 2 / (e²ˣ + 1); near 0, where that loses digits, its Taylor series.
            let x = *value;
            let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
            let square = x * x;
            let near = x * (1.0 + square * (-0.333_333_34 + square * (0.133_333_34 + square * (-0.053_968_254 + square * 0.021_869_488))));
            *value = if x.abs() < 0.25 { near } else { far };
        }
    }
}

const SELU: (f32, f32) = (1.050_701, 1.673_263_2);

/// The activation in place.
fn activate(kind: Activation, values: &mut [f32]) {
    let each = |values: &mut [f32], f: fn(f32) -> f32| values.iter_mut().for_each(|value| *value = f(*value));
    match kind {
        Activation::Linear => {}
        Activation::Relu => relu(values),
        Activation::LeakyRelu => each(values, |x| if x >= 0.0 { x } else { 0.01 * x }),
        Activation::Elu => each(values, |x| if x >= 0.0 { x } else { x.exp_m1() }),
        Activation::Selu => each(values, |x| SELU.0 * if x >= 0.0 { x } else { SELU.1 * x.exp_m1() }),
        Activation::Gelu => each(values, |x| x * normal_cdf(x)),
        Activation::Tanh => tanh(values),
        Activation::Sigmoid => sigmoid(values),
    }
}

/// Multiplies the gradient by the activation's derivative, told from its output, or from what was saved of its input.
fn differentiate(kind: Activation, output: &[f32], saved: &[f32], gradient: &mut [f32]) {
    fn each(values: &[f32], gradient: &mut [f32], slope: impl Fn(f32) -> f32) {
        gradient.iter_mut().zip(values).for_each(|(gradient, value)| *gradient *= slope(*value));
    }
    match kind {
        Activation::Linear => {}
        Activation::Relu => relu_slope(output, gradient),
        Activation::LeakyRelu => each(output, gradient, |a| if a >= 0.0 { 1.0 } else { 0.01 }),
        Activation::Elu => each(output, gradient, |a| if a >= 0.0 { 1.0 } else { a + 1.0 }),
        Activation::Selu => each(output, gradient, |a| if a >= 0.0 { SELU.0 } else { a + SELU.0 * SELU.1 }),
        Activation::Gelu => each(saved, gradient, |x| normal_cdf(x) + x * (-0.5 * x * x).exp() * 0.398_942_3),
        Activation::Tanh => each(output, gradient, |a| 1.0 - a * a),
        Activation::Sigmoid => sigmoid_slope(output, gradient),
    }
}

/// Φ(x), from the complementary error function by Numerical Recipes' Chebyshev fit (1.2e-7 relative).
fn normal_cdf(x: f32) -> f32 {
    let z = f64::from(x) / std::f64::consts::SQRT_2;
    let t = 2.0 / (2.0 + z.abs());
    let polynomial = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let sum = polynomial.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let erfc = t * (-z * z + sum).exp();
    let above = 0.5 * erfc;
    (if z > 0.0 { 1.0 - above } else { above }) as f32
}

/// Writes the gradient of the loss by each output and returns the sum over rows of weight times mean distance. `scale` is
/// one over (total weight · features).
fn distances(loss: Loss, output: &[f32], target: &[f32], gradient: &mut [f32], width: usize, weights: Option<&[f32]>, scale: f32) -> f64 {
    let mut sum = 0.0;
    for (i, ((output, target), gradient)) in
        output.chunks_exact(width).zip(target.chunks_exact(width)).zip(gradient.chunks_exact_mut(width)).enumerate()
    {
        let weight = weights.map_or(1.0, |weights| weights[i]);
        let factor = weight * scale;
        let mut row = 0.0;
        match loss {
            Loss::Mse => squares(output, target, gradient, factor, &mut row),
            Loss::Mae => {
                for ((output, target), gradient) in output.iter().zip(target).zip(gradient) {
                    let difference = output - target;
                    row += difference.abs();
                    *gradient = if difference == 0.0 { 0.0 } else { factor * difference.signum() };
                }
            }
            Loss::SmoothL1 { beta } => {
                let beta = beta as f32;
                for ((output, target), gradient) in output.iter().zip(target).zip(gradient) {
                    let difference = output - target;
                    let distance = difference.abs();
                    row += if distance < beta { 0.5 * difference * difference / beta } else { distance - 0.5 * beta };
                    *gradient = factor * (difference / beta).clamp(-1.0, 1.0);
                }
            }
        }
        sum += f64::from(weight) * f64::from(row) / width as f64;
    }
    sum
}

vectorised! {
    fn squares<'a>(output: &'a [f32], target: &'a [f32], gradient: &'a mut [f32], factor: f32, sum: &'a mut f32) {
        let n = gradient.len();
        let (output, target) = (&output[..n], &target[..n]);
        for i in 0..n {
            gradient[i] = output[i] - target[i];
        }
        // Sixteen sums side by side, which vector units can keep.
        let mut lanes = [0.0_f32; 16];
        let (chunks, rest) = gradient.as_chunks::<16>();
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += value * value;
            }
        }
        *sum = lanes.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>();
        gradient.iter_mut().for_each(|value| *value *= 2.0 * factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_exponential_is_exact_to_a_few_units_in_the_last_place() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let relative = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(relative.abs() < 3e-7, "{x}: {relative:e}");
        }
        assert!(exp(-1000.0) < 1e-37 && exp(1000.0).is_finite());
    }

    #[test]
    fn activations_are_near_their_definitions() {
        let definition = |kind: Activation, x: f64| match kind {
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu => {
                if x < 0.0 {
                    0.01 * x
                } else {
                    x
                }
            }
            Activation::Elu => {
                if x < 0.0 {
                    x.exp() - 1.0
                } else {
                    x
                }
            }
            Activation::Selu => 1.050_700_987_355_480_5 * if x < 0.0 { 1.673_263_242_354_377_2 * (x.exp() - 1.0) } else { x },
            Activation::Gelu => x * 0.5 * (1.0 + if x < 0.0 { -1.0 } else { 1.0 } * erf(x.abs() / std::f64::consts::SQRT_2)),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Linear => x,
        };
        for kind in ALL {
            for i in -1000..1000 {
                let x = i as f32 / 100.0;
                let mut value = [x];
                activate(kind, &mut value);
                let wanted = definition(kind, f64::from(x));
                assert!((f64::from(value[0]) - wanted).abs() < 4e-7 * (1.0 + wanted.abs()), "{kind} {x}: {} {wanted}", value[0]);
            }
        }
    }

    /// The error function by its series, for the test alone.
    fn erf(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        if x > 4.0 { 1.0 } else { sum * 2.0 / std::f64::consts::PI.sqrt() }
    }

    const ALL: [Activation; 8] = [
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Elu,
        Activation::Selu,
        Activation::Gelu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Linear,
    ];

    #[test]
    fn derivatives_are_the_slopes_of_the_activations() {
        for kind in ALL {
            for x in [-3.1_f32, -0.7, -0.2, 0.3, 1.9] {
                let at = |x: f32| {
                    let mut value = [x];
                    activate(kind, &mut value);
                    value[0]
                };
                let slope = (f64::from(at(x + 1e-2)) - f64::from(at(x - 1e-2))) / 2e-2;
                let mut gradient = [1.0];
                differentiate(kind, &[at(x)], &[x], &mut gradient);
                assert!((f64::from(gradient[0]) - slope).abs() < 2e-4, "{kind} {x}: {} {slope}", gradient[0]);
            }
        }
    }

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
