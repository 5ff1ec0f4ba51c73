//! Networks and their scores in the graph.

use super::building::{Building, sum};
use crate::{
    config::{
        model::Activation,
        score::{Combine, ScoreKind},
    },
    export::onnx::{Attribute, Graph, Kind, Value},
    model::{Architecture, architecture::LayerPlace},
    score::{
        error_baseline::{ErrorBaseline, SMALLEST},
        inference::LARGEST_LOG_VARIANCE,
        network::Network,
    },
};
use std::ops::Range;

/// What a channel's network says of rows.
pub(super) struct Said {
    /// `[N, features]`, the mean over the members.
    pub(super) reconstruction: Value,
    /// `[N]` in double precision: the mean over the members, and each of them.
    pub(super) error: Value,
    pub(super) members: Vec<Value>,
    /// Whether the row has any input of the channel, `[N]`, where inputs may be left out; where
    /// not, there is no error.
    pub(super) present: Option<Value>,
}

impl Building<'_> {
    /// What the members of a channel's ensemble say of its inputs.
    pub(super) fn network(
        &mut self,
        network: &Network,
        score: ScoreKind,
        inputs: &Value,
        missing: Option<&Value>,
    ) -> Said {
        let exact = self.graph.cast(inputs, Kind::Double);
        let (mut reconstructions, mut members) = (vec![], vec![]);
        for weights in &network.members {
            let (plain, folded) = match network.architecture.is_plain() {
                true => (network.architecture.clone(), weights.clone()),
                false => (network.architecture.plain(), network.architecture.fold(weights)),
            };
            let (encoder, decoder) =
                (0..plain.encoder_layers, plain.encoder_layers..plain.layers());
            let latents = self.layers(&plain, &folded, encoder.clone(), inputs);
            let reconstruction = self.layers(&plain, &folded, decoder, &latents);
            let mut error =
                self.error(score, network.channel.features.len(), &exact, &reconstruction, missing);
            let weight = self.model.experiment.score.kl;
            if let Some(of_spread) =
                network.architecture.fold_log_variance(weights).filter(|_| weight > 0.0)
            {
                let log_variances = self.layers(&plain, &of_spread, encoder, inputs);
                error = self.with_divergence(&error, weight, &latents, &log_variances);
            }
            members.push(error);
            reconstructions.push(reconstruction);
        }
        Said {
            reconstruction: self.mean(&reconstructions, Kind::Float),
            error: self.mean(&members, Kind::Double),
            members,
            present: missing.map(|missing| self.any_present(missing)),
        }
    }

    /// An error and what `score.kl` adds to it: how far the latents are from standard normal ones.
    pub(super) fn with_divergence(
        &mut self,
        error: &Value,
        weight: f64,
        means: &Value,
        log_variances: &Value,
    ) -> Value {
        let graph = &mut self.graph;
        let (means, log_variances) =
            (graph.cast(means, Kind::Double), graph.cast(log_variances, Kind::Double));
        let squares = graph.node("Mul", &[&means, &means], &[]);
        let largest = graph.double(LARGEST_LOG_VARIANCE);
        let above = graph.node("Greater", &[&log_variances, &largest], &[]);
        let limited = graph.node("Where", &[&above, &largest, &log_variances], &[]);
        let variances = graph.node("Exp", &[&limited], &[]);
        let one = graph.double(1.0);
        let beyond = graph.node("Sub", &[&variances, &one], &[]);
        let beyond = graph.node("Sub", &[&beyond, &log_variances], &[]);
        let each = graph.node("Add", &[&squares, &beyond], &[]);
        let divergence = sum(graph, &each, false);
        let weight = graph.double(0.5 * weight);
        let added = graph.node("Mul", &[&divergence, &weight], &[]);
        graph.node("Add", &[error, &added], &[])
    }

    pub(super) fn layers(
        &mut self,
        architecture: &Architecture,
        weights: &[f32],
        layers: Range<usize>,
        inputs: &Value,
    ) -> Value {
        let mut value = inputs.clone();
        let places = LayerPlace::all(architecture).into_iter().zip(&architecture.activations);
        for (place, kind) in places.skip(layers.start).take(layers.len()) {
            let weight = self.graph.floats(&weights[place.weight], &[place.inputs, place.outputs]);
            let bias = self.graph.floats(&weights[place.bias], &[place.outputs]);
            value = self.graph.node("Gemm", &[&value, &weight, &bias], &[]);
            let slope = place.slope.map(|slope| weights[slope]);
            value = self.activation(*kind, slope, &value);
        }
        value
    }

    pub(super) fn activation(
        &mut self,
        kind: Activation,
        slope: Option<f32>,
        value: &Value,
    ) -> Value {
        let graph = &mut self.graph;
        let alpha = |alpha| ("alpha", Attribute::Float(alpha));
        match kind {
            Activation::Linear => value.clone(),
            Activation::Relu => graph.node("Relu", &[value], &[]),
            Activation::LeakyRelu => graph.node("LeakyRelu", &[value], &[alpha(0.01)]),
            Activation::Prelu => {
                let slope = graph.floats(&[slope.unwrap_or(1.0)], &[1]);
                graph.node("PRelu", &[value, &slope], &[])
            }
            Activation::Elu => graph.node("Elu", &[value], &[alpha(1.0)]),
            Activation::Selu => graph.node(
                "Selu",
                &[value],
                &[alpha(1.673_263_2), ("gamma", Attribute::Float(1.050_701))],
            ),
            Activation::Tanh => graph.node("Tanh", &[value], &[]),
            Activation::Sigmoid => graph.node("Sigmoid", &[value], &[]),
            // An operator of its own only since opset 20.
            Activation::Gelu => {
                let (root, one, half) = (
                    graph.floats(&[std::f32::consts::SQRT_2], &[]),
                    graph.floats(&[1.0], &[]),
                    graph.floats(&[0.5], &[]),
                );
                let scaled = graph.node("Div", &[value, &root], &[]);
                let erf = graph.node("Erf", &[&scaled], &[]);
                let twice = graph.node("Add", &[&erf, &one], &[]);
                let share = graph.node("Mul", &[&twice, &half], &[]);
                graph.node("Mul", &[value, &share], &[])
            }
        }
    }

    /// The error of each row, `[N]` in double precision, over the inputs that are not `missing`;
    /// NaN where all are.
    pub(super) fn error(
        &mut self,
        kind: ScoreKind,
        features: usize,
        exact: &Value,
        reconstruction: &Value,
        missing: Option<&Value>,
    ) -> Value {
        let graph = &mut self.graph;
        let reconstruction = graph.cast(reconstruction, Kind::Double);
        let difference = graph.node("Sub", &[&reconstruction, exact], &[]);
        let of_feature = match kind {
            ScoreKind::Mae => graph.node("Abs", &[&difference], &[]),
            ScoreKind::Mse | ScoreKind::Sse => graph.node("Mul", &[&difference, &difference], &[]),
        };
        if let Some(missing) = missing {
            return self.error_of_present(kind, features, &of_feature, missing);
        }
        let sum = sum(graph, &of_feature, false);
        let divisor = graph.double(kind.divisor(features));
        graph.node("Div", &[&sum, &divisor], &[])
    }

    /// One score of the channels' errors, of those that are present.
    pub(super) fn combined(&mut self, errors: &[(Value, Option<Value>)]) -> Value {
        let how = self.model.experiment.score.combine;
        let graph = &mut self.graph;
        let smallest = graph.double(SMALLEST);
        let mut ratios = vec![];
        for (Network { baseline, .. }, (error, present)) in self.model.networks.iter().zip(errors) {
            let held = graph.double(baseline.reference_error());
            let ratio = graph.node("Div", &[error, &held], &[]);
            let ratio = graph.node("Max", &[&ratio, &smallest], &[]);
            let log = graph.node("Log", &[&ratio], &[]);
            let ratio = if how == Combine::Standardised {
                standardised(graph, baseline, &log)
            } else {
                log
            };
            ratios.push(match present {
                None => ratio,
                Some(present) => {
                    let nothing =
                        graph.double(if matches!(how, Combine::Standardised | Combine::Max) {
                            f64::NEG_INFINITY
                        } else {
                            0.0
                        });
                    graph.node("Where", &[present, &ratio, &nothing], &[])
                }
            });
        }
        let values: Vec<&Value> = ratios.iter().collect();
        match how {
            Combine::Standardised | Combine::Max => graph.node("Max", &values, &[]),
            Combine::Sum => graph.node("Sum", &values, &[]),
            Combine::Mean => {
                let present: Option<Vec<&Value>> =
                    errors.iter().map(|(_, present)| present.as_ref()).collect();
                match present {
                    None => self.mean(&ratios, Kind::Double),
                    Some(present) => {
                        let present: Vec<Value> = present
                            .into_iter()
                            .map(|present| graph.cast(present, Kind::Double))
                            .collect();
                        let (sum, count) = (
                            graph.node("Sum", &values, &[]),
                            graph.node("Sum", &present.iter().collect::<Vec<_>>(), &[]),
                        );
                        graph.node("Div", &[&sum, &count], &[])
                    }
                }
            }
        }
    }
}

fn standardised(graph: &mut Graph, baseline: &ErrorBaseline, log: &Value) -> Value {
    let (mean, scale) = (graph.double(baseline.log_mean), graph.double(baseline.log_scale()));
    let centred = graph.node("Sub", &[log, &mean], &[]);
    graph.node("Div", &[&centred, &scale], &[])
}
