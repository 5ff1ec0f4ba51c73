//! The shape of a model and the layout of its flat weights.
//!
//! Weights carry a leading *members* dimension, `[members, in, out]`; a single model has one
//! member. On the host, and for the optimiser, the parameters of a member are one flat row. Each
//! layer contributes, in this order: the weight `[in, out]` (row-major), the bias, the scale and
//! shift of batch norm (if the layer is normalised), and the slope (if its activation is PReLU). A
//! variational autoencoder adds, after the last layer, weight and bias of the layer that computes
//! the log variances of the latents; the latent layer computes their means. The *flat weights* are
//! the parameters followed by the running mean and variance of each normalised layer, which no
//! optimiser changes.
//!
//! After training, batch norm is folded into the layers and a variational autoencoder uses the
//! latent means. The result is the [`plain`](Architecture::plain) network with
//! [`fold`](Architecture::fold)ed parameters: a chain of linear layers and activations.

use super::nmf;
use crate::{
    config::model::{Activation, Init, Model, ModelKind},
    random,
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::{iter::repeat_n, ops::Range};

/// The shape of a dense autoencoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Number of inputs, then the width of each layer; the last is the number of inputs again.
    pub widths: Vec<usize>,
    /// The activation of each layer.
    pub activations: Vec<Activation>,
    /// Number of layers of the encoder.
    pub encoder_layers: usize,
    /// Fraction of hidden values dropped in training.
    pub dropout: f64,
    /// Whether hidden layers are normalised.
    pub batch_norm: bool,
    /// Whether the latents are sampled in training: the latent layer computes their means, and a
    /// parallel layer their log variances.
    pub variational: bool,
    /// Parameters of a non-negative matrix factorisation. Its widths are those of input,
    /// coefficients and output; its flat weights are the components, `[components, inputs]`.
    pub nmf: Option<nmf::Numbers>,
}

/// Added to a variance in batch norm before the square root.
pub const EPSILON: f64 = 1e-5;
/// Weight of a batch in the running statistics.
pub const MOMENTUM: f64 = 0.1;
/// Initial slope of PReLU below 0, as in PyTorch.
const SLOPE: f32 = 0.25;
/// Slope of leaky ReLU below 0.
pub const LEAK: f64 = 0.01;
/// Names in files of the two layers that compute latent means and log variances.
const HEADS: [&str; 2] = ["latent_mean", "latent_log_variance"];

impl Architecture {
    /// The model of a config for samples of `inputs` features. The decoder mirrors the encoder.
    pub fn new(inputs: usize, model: &Model) -> Self {
        if model.kind == ModelKind::Nmf {
            let (widths, activations) =
                (vec![inputs, model.latent as usize, inputs], vec![Activation::Linear; 2]);
            let nmf = Some(nmf::Numbers::new(&model.nmf));
            return Self {
                widths,
                activations,
                encoder_layers: 1,
                dropout: 0.0,
                batch_norm: false,
                variational: false,
                nmf,
            };
        }
        let hidden: Vec<usize> = model.hidden.iter().map(|&width| width as usize).collect();
        let mut widths = vec![inputs];
        widths.extend(&hidden);
        widths.push(model.latent as usize);
        widths.extend(hidden.iter().rev());
        widths.push(inputs);
        let mut activations = vec![model.activation; widths.len() - 1];
        activations[hidden.len()] = model.latent_activation.unwrap_or(model.activation);
        activations[2 * hidden.len() + 1] = model.output_activation;
        let Model { dropout, batch_norm, variational, .. } = *model;
        Self {
            widths,
            activations,
            encoder_layers: hidden.len() + 1,
            dropout,
            batch_norm,
            variational,
            nmf: None,
        }
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.activations.len()
    }

    /// (in, out) of each layer.
    pub fn shapes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.widths.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// Whether a layer is normalised between its linear part and its activation: all but the latent
    /// layer and the output.
    pub fn is_normalised(&self, layer: usize) -> bool {
        self.batch_norm && layer + 1 != self.encoder_layers && layer + 1 != self.layers()
    }

    /// Whether the activation of a layer has a trainable slope.
    pub fn is_sloped(&self, layer: usize) -> bool {
        self.activations[layer] == Activation::Prelu
    }

