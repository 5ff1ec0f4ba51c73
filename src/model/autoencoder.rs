//! Dense autoencoders, several of one shape side by side.
//!
//! Weights carry a leading *members* dimension, `[members, in, out]`: one model is a pack of one.
//! On the host, and for the optimiser, the parameters of a member are one flat row: layer by layer
//! the weight `[in, out]` row-major, then the bias, then, where the layer is normalised, batch
//! norm's scale and shift, then, where its activation is PReLU, the slope; after the last layer, of
//! a variational autoencoder, weight and bias of the layer that gives the logarithms of the
//! latents' variances beside the latent layer, which gives their means. Its *flat weights* are the
//! parameters and after them what batch norm keeps beside them, which no optimiser changes: the
//! running mean and variance of each normalised layer.
//!
//! After training, batch norm is part of the layers and a variational autoencoder answers with
//! means: what is left is the [`plain`](Architecture::plain) network with
//! [`fold`](Architecture::fold)ed parameters, a chain of linear layers and activations.

use super::{
    host::{LayerPlace, SELU},
    nmf,
};
use crate::{
    config::model::{Activation, Init, Model, ModelKind},
    random,
};
use burn::{
    module::{Module, Param, ParamId},
    tensor::{Device, Tensor, TensorData, activation},
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
    /// How many of the layers make the encoder.
    pub encoder_layers: usize,
    /// Fraction of hidden values dropped in training.
    pub dropout: f64,
    /// Whether hidden layers are normalised.
    pub batch_norm: bool,
    /// Whether the latents are drawn in training: the latent layer gives their means, and another
    /// beside it their spreads.
    pub variational: bool,
    /// Of a non-negative matrix factorisation, what its coefficients are found with. Its widths are
    /// those of input, coefficients and output, and its flat weights the components, `[components,
    /// inputs]`.
    pub nmf: Option<nmf::Numbers>,
}

/// What batch norm adds to a variance before its root is divided by.
pub const EPSILON: f64 = 1e-5;
/// The share of a batch in running statistics.
pub const MOMENTUM: f64 = 0.1;
/// PReLU's slope below 0 before training, as PyTorch has it.
const SLOPE: f32 = 0.25;
/// Leaky ReLU's.
pub const LEAK: f64 = 0.01;
/// What files call the latent layer of a variational autoencoder, and the layer beside it.
const HEADS: [&str; 2] = ["latent_mean", "latent_log_variance"];

impl Architecture {
    /// The autoencoder of a config for samples of `inputs` features: the decoder mirrors the
    /// encoder.
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

    /// Whether a layer's activation has a slope that is trained.
    pub fn is_sloped(&self, layer: usize) -> bool {
        self.activations[layer] == Activation::Prelu
    }

    /// `encoder.0`, …, `decoder.0`, …: as the weights are named in files. The latent layer of a
    /// variational autoencoder is `latent_mean`, and what stands after the last layer is
    /// `latent_log_variance` beside it.
    pub fn layer_name(&self, layer: usize) -> String {
        match layer.checked_sub(self.encoder_layers) {
            None if self.variational && layer + 1 == self.encoder_layers => HEADS[0].into(),
            None => format!("encoder.{layer}"),
            Some(_) if layer == self.layers() => HEADS[1].into(),
            Some(layer) => format!("decoder.{layer}"),
        }
    }

    /// (in, out) of the layer that gives the logarithms of the latents' variances, where there is
    /// one.
    pub fn log_variance(&self) -> Option<(usize, usize)> {
        self.variational.then(|| (self.widths[self.encoder_layers - 1], self.latent()))
    }

    /// Number of weights and biases of one member, of batch norm's scales and shifts, and of
    /// slopes: what is trained.
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

    /// Number of running means and variances of one member: as many as there are scales and shifts.
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

    /// `52-103-82-103-52`, and whether it is variational, with batch norm or with PReLU.
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

    /// 1 where a flat parameter is a weight, 0 where it is anything else, `[parameters]`.
    pub fn weight_mask(&self) -> Vec<f32> {
        let mut mask = vec![0.0; self.parameters()];
        LayerPlace::all(self)
            .into_iter()
            .chain(LayerPlace::log_variance(self))
            .for_each(|layer| mask[layer.weight].fill(1.0));
        mask
    }

