//! Dense autoencoders, several of one shape side by side.
//!
//! Weights carry a leading *members* dimension, `[members, in, out]`: one model is a pack of one. On the host, and for the
//! optimiser, the weights of a member are one flat row: layer by layer the weight `[in, out]` row-major, then the bias.

use crate::{
    config::raw::{Activation, Init, Model},
    random,
};
use burn::{
    module::{Module, Param, ParamId},
    tensor::{Device, Tensor, TensorData, activation},
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::ops::Range;

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
}

impl Architecture {
    /// The autoencoder of a config for samples of `inputs` features: the decoder mirrors the encoder.
    pub fn new(inputs: usize, model: &Model) -> Self {
        let hidden: Vec<usize> = model.hidden.iter().map(|&width| width as usize).collect();
        let mut widths = vec![inputs];
        widths.extend(&hidden);
        widths.push(model.latent as usize);
        widths.extend(hidden.iter().rev());
        widths.push(inputs);
        let mut activations = vec![model.activation; widths.len() - 1];
        activations[hidden.len()] = model.latent_activation.unwrap_or(model.activation);
        activations[2 * hidden.len() + 1] = model.output_activation;
        Self { widths, activations, encoder_layers: hidden.len() + 1, dropout: model.dropout }
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.activations.len()
    }

    /// (in, out) of each layer.
    pub fn shapes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.widths.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// `encoder.0`, …, `decoder.0`, …: as the weights are named in files.
    pub fn layer_name(&self, layer: usize) -> String {
        match layer.checked_sub(self.encoder_layers) {
            None => format!("encoder.{layer}"),
            Some(layer) => format!("decoder.{layer}"),
        }
    }

    /// Number of weights and biases of one member.
    pub fn parameters(&self) -> usize {
        self.shapes().map(|(inputs, outputs)| inputs * outputs + outputs).sum()
    }

    /// Width of the latent layer.
    pub fn latent(&self) -> usize {
        self.widths[self.encoder_layers]
    }

    /// `52-103-82-103-52`.
    pub fn describe(&self) -> String {
        self.widths.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
    }

    /// 1 where a flat parameter is a weight, 0 where it is a bias, `[parameters]`.
    pub fn weight_mask(&self) -> Vec<f32> {
        self.shapes().flat_map(|(inputs, outputs)| [vec![1.0; inputs * outputs], vec![0.0; outputs]].concat()).collect()
    }

    /// Draws the weights of one member, `[parameters]`, on the host: the same on every device. Biases are 0.
    pub fn draw(&self, init: Init, seed: u64, member: u64) -> Vec<f32> {
        let mut chance = random::generator(seed, "initial weights", member);
        let mut flat = Vec::with_capacity(self.parameters());
        for (inputs, outputs) in self.shapes() {
            let (fan_in, fan_sum) = (inputs as f64, (inputs + outputs) as f64);
            for _ in 0..inputs * outputs {
                let mut uniform = |limit: f64| chance.random_range(-limit..limit);
                let weight = match init {
                    Init::GlorotUniform => uniform((6.0 / fan_sum).sqrt()),
                    Init::HeUniform => uniform((6.0 / fan_in).sqrt()),
                    Init::GlorotNormal => (2.0 / fan_sum).sqrt() * Distribution::<f64>::sample(&StandardNormal, &mut chance),
                    Init::HeNormal => (2.0 / fan_in).sqrt() * Distribution::<f64>::sample(&StandardNormal, &mut chance),
                };
                flat.push(weight as f32);
            }
            flat.extend(std::iter::repeat_n(0.0, outputs));
        }
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
}

/// Dense autoencoders of one architecture on a device.
#[derive(Module, Debug)]
pub struct Autoencoder {
    layers: Vec<Layer>,
}

/// What a forward pass gives.
pub struct Forward {
    /// The reconstruction, `[members, rows, features]`.
    pub output: Tensor<3>,
    /// The output of the first layer, `[members, rows, hidden]`.
    pub first_hidden: Tensor<3>,
}

impl Autoencoder {
    /// From flat parameters, `[members, parameters]`.
    pub fn from_flat(architecture: &Architecture, flat: &Tensor<2>) -> Self {
        let members = flat.dims()[0];
        let mut start = 0;
        let mut take = |rows: usize, columns: usize| {
            let part = flat.clone().slice([0..members, start..start + rows * columns]).reshape([members, rows, columns]);
            start += rows * columns;
            Param::initialized(ParamId::new(), part)
        };
        let layers = architecture.shapes().map(|(inputs, outputs)| Layer { weight: take(inputs, outputs), bias: take(1, outputs) }).collect();
        Self { layers }
    }

    /// From the flat parameters of one member on the host.
    pub fn from_host(architecture: &Architecture, flat: &[f32], device: &Device) -> Self {
        Self::from_flat(architecture, &Tensor::from_data(TensorData::new(flat.to_vec(), [1, flat.len()]), device))
    }

