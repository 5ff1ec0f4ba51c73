//! Penalties on latents and their gradients, hand-written on flat buffers, for [`super::cpu`]. Sums
//! over rows weight each row by its `share` of the batch's weight.

use super::elementwise::differentiate;
use crate::{
    config::{SparsityPenalty, model::Activation},
    model::{
        architecture::LayerPlace,
        host::SELU,
        matrix::{Matrix, multiply},
    },
    train::loss::EDGE,
};

/// The sparsity penalty. Adds its gradient by the latents, `[rows, latent]`, to `gradient`.
pub(super) fn sparsity(
    penalty: SparsityPenalty,
    latents: &[f32],
    share: &[f32],
    gradient: &mut [f32],
) -> f64 {
    let width = latents.len() / share.len();
    let rows = || latents.chunks_exact(width).zip(share);
    match penalty {
        SparsityPenalty::L1 { weight } => {
            for ((latents, share), gradient) in rows().zip(gradient.chunks_exact_mut(width)) {
                let factor = weight as f32 * share;
                let sign = |value: f32| if value == 0.0 { 0.0 } else { value.signum() };
                gradient
                    .iter_mut()
                    .zip(latents)
                    .for_each(|(gradient, latent)| *gradient += factor * sign(*latent));
            }
            weight
                * rows()
                    .map(|(latents, share)| {
                        f64::from(*share)
                            * latents.iter().map(|latent| f64::from(latent.abs())).sum::<f64>()
                    })
                    .sum::<f64>()
        }
        SparsityPenalty::Kl { weight, target } => {
            let mut means = vec![0.0_f64; width];
            for (latents, share) in rows() {
                means
                    .iter_mut()
                    .zip(latents)
                    .for_each(|(mean, latent)| *mean += f64::from(share * latent));
            }
            let held: Vec<f64> = means.iter().map(|mean| mean.clamp(EDGE, 1.0 - EDGE)).collect();
            let slope = |(mean, held): (&f64, &f64)| {
                if mean == held {
                    weight * ((1.0 - target) / (1.0 - held) - target / held)
                } else {
                    0.0
                }
            };
            let slopes: Vec<f32> = means.iter().zip(&held).map(|pair| slope(pair) as f32).collect();
            for (share, gradient) in share.iter().zip(gradient.chunks_exact_mut(width)) {
                gradient
                    .iter_mut()
                    .zip(&slopes)
                    .for_each(|(gradient, slope)| *gradient += slope * share);
            }
            weight
                * held
                    .iter()
                    .map(|mean| {
                        target * (target / mean).ln()
                            + (1.0 - target) * ((1.0 - target) / (1.0 - mean)).ln()
                    })
                    .sum::<f64>()
        }
    }
}

/// Sampled latents, each `[rows, latent]`.
pub(super) struct Drawn<'a> {
    pub(super) means: &'a [f32],
    pub(super) log_variances: &'a [f32],
    /// Standard normal noise of the samples.
    pub(super) numbers: &'a [f32],
}

impl Drawn<'_> {
    /// The latents.
    pub(super) fn draw(&self, latents: &mut Vec<f32>) {
        latents.clear();
        let each = self.means.iter().zip(self.log_variances).zip(self.numbers);
        latents.extend(
            each.map(|((mean, log_variance), number)| mean + (0.5 * log_variance).exp() * number),
        );
    }

    /// Returns `weight` times the divergence of the latents from the standard normal distribution.
    /// Converts the gradient by the latents to that by their means and stores that by their log
    /// variances, both including the divergence.
    pub(super) fn divergence(
        &self,
        weight: f64,
        share: &[f32],
        gradient: &mut [f32],
        by_log_variance: &mut Vec<f32>,
    ) -> f64 {
        let width = self.means.len() / share.len();
        by_log_variance.clear();
        let mut sum = 0.0;
        for (at, gradient) in gradient.iter_mut().enumerate() {
            let (mean, log_variance, factor) =
                (self.means[at], self.log_variances[at], weight as f32 * share[at / width]);
            let spread = (0.5 * log_variance).exp();
            by_log_variance.push(
                0.5 * (*gradient * self.numbers[at] * spread + factor * (spread * spread - 1.0)),
            );
            *gradient += factor * mean;
            sum += f64::from(factor)
                * 0.5
                * f64::from(mean * mean + spread * spread - 1.0 - log_variance);
        }
        sum
    }
}

/// An encoder after the forward pass of a batch.
pub(super) struct Encoder<'a> {
    pub(super) layers: &'a [LayerPlace],
    pub(super) kinds: &'a [Activation],
    pub(super) parameters: &'a [f32],
    /// Each layer's output, `[rows, out]`.
    pub(super) outputs: &'a [Vec<f32>],
    /// The inputs of an activation, if its derivative needs them.
    pub(super) saved: &'a [Vec<f32>],
}

