//! Dense autoencoders on any device; all members of one [`Architecture`] are computed together.
//!
//! Weights carry a leading *members* dimension, `[members, in, out]`; a single model has one
//! member.

use super::{
    architecture::{Architecture, EPSILON, LEAK},
    host::SELU,
};
use crate::config::model::Activation;
use burn::{
    module::{Module, Param, ParamId},
    tensor::{Device, Tensor, TensorData, activation},
};
use std::ops::Range;

/// One layer of every member.
#[derive(Module, Debug)]
pub struct Layer {
    /// `[members, in, out]`
    weight: Param<Tensor<3>>,
    /// `[members, 1, out]`
    bias: Param<Tensor<3>>,
    norm: Option<Norm>,
    /// Slope of PReLU, `[members, 1, 1]`.
    slope: Option<Param<Tensor<3>>>,
}

/// Scale and shift of batch norm of every member.
#[derive(Module, Debug)]
pub struct Norm {
    /// `[members, 1, out]`
    scale: Param<Tensor<3>>,
    /// `[members, 1, out]`
    shift: Param<Tensor<3>>,
}

/// Dense autoencoders of one architecture on a device.
#[derive(Module, Debug)]
pub struct Autoencoder {
    layers: Vec<Layer>,
    /// The layer that computes the log variances of the latents.
    log_variance: Option<Layer>,
}

/// Random numbers for a batch in training. Without them there is no dropout, and latents are their
/// means.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drawn<'a> {
    /// One mask per hidden layer, `[members, rows, width]`; multiplies its output.
    pub dropout: Option<&'a [Tensor<3>]>,
    /// Standard normal noise, `[members, rows, latent]`: a latent is mean + noise · standard
    /// deviation.
    pub latents: Option<&'a Tensor<3>>,
}

/// Result of a forward pass.
pub struct Forward {
    /// The reconstruction, `[members, rows, features]`.
    pub output: Tensor<3>,
    /// The output of the first layer, `[members, rows, hidden]`.
    pub first_hidden: Tensor<3>,
    /// The output of the encoder before sampling, `[members, rows, latent]`; the means if the
    /// autoencoder is variational.
    pub latent: Tensor<3>,
    /// The log variances of the latents of a variational autoencoder, `[members, rows, latent]`.
    pub log_variance: Option<Tensor<3>>,
    /// The inputs of the encoder's activations, `[members, rows, out]`.
    pub linear: Vec<Tensor<3>>,
    /// Mean and (unbiased) variance of each layer that is normalised, in the order of the flat
    /// weights, `[members, 1, out]`.
    pub statistics: Vec<Tensor<3>>,
}

impl Autoencoder {
    /// From flat parameters, `[members, parameters]`.
    pub fn from_flat(architecture: &Architecture, flat: &Tensor<2>) -> Self {
        let members = flat.dims()[0];
        let mut start = 0;
        let mut take = |rows: usize, columns: usize| {
            let part = flat
                .clone()
                .slice([0..members, start..start + rows * columns])
                .reshape([members, rows, columns]);
            start += rows * columns;
            Param::initialized(ParamId::new(), part)
        };
        let layer = |(at, (inputs, outputs)): (usize, (usize, usize))| {
            let (weight, bias) = (take(inputs, outputs), take(1, outputs));
            let trained = at < architecture.layers();
            let norm = (trained && architecture.is_normalised(at))
                .then(|| Norm { scale: take(1, outputs), shift: take(1, outputs) });
            Layer {
                weight,
                bias,
                norm,
                slope: (trained && architecture.is_sloped(at)).then(|| take(1, 1)),
            }
        };
        let mut layers: Vec<Layer> = architecture
            .shapes()
            .chain(architecture.log_variance())
            .enumerate()
            .map(layer)
            .collect();
        let log_variance = architecture.variational.then(|| layers.pop()).flatten();
        Self { layers, log_variance }
    }

    /// From the flat parameters of one member on the host.
    pub fn from_host(architecture: &Architecture, flat: &[f32], device: &Device) -> Self {
        Self::from_flat(
            architecture,
            &Tensor::from_data(TensorData::new(flat.to_vec(), [1, flat.len()]), device),
        )
    }