    /// Name of a layer's weights in files: `encoder.0`, …, `decoder.0`, …. In a variational
    /// autoencoder the latent layer is `latent_mean`, and the index after the last layer is
    /// `latent_log_variance`.
    pub fn layer_name(&self, layer: usize) -> String {
        match layer.checked_sub(self.encoder_layers) {
            None if self.variational && layer + 1 == self.encoder_layers => HEADS[0].into(),
            None => format!("encoder.{layer}"),
            Some(_) if layer == self.layers() => HEADS[1].into(),
            Some(layer) => format!("decoder.{layer}"),
        }
    }

    /// (in, out) of the layer that computes the log variances of the latents; `None` if the model
    /// is not variational.
    pub fn log_variance(&self) -> Option<(usize, usize)> {
        self.variational.then(|| (self.widths[self.encoder_layers - 1], self.latent()))
    }

    /// Number of trainable parameters of one member: weights, biases, scales and shifts of batch
    /// norm, and slopes.
    pub fn parameters(&self) -> usize {
        if self.nmf.is_some() {
            return self.latent() * self.widths[0];
        }
        let linear = self
            .shapes()
            .chain(self.log_variance())
            .map(|(inputs, outputs)| inputs * outputs + outputs)
            .sum::<usize>();
        linear
            + self.statistics()
            + (0..self.layers()).filter(|&layer| self.is_sloped(layer)).count()
    }

    /// Number of running means and variances of one member; equals the number of scales and shifts.
    pub fn statistics(&self) -> usize {
        (0..self.layers())
            .filter(|&layer| self.is_normalised(layer))
            .map(|layer| 2 * self.widths[layer + 1])
            .sum()
    }

    /// Width of the latent layer.
    pub fn latent(&self) -> usize {
        self.widths[self.encoder_layers]
    }