    /// The weights and biases in the order of the flat layout, as rows `[members, …]`.
    pub fn tensors(&self) -> Vec<Tensor<3>> {
        self.layers.iter().flat_map(|layer| [layer.weight.val(), layer.bias.val()]).collect()
    }

    /// The same model with every parameter a leaf whose gradient is kept.
    pub fn tracked(self) -> Self {
        let track = |param: Param<Tensor<3>>| Param::initialized(param.id, param.val().autodiff().require_grad());
        Self { layers: self.layers.into_iter().map(|layer| Layer { weight: track(layer.weight), bias: track(layer.bias) }).collect() }
    }

    /// Reconstructs `input`, `[1 or members, rows, features]`. `dropout` holds one mask per hidden layer, `[members, rows,
    /// width]`, that multiplies its output; without it nothing is dropped.
    pub fn forward(&self, architecture: &Architecture, input: Tensor<3>, dropout: Option<&[Tensor<3>]>) -> Forward {
        let mut value = input;
        let mut first_hidden = None;
        for (i, (layer, &kind)) in self.layers.iter().zip(&architecture.activations).enumerate() {
            value = layer.forward(value, kind);
            if i == 0 {
                first_hidden = Some(value.clone());
            }
            if let Some(mask) = dropout.and_then(|masks| masks.get(i)) {
                value = value * mask.clone();
            }
        }
        Forward { first_hidden: first_hidden.unwrap_or_else(|| value.clone()), output: value }
    }
}

impl Autoencoder {
    /// Sends values through some of the layers, `[1 or members, rows, in]` to `[members, rows, out]`; nothing is dropped.
    pub fn run(&self, architecture: &Architecture, layers: Range<usize>, input: Tensor<3>) -> Tensor<3> {
        let kinds = &architecture.activations[layers.clone()];
        self.layers[layers].iter().zip(kinds).fold(input, |value, (layer, kind)| layer.forward(value, *kind))
    }
}

impl Layer {
    fn forward(&self, value: Tensor<3>, kind: Activation) -> Tensor<3> {
        activate(value.matmul(self.weight.val()) + self.bias.val(), kind)
    }
}

fn activate(value: Tensor<3>, kind: Activation) -> Tensor<3> {
    match kind {
        Activation::Relu => activation::relu(value),
        Activation::LeakyRelu => activation::leaky_relu(value, 0.01),
        Activation::Elu => activation::elu(value, 1.0),
        Activation::Selu => activation::selu(value),
        Activation::Gelu => activation::gelu(value),
        Activation::Tanh => activation::tanh(value),
        Activation::Sigmoid => activation::sigmoid(value),
        Activation::Linear => value,
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
            Self::LeakyRelu | Self::Linear => (f32::NEG_INFINITY, f32::INFINITY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::cpu;

    fn architecture() -> Architecture {
        let model = Model { hidden: vec![3], latent: 2, output_activation: Activation::Sigmoid, ..Model::default() };
        Architecture::new(4, &model)
    }

    #[test]
    fn the_decoder_mirrors_the_encoder() {
        let architecture = architecture();
        assert_eq!(architecture.describe(), "4-3-2-3-4");
        assert_eq!(architecture.parameters(), 4 * 3 + 3 + 3 * 2 + 2 + 2 * 3 + 3 + 3 * 4 + 4);
        let names: Vec<String> = (0..4).map(|i| architecture.layer_name(i)).collect();
        assert_eq!(names, ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]);
        assert_eq!(architecture.activations, [Activation::Relu, Activation::Relu, Activation::Relu, Activation::Sigmoid]);
    }

    #[test]
    fn members_of_a_pack_compute_as_alone() {
        let device = cpu();
        let architecture = architecture();
        let flats: Vec<Vec<f32>> = (0..3).map(|member| architecture.draw(Init::GlorotUniform, 1, member)).collect();
        let pack = Tensor::<2>::from_data(TensorData::new(flats.concat(), [3, architecture.parameters()]), &device);
        let input = Tensor::<3>::from_data(TensorData::new((0..20).map(|i| i as f32 / 20.0).collect::<Vec<_>>(), [1, 5, 4]), &device);
        let together = Autoencoder::from_flat(&architecture, &pack).forward(&architecture, input.clone(), None).output;
        for (member, flat) in flats.iter().enumerate() {
            let alone = Autoencoder::from_host(&architecture, flat, &device).forward(&architecture, input.clone(), None).output;
            let one = together.clone().slice([member..member + 1, 0..5, 0..4]);
            assert_eq!(one.into_data().try_to_vec::<f32>().unwrap(), alone.into_data().try_to_vec::<f32>().unwrap());
        }
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