    /// The parameters in the order of the flat layout, `[members, …]`.
    pub fn tensors(&self) -> Vec<Tensor<3>> {
        let of = |layer: &Layer| {
            let mut tensors = vec![layer.weight.val(), layer.bias.val()];
            tensors.extend(layer.norm.iter().flat_map(|norm| [norm.scale.val(), norm.shift.val()]));
            tensors.extend(layer.slope.iter().map(Param::val));
            tensors
        };
        self.layers.iter().chain(&self.log_variance).flat_map(of).collect()
    }

    /// The same model with every parameter a leaf whose gradient is kept.
    pub fn tracked(self) -> Self {
        let track = |param: Param<Tensor<3>>| {
            Param::initialized(param.id, param.val().autodiff().require_grad())
        };
        let norm = |norm: Norm| Norm { scale: track(norm.scale), shift: track(norm.shift) };
        let layer = |layer: Layer| Layer {
            weight: track(layer.weight),
            bias: track(layer.bias),
            norm: layer.norm.map(norm),
            slope: layer.slope.map(track),
        };
        Self {
            layers: self.layers.into_iter().map(layer).collect(),
            log_variance: self.log_variance.map(layer),
        }
    }

    /// Reconstructs `input`, `[1 or members, rows, features]`, as in training: batch norm uses the
    /// statistics of these rows.
    pub fn forward(
        &self,
        architecture: &Architecture,
        input: Tensor<3>,
        drawn: Drawn<'_>,
    ) -> Forward {
        let mut value = input;
        let (mut first_hidden, mut latent, mut log_variance) = (None, None, None);
        let (mut linear, mut statistics) = (vec![], vec![]);
        for (i, (layer, &kind)) in self.layers.iter().zip(&architecture.activations).enumerate() {
            let input = value;
            let before = layer.linear(input.clone(), &mut statistics);
            value = layer.activate(before.clone(), kind);
            if i == 0 {
                first_hidden = Some(value.clone());
            }
            if i < architecture.encoder_layers {
                linear.push(before);
            }
            if i + 1 == architecture.encoder_layers {
                latent = Some(value.clone());
                log_variance =
                    self.log_variance.as_ref().map(|layer| layer.linear(input, &mut vec![]));
                if let (Some(log_variance), Some(numbers)) = (&log_variance, drawn.latents) {
                    value = value + log_variance.clone().mul_scalar(0.5).exp() * numbers.clone();
                }
            }
            if let Some(mask) = drawn.dropout.and_then(|masks| masks.get(i)) {
                value = value * mask.clone();
            }
        }
        let [first_hidden, latent] =
            [first_hidden, latent].map(|tensor| tensor.unwrap_or_else(|| value.clone()));
        Forward { output: value, first_hidden, latent, log_variance, linear, statistics }
    }

    /// The squared Frobenius norm of the Jacobian of each row's latents with respect to its inputs,
    /// `[members, rows, 1]`, for an encoder without batch norm and dropout. `linear` are the inputs
    /// of its activations.
    pub fn contraction(&self, architecture: &Architecture, linear: &[Tensor<3>]) -> Tensor<3> {
        let latent = architecture.latent();
        let Some([members, rows, _]) = linear.last().map(Tensor::dims) else {
            unreachable!("an encoder has a layer")
        };
        let mut derivative: Option<Tensor<3>> = None;
        for ((layer, linear), &kind) in
            self.layers.iter().zip(linear).zip(&architecture.activations).rev()
        {
            let width = linear.dims()[2];
            let slope = layer.slope_at(linear.clone(), kind).reshape([members, rows, 1, width]);
            // Derivative of the latents by the inputs of this layer's activation, `width` numbers
            // for each row and latent.
            let by_linear = match derivative {
                // Each latent depends only on its own input.
                None => {
                    slope
                        * Tensor::<2>::eye(latent, &linear.device())
                            .reshape([1, 1, latent, latent])
                            .autodiff()
                }
                Some(above) => above.reshape([members, rows, latent, width]) * slope,
            };
            derivative = Some(
                by_linear
                    .reshape([members, rows * latent, width])
                    .matmul(layer.weight.val().swap_dims(1, 2)),
            );
        }
        match derivative {
            Some(derivative) => derivative
                .square()
                .reshape([members, rows, latent * architecture.widths[0]])
                .sum_dim(2),
            None => unreachable!("an encoder has a layer"),
        }
    }
}