    /// `52-103-82-103-52`, followed by the variants in use: variational, batch norm, PReLU.
    pub fn describe(&self) -> String {
        if self.nmf.is_some() {
            return format!("NMF of {} inputs in {} components", self.widths[0], self.latent());
        }
        let widths = self.widths.iter().map(usize::to_string).collect::<Vec<_>>().join("-");
        let sloped = (0..self.layers()).any(|layer| self.is_sloped(layer));
        let with: Vec<&str> = [(self.batch_norm, "batch norm"), (sloped, "PReLU")]
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, what)| what)
            .collect();
        let with =
            if with.is_empty() { String::new() } else { format!(" with {}", with.join(" and ")) };
        format!("{}{widths}{with}", if self.variational { "variational " } else { "" })
    }

    /// 1 for each flat parameter that is a weight, 0 for the others, `[parameters]`.
    pub fn weight_mask(&self) -> Vec<f32> {
        let mut mask = vec![0.0; self.parameters()];
        LayerPlace::all(self)
            .into_iter()
            .chain(LayerPlace::log_variance(self))
            .for_each(|layer| mask[layer.weight].fill(1.0));
        mask
    }

    /// The equivalent network after training: without batch norm, with the means as latents. Its
    /// parameters are [`fold`](Self::fold)ed.
    pub fn plain(&self) -> Self {
        Self { batch_norm: false, variational: false, ..self.clone() }
    }

    /// Whether [`plain`](Self::plain) would change nothing.
    pub fn is_plain(&self) -> bool {
        !self.batch_norm && !self.variational
    }

    /// The parameters of the [`plain`](Self::plain) network. Batch norm with running statistics is
    /// linear and becomes part of the layer before it; latents are their means.
    pub fn fold(&self, weights: &[f32]) -> Vec<f32> {
        self.folded(weights, None)
    }

    /// The parameters of the plain network with the log variances as latents; `None` if the model
    /// is not variational.
    pub fn fold_log_variance(&self, weights: &[f32]) -> Option<Vec<f32>> {
        Some(self.folded(weights, Some(LayerPlace::log_variance(self)?)))
    }

    /// The parameters of the plain network; `latent` replaces the latent layer if given.
    fn folded(&self, weights: &[f32], mut latent: Option<LayerPlace>) -> Vec<f32> {
        let (parameters, statistics) = weights.split_at(self.parameters());
        let mut folded = Vec::with_capacity(parameters.len());
        for (at, own) in LayerPlace::all(self).into_iter().enumerate() {
            let layer = latent.take_if(|_| at + 1 == self.encoder_layers).unwrap_or(own);
            let (weight, bias) = (&parameters[layer.weight], &parameters[layer.bias]);
            let Some(norm) = layer.norm else {
                folded.extend([weight, bias].concat());
                folded.extend(layer.slope.map(|slope| parameters[slope]));
                continue;
            };
            let number = |values: &[f32], at: usize| f64::from(values[at]);
            let (scale, shift) = (&parameters[norm.scale], &parameters[norm.shift]);
            let (mean, variance) = (&statistics[norm.mean], &statistics[norm.variance]);
            let factors: Vec<f64> = (0..layer.outputs)
                .map(|at| number(scale, at) / (number(variance, at) + EPSILON).sqrt())
                .collect();
            folded.extend(weight.chunks_exact(layer.outputs).flat_map(|row| {
                row.iter().zip(&factors).map(|(w, factor)| (f64::from(*w) * factor) as f32)
            }));
            folded.extend((0..layer.outputs).map(|at| {
                ((number(bias, at) - number(mean, at)) * factors[at] + number(shift, at)) as f32
            }));
            folded.extend(layer.slope.map(|slope| parameters[slope]));
        }
        folded
    }

    /// Draws the flat weights of one member on the host, identical for every device. Biases and
    /// shifts are 0, scales 1, slopes 0.25, running means 0 and variances 1. Components are drawn
    /// from half a normal distribution.
    pub fn draw(&self, init: Init, seed: u64, member: u64) -> Vec<f32> {
        let mut chance = random::generator(seed, "initial weights", member);
        if self.nmf.is_some() {
            return Distribution::<f32>::sample_iter(StandardNormal, chance)
                .map(f32::abs)
                .take(self.parameters())
                .collect();
        }
        let mut flat = Vec::with_capacity(self.parameters());
        for (layer, (inputs, outputs)) in self.shapes().chain(self.log_variance()).enumerate() {
            let (fan_in, fan_sum) = (inputs as f64, (inputs + outputs) as f64);
            let of_torch = 1.0 / fan_in.sqrt();
            for _ in 0..inputs * outputs {
                let mut uniform = |limit: f64| chance.random_range(-limit..limit);
                let weight = match init {
                    Init::Torch => uniform(of_torch),
                    Init::GlorotUniform => uniform((6.0 / fan_sum).sqrt()),
                    Init::HeUniform => uniform((6.0 / fan_in).sqrt()),
                    Init::GlorotNormal => {
                        (2.0 / fan_sum).sqrt()
                            * Distribution::<f64>::sample(&StandardNormal, &mut chance)
                    }
                    Init::HeNormal => {
                        (2.0 / fan_in).sqrt()
                            * Distribution::<f64>::sample(&StandardNormal, &mut chance)
                    }
                    Init::LecunNormal => {
                        (1.0 / fan_in).sqrt()
                            * Distribution::<f64>::sample(&StandardNormal, &mut chance)
                    }
                };
                flat.push(weight as f32);
            }
            match init {
                Init::Torch => flat
                    .extend((0..outputs).map(|_| chance.random_range(-of_torch..of_torch) as f32)),
                _ => flat.extend(repeat_n(0.0, outputs)),
            }
            if layer == self.layers() {
                break;
            }
            if self.is_normalised(layer) {
                flat.extend(repeat_n(1.0, outputs).chain(repeat_n(0.0, outputs)));
            }
            if self.is_sloped(layer) {
                flat.push(SLOPE);
            }
        }
        let normalised = (0..self.layers())
            .filter(|&layer| self.is_normalised(layer))
            .map(|layer| self.widths[layer + 1]);
        flat.extend(normalised.flat_map(|width| repeat_n(0.0, width).chain(repeat_n(1.0, width))));
        flat
    }
}

/// Offsets of a layer's weight and bias in the flat parameters.
#[derive(Clone, Debug)]
pub(crate) struct LayerPlace {
    pub inputs: usize,
    pub outputs: usize,
    pub weight: Range<usize>,
    pub bias: Range<usize>,
    pub norm: Option<NormPlace>,
    /// Offset of the slope of PReLU.
    pub slope: Option<usize>,
}

/// Offsets of the scale and shift of batch norm in the flat parameters, and of mean and variance
/// in the running statistics.
#[derive(Clone, Debug)]
pub(crate) struct NormPlace {
    pub scale: Range<usize>,
    pub shift: Range<usize>,
    pub mean: Range<usize>,
    pub variance: Range<usize>,
}