    /// The network that computes after training what this one does, without batch norm and with
    /// means for latents: its parameters are [`fold`](Self::fold)ed.
    pub fn plain(&self) -> Self {
        Self { batch_norm: false, variational: false, ..self.clone() }
    }

    /// Whether it is what is left after training.
    pub fn is_plain(&self) -> bool {
        !self.batch_norm && !self.variational
    }

    /// The parameters of the [`plain`](Self::plain) network: what batch norm does with running
    /// statistics is linear, and so part of the layer before it; latents are their means.
    pub fn fold(&self, weights: &[f32]) -> Vec<f32> {
        self.folded(weights, None)
    }

    /// The parameters of the plain network whose latents are the logarithms of the variances of a
    /// variational one's, where it is one.
    pub fn fold_log_variance(&self, weights: &[f32]) -> Option<Vec<f32>> {
        Some(self.folded(weights, Some(LayerPlace::log_variance(self)?)))
    }

    /// The parameters of the plain network, with another latent layer where one is given.
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

    /// Draws the flat weights of one member on the host: the same on every device. Biases and
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

/// One layer of every member.
#[derive(Module, Debug)]
pub struct Layer {
    /// `[members, in, out]`
    weight: Param<Tensor<3>>,
    /// `[members, 1, out]`
    bias: Param<Tensor<3>>,
    norm: Option<Norm>,
    /// PReLU's, `[members, 1, 1]`.
    slope: Option<Param<Tensor<3>>>,
}

/// What batch norm makes of normalised values, in every member.
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
    /// What gives the logarithms of the latents' variances beside the latent layer.
    log_variance: Option<Layer>,
}

/// What is drawn for a batch in training; without it nothing is dropped, and latents are their
/// means.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drawn<'a> {
    /// One mask per hidden layer, `[members, rows, width]`, that multiplies its output.
    pub dropout: Option<&'a [Tensor<3>]>,
    /// Standard normal numbers, `[members, rows, latent]`: a latent is mean + number · standard
    /// deviation.
    pub latents: Option<&'a Tensor<3>>,
}

/// What a forward pass gives.
pub struct Forward {
    /// The reconstruction, `[members, rows, features]`.
    pub output: Tensor<3>,
    /// The output of the first layer, `[members, rows, hidden]`.
    pub first_hidden: Tensor<3>,
    /// What the encoder gives before anything is drawn, `[members, rows, latent]`: of a variational
    /// one, means.
    pub latent: Tensor<3>,
    /// Of a variational one, the logarithms of the latents' variances, `[members, rows, latent]`.
    pub log_variance: Option<Tensor<3>>,
    /// What goes into each of the encoder's activations, `[members, rows, out]`.
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

    /// Reconstructs `input`, `[1 or members, rows, features]`, as in training: batch norm goes by
    /// the rows at hand.
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

    /// The squared Frobenius norm of the derivative of each row's latents by its inputs, `[members,
    /// rows, 1]`, of an encoder without batch norm and dropout. `linear` is what went into its
    /// activations.
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
            // Of the latents by what went into this layer's activation, a row of `width` numbers
            // for each row and latent.
            let by_linear = match derivative {
                // Of each latent by its own alone.
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
    /// Sends values through some of the layers of a network without batch norm, `[1 or members,
    /// rows, in]` to `[members, rows, out]`; nothing is dropped.
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
    /// What goes into the activation.
    fn linear(&self, value: Tensor<3>, statistics: &mut Vec<Tensor<3>>) -> Tensor<3> {
        let value = value.matmul(self.weight.val());
        let Some(norm) = &self.norm else { return value + self.bias.val() };
        // The bias would go with the mean: without it, it has no gradient, where with it, it would
        // have one of rounding alone.
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

    /// The activation's derivative at what goes into it, itself to be differentiated.
    fn slope_at(&self, value: Tensor<3>, kind: Activation) -> Tensor<3> {
        // 1 where the value is above 0, else 0; what lies beside the kink has no slope of its own.
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
            // What lies above 0 is left out before it is too large for the exponential.
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

impl Activation {
    /// The values it can take: (lowest, highest).
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
    use crate::device::tests::cpu;

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

    /// Where running statistics are those of the rows at hand, the network after training computes
    /// what it computed in training.
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
            // Training divides by the variance of the seven rows themselves, not by what they tell
            // of others.
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