impl Autoencoder {
    /// Computes some of the layers of a network without batch norm, `[1 or members, rows, in]` to
    /// `[members, rows, out]`, without dropout.
    pub fn run(
        &self,
        architecture: &Architecture,
        layers: Range<usize>,
        input: Tensor<3>,
    ) -> Tensor<3> {
        let kinds = &architecture.activations[layers.clone()];
        self.layers[layers].iter().zip(kinds).fold(input, |value, (layer, kind)| {
            layer.activate(layer.linear(value, &mut vec![]), *kind)
        })
    }
}

impl Layer {
    /// The input of the activation.
    fn linear(&self, value: Tensor<3>, statistics: &mut Vec<Tensor<3>>) -> Tensor<3> {
        let value = value.matmul(self.weight.val());
        let Some(norm) = &self.norm else { return value + self.bias.val() };
        // The bias is left out because subtracting the mean cancels it. Its gradient would be only
        // rounding error.
        let rows = value.dims()[1] as f64;
        let mean = value.clone().mean_dim(1);
        let centred = value - mean.clone();
        let variance = centred.clone().square().mean_dim(1);
        statistics.extend([
            mean + self.bias.val(),
            variance.clone().mul_scalar(rows / (rows - 1.0).max(1.0)),
        ]);
        centred / (variance + EPSILON).sqrt() * norm.scale.val() + norm.shift.val()
    }

    fn activate(&self, value: Tensor<3>, kind: Activation) -> Tensor<3> {
        match kind {
            Activation::Relu => activation::relu(value),
            Activation::LeakyRelu => activation::leaky_relu(value, LEAK),
            Activation::Prelu => match &self.slope {
                Some(slope) => activation::relu(value.clone()) + value.clamp_max(0.0) * slope.val(),
                None => value,
            },
            Activation::Elu => activation::elu(value, 1.0),
            Activation::Selu => activation::selu(value),
            Activation::Gelu => activation::gelu(value),
            Activation::Tanh => activation::tanh(value),
            Activation::Sigmoid => activation::sigmoid(value),
            Activation::Linear => value,
        }
    }