impl Encoder<'_> {
    /// The squared Frobenius norm of the Jacobian of each row's latents with respect to its inputs,
    /// times `weight`. Adds its gradient by the parameters to `gradient`. Also returns its gradient
    /// by the inputs of each activation, `[rows, out]`.
    pub(super) fn contraction(
        &self,
        weight: f64,
        share: &[f32],
        gradient: &mut [f32],
    ) -> (f64, Vec<Vec<f32>>) {
        let (rows, last) = (share.len(), self.layers.len() - 1);
        let latent = self.layers[last].outputs;
        let matrix = |layer: &LayerPlace| {
            Matrix::new(&self.parameters[layer.weight.clone()], layer.inputs, layer.outputs)
        };
        let slopes: Vec<Vec<f32>> = (0..=last).map(|at| self.slopes(at)).collect();
        // Derivatives of the latents by the output of each layer and by the input of its
        // activation, `[rows · latent, out]`, from the last layer to the first.
        let identity: Vec<f32> = (0..rows * latent * latent)
            .map(|at| f32::from(u8::from(at % latent == at / latent % latent)))
            .collect();
        let (mut by_output, mut by_linear) = (vec![vec![]; last + 1], vec![vec![]; last + 1]);
        let mut derivative = identity;
        for (at, layer) in self.layers.iter().enumerate().rev() {
            by_linear[at] = times_rows(&derivative, &slopes[at], layer.outputs, latent);
            by_output[at] = std::mem::take(&mut derivative);
            derivative = vec![0.0; rows * latent * layer.inputs];
            multiply(
                Matrix::new(&by_linear[at], rows * latent, layer.outputs),
                matrix(layer).transposed(),
                &mut derivative,
                false,
            );
        }
        let mut sum = 0.0;
        for (of_row, share) in
            derivative.chunks_exact_mut(latent * self.layers[0].inputs).zip(share)
        {
            sum += f64::from(*share)
                * weight
                * of_row.iter().map(|value| f64::from(value * value)).sum::<f64>();
            of_row.iter_mut().for_each(|value| *value *= 2.0 * weight as f32 * share);
        }
        // Backward: `derivative` is now the gradient of the sum by the former `derivative`.
        let mut bent = vec![];
        for (at, layer) in self.layers.iter().enumerate() {
            let columns = layer.outputs;
            let used = Matrix::new(&by_linear[at], rows * latent, columns);
            multiply(
                Matrix::new(&derivative, rows * latent, layer.inputs).transposed(),
                used,
                &mut gradient[layer.weight.clone()],
                true,
            );
            let mut by_used = vec![0.0; rows * latent * columns];
            multiply(
                Matrix::new(&derivative, rows * latent, layer.inputs),
                matrix(layer),
                &mut by_used,
                false,
            );
            let mut by_slope = vec![0.0; rows * columns];
            for (row, by_slope) in by_slope.chunks_exact_mut(columns).enumerate() {
                let own = row * latent * columns..(row + 1) * latent * columns;
                for (by_used, by_output) in by_used[own.clone()]
                    .chunks_exact(columns)
                    .zip(by_output[at][own].chunks_exact(columns))
                {
                    by_slope
                        .iter_mut()
                        .zip(by_used)
                        .zip(by_output)
                        .for_each(|((sum, used), output)| *sum += used * output);
                }
            }
            derivative = times_rows(&by_used, &slopes[at], columns, latent);
            if let Some(slope) = layer.slope {
                gradient[slope] += by_slope
                    .iter()
                    .zip(&self.saved[at])
                    .filter(|(_, value)| **value <= 0.0)
                    .map(|(by_slope, _)| by_slope)
                    .sum::<f32>();
            }
            by_slope
                .iter_mut()
                .enumerate()
                .for_each(|(i, value)| *value *= self.second_derivative(at, i));
            bent.push(by_slope);
        }
        (sum, bent)
    }

    /// The derivative of a layer's activation, `[rows, out]`.
    fn slopes(&self, at: usize) -> Vec<f32> {
        let mut slopes = vec![1.0; self.outputs[at].len()];
        differentiate(
            self.kinds[at],
            self.layers[at].slope(self.parameters),
            &self.outputs[at],
            &self.saved[at],
            &mut slopes,
        );
        slopes
    }

    /// The second derivative of a layer's activation at one of its values.
    fn second_derivative(&self, at: usize, i: usize) -> f32 {
        let a = self.outputs[at][i];
        match self.kinds[at] {
            Activation::Linear | Activation::Relu | Activation::LeakyRelu | Activation::Prelu => {
                0.0
            }
            // Below 0 they equal their own derivatives up to a constant.
            Activation::Elu | Activation::Selu if a >= 0.0 => 0.0,
            Activation::Elu => a + 1.0,
            Activation::Selu => a + SELU.0 * SELU.1,
            Activation::Gelu => {
                let x = self.saved[at][i];
                (-0.5 * x * x).exp() * 0.398_942_3 * (2.0 - x * x)
            }
            Activation::Tanh => -2.0 * a * (1.0 - a * a),
            Activation::Sigmoid => a * (1.0 - a) * (1.0 - 2.0 * a),
        }
    }
}

/// Multiplies each row of `factors`, `[rows, columns]`, with the `latent` rows of `values` that
/// belong to it.
fn times_rows(values: &[f32], factors: &[f32], columns: usize, latent: usize) -> Vec<f32> {
    let mut product = Vec::with_capacity(values.len());
    for (values, factors) in
        values.chunks_exact(latent * columns).zip(factors.chunks_exact(columns))
    {
        values.chunks_exact(columns).for_each(|values| {
            product.extend(values.iter().zip(factors).map(|(value, factor)| value * factor))
        });
    }
    product
}

#[cfg(test)]
mod tests;