impl LayerPlace {
    /// The places of all layers.
    pub(crate) fn all(architecture: &Architecture) -> Vec<Self> {
        let (mut parameters, mut statistics) = (0, 0);
        let next = |at: &mut usize, length: usize| {
            *at += length;
            *at - length..*at
        };
        let place = |(layer, (inputs, outputs)): (usize, (usize, usize))| {
            let (weight, bias) =
                (next(&mut parameters, inputs * outputs), next(&mut parameters, outputs));
            let norm = architecture.is_normalised(layer).then(|| NormPlace {
                scale: next(&mut parameters, outputs),
                shift: next(&mut parameters, outputs),
                mean: next(&mut statistics, outputs),
                variance: next(&mut statistics, outputs),
            });
            let slope = architecture.is_sloped(layer).then(|| next(&mut parameters, 1).start);
            Self { inputs, outputs, weight, bias, norm, slope }
        };
        architecture.shapes().enumerate().map(place).collect()
    }

    /// The place of the layer that computes the log variances, the last one; `None` if the model is
    /// not variational.
    pub(crate) fn log_variance(architecture: &Architecture) -> Option<Self> {
        let (inputs, outputs) = architecture.log_variance()?;
        let bias = architecture.parameters() - outputs..architecture.parameters();
        Some(Self {
            inputs,
            outputs,
            weight: bias.start - inputs * outputs..bias.start,
            bias,
            norm: None,
            slope: None,
        })
    }

    /// The slope of a leaky or parametric ReLU below 0.
    pub(crate) fn slope(&self, parameters: &[f32]) -> f32 {
        self.slope.map_or(LEAK as f32, |at| parameters[at])
    }
}

impl Activation {
    /// The range of its values: (lowest, highest).
    pub fn range(self) -> (f32, f32) {
        match self {
            Self::Relu => (0.0, f32::INFINITY),
            Self::Sigmoid => (0.0, 1.0),
            Self::Tanh => (-1.0, 1.0),
            Self::Elu => (-1.0, f32::INFINITY),
            Self::Selu => (-1.758_099_4, f32::INFINITY),
            Self::Gelu => (-0.17, f32::INFINITY),
            Self::LeakyRelu | Self::Prelu | Self::Linear => (f32::NEG_INFINITY, f32::INFINITY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_decoder_mirrors_the_encoder() {
        let architecture = architecture();
        assert_eq!(architecture.describe(), "4-3-2-3-4");
        assert_eq!(architecture.parameters(), 4 * 3 + 3 + 3 * 2 + 2 + 2 * 3 + 3 + 3 * 4 + 4);
        let names: Vec<String> = (0..4).map(|i| architecture.layer_name(i)).collect();
        assert_eq!(names, ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]);
        assert_eq!(
            architecture.activations,
            [Activation::Relu, Activation::Relu, Activation::Relu, Activation::Sigmoid]
        );
    }

    #[test]
    fn torch_draws_biases_too_and_batch_norm_begins_by_changing_nothing() {
        let architecture = Architecture { batch_norm: true, ..architecture() };
        let flat = architecture.draw(Init::Torch, 3, 0);
        assert!(flat[..15].iter().all(|value| *value != 0.0 && value.abs() <= 0.5));
        assert_eq!((&flat[15..18], &flat[18..21]), (&[1.0; 3][..], &[0.0; 3][..]));
        assert_eq!(flat[architecture.parameters()..], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0].repeat(2));
        assert_eq!(architecture.weight_mask()[..21].iter().sum::<f32>(), 12.0);
        let (wide, mean_square) =
            (Architecture::new(200, &Model { hidden: vec![100], ..Model::default() }), 1.0 / 200.0);
        let drawn: f32 = wide.draw(Init::LecunNormal, 3, 0)[..20_000]
            .iter()
            .map(|weight| weight * weight)
            .sum::<f32>()
            / 20_000.0;
        assert!((drawn / mean_square - 1.0).abs() < 0.05, "{drawn}");
    }

    #[test]
    fn weights_are_drawn_within_their_limit() {
        let architecture = architecture();
        let flat = architecture.draw(Init::GlorotUniform, 3, 0);
        assert_eq!(flat.len(), architecture.parameters());
        assert!(flat[..12].iter().all(|weight| weight.abs() <= (6.0_f32 / 7.0).sqrt()));
        assert!(flat[12..15].iter().all(|bias| *bias == 0.0));
        assert_eq!(flat, architecture.draw(Init::GlorotUniform, 3, 0));
    }
}