    /// The derivative of the activation at its input `value`; itself differentiable.
    fn slope_at(&self, value: Tensor<3>, kind: Activation) -> Tensor<3> {
        // 1 where the value is above 0, else 0; constant on both sides of the kink.
        let above = |value: &Tensor<3>| value.clone().inner().greater_elem(0.0).float().autodiff();
        let sides = |value: &Tensor<3>, below: Tensor<3>| {
            let above = above(value);
            below * (above.ones_like() - above.clone()) + above
        };
        match kind {
            Activation::Relu => above(&value),
            Activation::LeakyRelu => sides(&value, value.ones_like().mul_scalar(LEAK)),
            Activation::Prelu => match &self.slope {
                Some(slope) => sides(&value, slope.val().expand(value.dims())),
                None => value.ones_like(),
            },
            // Clamped at 0, so that the exponential does not overflow.
            Activation::Elu => sides(&value, value.clone().clamp_max(0.0).exp()),
            Activation::Selu => {
                let (scale, alpha) = (f64::from(SELU.0), f64::from(SELU.1));
                sides(&value, value.clone().clamp_max(0.0).exp().mul_scalar(alpha))
                    .mul_scalar(scale)
            }
            Activation::Gelu => {
                let density = value
                    .clone()
                    .square()
                    .mul_scalar(-0.5)
                    .exp()
                    .mul_scalar(std::f64::consts::FRAC_2_SQRT_PI / 2.0_f64.sqrt() / 2.0);
                let below = value
                    .clone()
                    .mul_scalar(std::f64::consts::FRAC_1_SQRT_2)
                    .erf()
                    .add_scalar(1.0)
                    .mul_scalar(0.5);
                below + value * density
            }
            Activation::Tanh => activation::tanh(value).square().neg().add_scalar(1.0),
            Activation::Sigmoid => {
                let output = activation::sigmoid(value);
                output.clone() - output.square()
            }
            Activation::Linear => value.ones_like(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::model::{Init, Model},
        device::tests::cpu,
        model::architecture::LayerPlace,
    };

    fn architecture() -> Architecture {
        let model = Model {
            hidden: vec![3],
            latent: 2,
            output_activation: Activation::Sigmoid,
            ..Model::default()
        };
        Architecture::new(4, &model)
    }

    #[test]
    fn members_of_a_pack_compute_as_alone() {
        let device = cpu();
        let architecture = architecture();
        let flats: Vec<Vec<f32>> =
            (0..3).map(|member| architecture.draw(Init::GlorotUniform, 1, member)).collect();
        let pack = Tensor::<2>::from_data(
            TensorData::new(flats.concat(), [3, architecture.parameters()]),
            &device,
        );
        let input = Tensor::<3>::from_data(
            TensorData::new((0..20).map(|i| i as f32 / 20.0).collect::<Vec<_>>(), [1, 5, 4]),
            &device,
        );
        let together = Autoencoder::from_flat(&architecture, &pack)
            .forward(&architecture, input.clone(), Drawn::default())
            .output;
        for (member, flat) in flats.iter().enumerate() {
            let alone = Autoencoder::from_host(&architecture, flat, &device)
                .forward(&architecture, input.clone(), Drawn::default())
                .output;
            let one = together.clone().slice([member..member + 1, 0..5, 0..4]);
            assert_eq!(
                one.into_data().try_to_vec::<f32>().unwrap(),
                alone.into_data().try_to_vec::<f32>().unwrap()
            );
        }
    }

    /// If the running statistics are those of the given rows, the plain network computes the same
    /// as the network in training.
    #[test]
    fn batch_norm_becomes_part_of_its_layer() {
        let device = cpu();
        let architecture = Architecture {
            batch_norm: true,
            ..Architecture::new(4, &Model { hidden: vec![5, 3], latent: 2, ..Model::default() })
        };
        let mut weights = architecture.draw(Init::Torch, 1, 0);
        for layer in LayerPlace::all(&architecture) {
            let norm = layer.norm.map_or(0..0, |norm| norm.scale.start..norm.shift.end);
            weights[norm]
                .iter_mut()
                .enumerate()
                .for_each(|(at, value)| *value += (at as f32).sin());
        }
        let rows: Vec<f32> = (0..28).map(|i| (0.7 * i as f32).sin()).collect();
        let input = Tensor::<3>::from_data(TensorData::new(rows.clone(), [1, 7, 4]), &device);
        let (parameters, _) = weights.split_at(architecture.parameters());
        let forward = Autoencoder::from_host(&architecture, parameters, &device).forward(
            &architecture,
            input,
            Drawn::default(),
        );
        let trained = forward.output.into_data().try_to_vec::<f32>().unwrap();
        let mut weights = parameters.to_vec();
        for (at, statistics) in forward.statistics.into_iter().enumerate() {
            // Training divides by the variance of the seven rows, not by the unbiased estimate.
            let factor = if at % 2 == 1 { 6.0 / 7.0 } else { 1.0 };
            weights.extend(
                statistics
                    .into_data()
                    .try_to_vec::<f32>()
                    .unwrap()
                    .iter()
                    .map(|value| value * factor),
            );
        }
        assert_eq!(weights.len(), architecture.parameters() + architecture.statistics());
        let (plain, folded) = (architecture.plain(), architecture.fold(&weights));
        assert_eq!(folded.len(), plain.parameters());
        let mut output = vec![];
        crate::model::host::run(&plain, &folded, 0..plain.layers(), &rows, &mut output);
        for (a, b) in output.iter().zip(&trained) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        assert_eq!(plain.fold(&folded), folded);
    }
}
