//! What `lumisift score` does to a row, as an ONNX graph: raw bins in; reconstruction, error and
//! flag out.
//!
//! The scaling, the networks, the scores and the thresholds are all inside. Networks compute in
//! single precision, scaling and errors in double where scoring does, so that both agree to
//! rounding.

mod missing;

use super::onnx::{Attribute, Graph, Kind, Port, Value};
use crate::{
    config::{
        model::Activation,
        scale::{FitOn, ScaleKind},
        score::{Combine, ScoreKind},
        select::DropEmpty,
    },
    data::{channels::COMBINED, shape::Shape},
    error::{Error, Result, listed, suggestion},
    experiment::trained::TrainedModel,
    model::{Architecture, architecture::LayerPlace, weights},
    prepare::{
        finite,
        scale::{Scaler, Step},
    },
    score::{
        error_baseline::{ErrorBaseline, SMALLEST},
        inference::LARGEST_LOG_VARIANCE,
        network::Network,
        threshold::Calibrated,
    },
};
use missing::Gaps;
use std::ops::Range;

/// Keeps one channel of a model, which reads only its own features.
pub fn only(model: &mut TrainedModel, channel: &str) -> Result<()> {
    let names = || model.networks.iter().map(|network| network.channel.name.as_str());
    if !names().any(|name| name == channel) {
        let near = suggestion(channel, names());
        return Err(Error::input(format!(
            "--channel {channel}: there is no such channel{near}; there are {}",
            listed(names())
        )));
    }
    if let Some(step) =
        model.scaler.forgets().filter(|_| model.networks.len() > 1 && !model.is_layered())
    {
        return Err(Error::input(format!(
            "--channel {channel}: scale.kind has \"{step}\", which goes by the features of all channels; export all of them"
        )));
    }
    let all = model.read_names();
    model.networks.retain(|network| network.channel.name == channel);
    let own = model.read_names();
    let kept: Vec<usize> =
        own.iter().filter_map(|name| all.iter().position(|known| known == name)).collect();
    for step in model.scaler.steps.iter_mut().filter(|step| step.kind.learns()) {
        step.shift = kept.iter().map(|&at| step.shift[at]).collect();
        step.divisor = kept.iter().map(|&at| step.divisor[at]).collect();
        step.floored = (0_u32..)
            .zip(&kept)
            .filter(|(_, at)| step.floored.binary_search(&(**at as u32)).is_ok())
            .map(|(own, _)| own)
            .collect();
    }
    let added = model.scaler.added.as_ref().map_or(0, |added| added.names.len());
    if let Some(filling) = &mut model.scaler.filling {
        let places = || kept.iter().copied().chain(model.scaler.width..model.scaler.width + added);
        filling.values = places().map(|at| filling.values[at]).collect();
        filling.shares = places().map(|at| filling.shares[at]).collect();
    }
    model.scaler.width = own.len();
    model.scaler.layers = vec![];
    model.thresholds.retain(|threshold| threshold.channel == channel);
    Ok(())
}

/// The graph of a model. `map` is the shape of a row's bins where they go in as `[N, y, x]` instead
/// of `[N, bins]`.
pub fn graph(model: &TrainedModel, map: Option<Shape>) -> Result<Graph> {
    if model.scaler.fit_on == FitOn::EachFile {
        return Err(Error::input(
            "export: scale.fit_on = \"each-file\" scales a file by its own rows, which a graph that sees one row at a time cannot; train with scale.fit_on = \"train\"",
        ));
    }
    if model.networks.iter().any(|network| network.architecture.nmf.is_some()) {
        return Err(Error::input(
            "export: model.kind = \"nmf\" finds coefficients step by step until they no longer change, which a graph cannot; `export … safetensors` has the components",
        ));
    }
    if model.experiment.patterns.is_some() {
        return Err(Error::input(
            "export: [patterns] flags regions of a map, which the graph does not look for; train without [patterns], or score with `lumisift score`",
        ));
    }
    let mut building = Building { graph: Graph::default(), model, gaps: None };
    building.all(map)?;
    Ok(building.graph)
}

struct Building<'a> {
    graph: Graph,
    model: &'a TrainedModel,
    /// Where inputs are missing, where rows with such are taken.
    gaps: Option<Gaps>,
}

/// What a channel's network says of rows.
struct Said {
    /// `[N, features]`, the mean over the members.
    reconstruction: Value,
    /// `[N]` in double precision: the mean over the members, and each of them.
    error: Value,
    members: Vec<Value>,
    /// Whether the row has any input of the channel, `[N]`, where inputs may be left out; where
    /// not, there is no error.
    present: Option<Value>,
}

impl Building<'_> {
    fn all(&mut self, map: Option<Shape>) -> Result<()> {
        let model = self.model;
        let names = model.read_names();
        let score = model.experiment.score.kind;
        let width = model.scaler.width;
        let what = if model.columns().is_some() { "features" } else { "bins" };
        let missing = self.told_missing();
        let read = match map {
            Some(Shape { y, x }) => {
                let description =
                    format!("contents of the {y} x {x} bins of a map, as they are{missing}");
                let map = self.graph.input(port("input_0", Kind::Float, &[y, x], &description));
                self.graph.node("Flatten", &[&map], &[("axis", Attribute::Integer(1))])
            }
            None => {
                let port = Port {
                    columns: names.clone(),
                    ..port(
                        "input_0",
                        Kind::Float,
                        &[width],
                        &format!("the {width} {what} of a row, as they are{missing}"),
                    )
                };
                self.graph.input(port)
            }
        };
        let read = self.find_gaps(read);
        let (inputs, mut evaluated) = self.scaled(&read);

        let all: Vec<String> = names
            .into_iter()
            .chain(model.scaler.added.iter().flat_map(|added| added.names.clone()))
            .collect();
        let mut said = vec![];
        for network in &model.networks {
            let places: Vec<i64> =
                network.channel.columns(&all).into_iter().flatten().map(|at| at as i64).collect();
            let own = match places.iter().copied().eq(0..all.len() as i64) {
                true => inputs.clone(),
                false => {
                    let places = self.graph.integers(&places);
                    self.graph.node(
                        "Gather",
                        &[&inputs, &places],
                        &[("axis", Attribute::Integer(1))],
                    )
                }
            };
            let missing = self.missing_of(&places);
            said.push(self.network(network, score, &own, missing.as_ref()));
        }

        let several = said.len() > 1;
        let (main, error, members) = match &said[..] {
            [only] => {
                (model.networks[0].channel.name.as_str(), only.error.clone(), only.members.clone())
            }
            _ => {
                let together = |this: &mut Self, of: &dyn Fn(&Said) -> Value| {
                    this.combined(
                        &said
                            .iter()
                            .map(|said| (of(said), said.present.clone()))
                            .collect::<Vec<_>>(),
                    )
                };
                let error = together(self, &|said| said.error.clone());
                let members = (0..said[0].members.len())
                    .map(|member| together(self, &|said| said.members[member].clone()))
                    .collect();
                (COMBINED, error, members)
            }
        };

        let columns: Vec<String> = match several {
            false => all,
            true => {
                let of = |network: &Network| {
                    network
                        .channel
                        .features
                        .iter()
                        .map(|feature| format!("{}:{feature}", network.channel.name))
                        .collect::<Vec<_>>()
                };
                model.networks.iter().flat_map(of).collect()
            }
        };
        let parts: Vec<&Value> = said.iter().map(|said| &said.reconstruction).collect();
        let reconstruction = if several {
            self.graph.node("Concat", &parts, &[("axis", Attribute::Integer(1))])
        } else {
            parts[0].clone()
        };
        let description = "what the network makes of the scaled inputs, scaled as they are";
        let port_of = port("reconstruction", Kind::Float, &[columns.len()], description);
        self.graph.output(Port { columns, ..port_of }, &reconstruction);
        self.judged("", main, &error)?;
        if several {
            for (network, said) in model.networks.iter().zip(&said) {
                let (name, stem) = (&network.channel.name, weights::stem(&network.channel.name, 0));
                self.judged(&format!("_{stem}"), name, &said.error)?;
                if let Some(present) = &said.present {
                    let description = format!(
                        "whether any input of channel {name} is present; where not, its error is NaN and its flag says nothing"
                    );
                    self.graph.output(
                        port(&format!("evaluated_{stem}"), Kind::Bool, &[], &description),
                        present,
                    );
                }
            }
        }
        if members.len() > 1 {
            let spread = self.spread(&members);
            let single = self.graph.cast(&spread, Kind::Float);
            self.graph.output(
                port(
                    "spread",
                    Kind::Float,
                    &[],
                    "standard deviation (ddof 1) of the members' errors",
                ),
                &single,
            );
        }
        let mut description =
            "whether the inputs, as they are and scaled, and the errors are finite".to_owned();
        if model.columns().is_none() && model.experiment.select.drop_empty == DropEmpty::All {
            let parts = if model.scaler.layers.is_empty() {
                vec![read]
            } else {
                self.layers_of(&model.scaler.layers, &read)
            };
            evaluated.extend(parts.iter().map(|part| self.filled(part)).collect::<Vec<_>>());
            description += ", and the row, and each layer of it, holds anything";
        }
        if let Some(enough) = self.enough() {
            evaluated.push(enough);
            description += ", and enough inputs are present (data.min_present)";
        }
        for said in &said {
            let finite = self.finite(&said.error);
            evaluated.push(match &said.present {
                None => finite,
                Some(present) => {
                    let absent = self.graph.node("Not", &[present], &[]);
                    self.graph.node("Or", &[&finite, &absent], &[])
                }
            });
        }
        evaluated.push(self.finite(&error));
        let all = evaluated.into_iter().reduce(|a, b| self.graph.node("And", &[&a, &b], &[]));
        description += "; a row that is not evaluated is neither good nor bad, whatever its flag";
        all.iter().for_each(|all| {
            self.graph.output(port("evaluated", Kind::Bool, &[], &description), all)
        });
        Ok(())
    }

    /// A score with what it is held against: outputs `error` and `flag`.
    fn judged(&mut self, suffix: &str, channel: &str, score: &Value) -> Result<()> {
        let found = self.model.thresholds.iter().find(|threshold| threshold.channel == channel);
        let (threshold, value) = found
            .and_then(|threshold| Some((threshold, threshold.value?)))
            .ok_or_else(|| no_threshold(channel, found))?;
        let single = self.graph.cast(score, Kind::Float);
        let of = if channel == COMBINED {
            "all channels together".to_owned()
        } else {
            format!("channel {channel}")
        };
        let config = &self.model.experiment.score;
        let how = if channel == COMBINED { config.combine.name() } else { config.kind.name() };
        let port_of = |name: &str, kind, description: &str| {
            port(&format!("{name}{suffix}"), kind, &[], description)
        };
        self.graph.output(
            port_of("error", Kind::Float, &format!("score of {of} ({how}); higher is worse")),
            &single,
        );
        let value = self.graph.double(value);
        let flag = self.graph.node("Greater", &[score, &value], &[]);
        self.graph.output(
            port_of(
                "flag",
                Kind::Bool,
                &format!("whether the score of {of} is above {}", threshold.describe()),
            ),
            &flag,
        );
        Ok(())
    }

    /// The inputs of the networks, `[N, inputs]`: scaled bins and quantities beside them. With them
    /// come the conditions on which a row is evaluated, `[N]` each: all numbers are finite and not
    /// too large, before and after scaling, and nothing is divided by 0.
    fn scaled(&mut self, read: &Value) -> (Value, Vec<Value>) {
        let Scaler { steps, added, layers, clip, .. } = &self.model.scaler;
        let mut inputs = 0;
        let mut further = |graph: &mut Graph, names: &[String], description: &str| {
            inputs += 1;
            let port = port(&format!("input_{inputs}"), Kind::Float, &[names.len()], description);
            graph.input(Port { columns: names.to_vec(), ..port })
        };
        let added = added.as_ref().map(|added| {
            (
                added,
                further(
                    &mut self.graph,
                    &added.names,
                    "quantities beside the bins (data.add_inputs), as they are",
                ),
            )
        });
        let (mut bins, mut evaluated) = (read.clone(), vec![]);
        if let Some(quantity) = self.model.experiment.scale.divide_by.as_ref() {
            let divisor = further(
                &mut self.graph,
                &[quantity.to_string()],
                "what every bin is divided by (scale.divide_by)",
            );
            bins = self.divided(&bins, &divisor);
            evaluated.push(self.divides(&divisor));
        }
        evaluated.push(self.within(&bins, finite::LARGEST_CONTENT));
        bins = self.fill(&bins, false);
        for step in steps {
            if step.kind.by_row() {
                bins = self.without_gaps(&bins);
            }
            bins = if step.kind.by_row() && !layers.is_empty() {
                self.by_layer(step, layers, &bins)
            } else {
                self.step(step, self.model.scaler.width, &bins)
            };
        }
        if let Some(clip) = clip {
            // NaN stays, as in what follows: operators such as Min differ in that between runtimes.
            let clip = self.graph.floats(&[*clip as f32], &[]);
            let above = self.graph.node("Greater", &[&bins, &clip], &[]);
            bins = self.graph.node("Where", &[&above, &clip, &bins], &[]);
        }
        bins = self.fill(&bins, true);
        if let Some((added, quantities)) = added {
            evaluated.push(self.within(&quantities, finite::LARGEST_CONTENT));
            let quantities = self.step(&added.step, added.names.len(), &quantities);
            bins = self.graph.node(
                "Concat",
                &[&bins, &quantities],
                &[("axis", Attribute::Integer(1))],
            );
        }
        evaluated.push(self.within(&bins, finite::LARGEST_INPUT));
        (bins, evaluated)
    }

    /// Rows divided by a number each.
    fn divided(&mut self, rows: &Value, divisor: &Value) -> Value {
        let (rows, divisor) =
            (self.graph.cast(rows, Kind::Double), self.graph.cast(divisor, Kind::Double));
        let quotient = self.graph.node("Div", &[&rows, &divisor], &[]);
        self.graph.cast(&quotient, Kind::Float)
    }

    /// Whether a row can be divided by its number, `[N]`: it is finite and not 0.
    fn divides(&mut self, divisor: &Value) -> Value {
        let within = self.within(divisor, f32::MAX);
        let nonzero = self.filled(divisor);
        self.graph.node("And", &[&within, &nonzero], &[])
    }

    /// Whether no number of a row is NaN or beyond the largest, `[N]`.
    fn within(&mut self, rows: &Value, largest: f32) -> Value {
        let graph = &mut self.graph;
        let (largest, zero) = (graph.floats(&[largest], &[]), graph.floats(&[0.0], &[]));
        let size = graph.node("Abs", &[rows], &[]);
        let fits = graph.node("LessOrEqual", &[&size, &largest], &[]);
        let beyond = graph.node("Not", &[&fits], &[]);
        let beyond = graph.cast(&beyond, Kind::Float);
        let beyond = sum(graph, &beyond, false);
        graph.node("Equal", &[&beyond, &zero], &[])
    }

    /// Whether a number in double precision is finite, row by row.
    fn finite(&mut self, numbers: &Value) -> Value {
        let largest = self.graph.double(f64::MAX);
        let size = self.graph.node("Abs", &[numbers], &[]);
        self.graph.node("LessOrEqual", &[&size, &largest], &[])
    }

    /// The bins of each layer.
    fn layers_of(&mut self, layers: &[usize], rows: &Value) -> Vec<Value> {
        let axis = self.graph.integers(&[1]);
        let mut start = 0;
        let mut part = |bins: &usize| {
            let (from, to) =
                (self.graph.integers(&[start]), self.graph.integers(&[start + *bins as i64]));
            start += *bins as i64;
            self.graph.node("Slice", &[rows, &from, &to, &axis], &[])
        };
        layers.iter().map(&mut part).collect()
    }

    /// A step that goes by the row, for each layer by itself.
    fn by_layer(&mut self, step: &Step, layers: &[usize], rows: &Value) -> Value {
        let parts = self.layers_of(layers, rows);
        let gaps = self.gaps.take();
        let missing = gaps.as_ref().map(|gaps| self.layers_of(layers, &gaps.missing));
        let mut scaled = vec![];
        for (at, (layer, bins)) in parts.iter().zip(layers).enumerate() {
            self.gaps = missing.as_ref().map(|missing| Gaps { missing: missing[at].clone() });
            scaled.push(self.step(step, *bins, layer));
        }
        self.gaps = gaps;
        self.graph.node(
            "Concat",
            &scaled.iter().collect::<Vec<_>>(),
            &[("axis", Attribute::Integer(1))],
        )
    }

    /// A step of scaling of so many inputs.
    fn step(&mut self, step: &Step, inputs: usize, rows: &Value) -> Value {
        let count = (step.kind == ScaleKind::MeanOne).then(|| self.bins_present(inputs));
        let graph = &mut self.graph;
        // What is divided by infinity is 0.
        let divisor = || {
            step.divisor
                .iter()
                .map(|divisor| if *divisor == 0.0 { f64::INFINITY } else { *divisor })
        };
        let width = [step.divisor.len()];
        match step.kind {
            ScaleKind::None => rows.clone(),
            ScaleKind::Sqrt => {
                let zero = graph.floats(&[0.0], &[]);
                let negative = graph.node("Less", &[rows, &zero], &[]);
                let positive = graph.node("Where", &[&negative, &zero, rows], &[]);
                graph.node("Sqrt", &[&positive], &[])
            }
            ScaleKind::Log1p => {
                let (zero, one) = (graph.double(0.0), graph.double(1.0));
                let rows = graph.cast(rows, Kind::Double);
                let negative = graph.node("Less", &[&rows, &zero], &[]);
                let positive = graph.node("Where", &[&negative, &zero, &rows], &[]);
                let more = graph.node("Add", &[&positive, &one], &[]);
                let log = graph.node("Log", &[&more], &[]);
                graph.cast(&log, Kind::Float)
            }
            ScaleKind::UnitArea | ScaleKind::MeanOne => {
                let rows = graph.cast(rows, Kind::Double);
                let zero = graph.double(0.0);
                let area = sum(graph, &rows, true);
                let lacks = graph.node("LessOrEqual", &[&area, &zero], &[]);
                let whole = count
                    .map_or_else(|| area.clone(), |count| graph.node("Div", &[&area, &count], &[]));
                let share = graph.node("Div", &[&rows, &whole], &[]);
                let share = graph.node("Where", &[&lacks, &zero, &share], &[]);
                graph.cast(&share, Kind::Float)
            }
            ScaleKind::MinMax => {
                let shift = graph.floats(
                    &step.shift.iter().map(|shift| *shift as f32).collect::<Vec<_>>(),
                    &width,
                );
                let divisor = graph
                    .floats(&divisor().map(|divisor| divisor as f32).collect::<Vec<_>>(), &width);
                let shifted = graph.node("Sub", &[rows, &shift], &[]);
                graph.node("Div", &[&shifted, &divisor], &[])
            }
            ScaleKind::Range
            | ScaleKind::Standard
            | ScaleKind::Robust
            | ScaleKind::BinMean
            | ScaleKind::Reference => {
                let (shift, divisor) = (
                    graph.doubles(&step.shift, &width),
                    graph.doubles(&divisor().collect::<Vec<_>>(), &width),
                );
                let rows = graph.cast(rows, Kind::Double);
                let shifted = graph.node("Sub", &[&rows, &shift], &[]);
                let scaled = graph.node("Div", &[&shifted, &divisor], &[]);
                graph.cast(&scaled, Kind::Float)
            }
        }
    }

    /// What the members of a channel's ensemble say of its inputs.
    fn network(
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
    fn with_divergence(
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

    fn layers(
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

    fn activation(&mut self, kind: Activation, slope: Option<f32>, value: &Value) -> Value {
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
    fn error(
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

    /// The mean of some values of a kind.
    fn mean(&mut self, values: &[Value], kind: Kind) -> Value {
        if let [only] = values {
            return only.clone();
        }
        let number = self.graph.double(values.len() as f64);
        let number = if kind == Kind::Double { number } else { self.graph.cast(&number, kind) };
        let sum = self.graph.node("Sum", &values.iter().collect::<Vec<_>>(), &[]);
        self.graph.node("Div", &[&sum, &number], &[])
    }

    /// One score of the channels' errors, of those that are present.
    fn combined(&mut self, errors: &[(Value, Option<Value>)]) -> Value {
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

    /// The standard deviation (ddof 1) of the members' scores.
    fn spread(&mut self, members: &[Value]) -> Value {
        let mean = self.mean(members, Kind::Double);
        let graph = &mut self.graph;
        let squares: Vec<Value> = members
            .iter()
            .map(|member| {
                let difference = graph.node("Sub", &[member, &mean], &[]);
                graph.node("Mul", &[&difference, &difference], &[])
            })
            .collect();
        let sum = graph.node("Sum", &squares.iter().collect::<Vec<_>>(), &[]);
        let divisor = graph.double(members.len() as f64 - 1.0);
        let variance = graph.node("Div", &[&sum, &divisor], &[]);
        graph.node("Sqrt", &[&variance], &[])
    }

    /// Whether a row has a bin that is not 0, `[N]`.
    fn filled(&mut self, read: &Value) -> Value {
        let graph = &mut self.graph;
        let size = graph.node("Abs", &[read], &[]);
        let sum = sum(graph, &size, false);
        let zero = graph.floats(&[0.0], &[]);
        graph.node("Greater", &[&sum, &zero], &[])
    }
}

fn standardised(graph: &mut Graph, baseline: &ErrorBaseline, log: &Value) -> Value {
    let (mean, scale) = (graph.double(baseline.log_mean), graph.double(baseline.log_scale()));
    let centred = graph.node("Sub", &[log, &mean], &[]);
    graph.node("Div", &[&centred, &scale], &[])
}

/// The sum over the columns of each row: `[N, 1]` to be divided by, or `[N]`.
fn sum(graph: &mut Graph, rows: &Value, keep: bool) -> Value {
    let columns = graph.integers(&[1]);
    graph.node("ReduceSum", &[rows, &columns], &[("keepdims", Attribute::Integer(i64::from(keep)))])
}

fn port(name: &str, kind: Kind, lengths: &[usize], description: &str) -> Port {
    Port {
        name: name.into(),
        kind,
        lengths: lengths.to_vec(),
        description: description.into(),
        columns: vec![],
    }
}

fn no_threshold(channel: &str, found: Option<&Calibrated>) -> Error {
    match found {
        Some(_) => Error::input(
            "export: threshold.on = \"scored\" takes the threshold on each scored run itself, so there is none to write; \
             `lumisift calibrate` sets one on good data",
        ),
        None => Error::input(format!("export: thresholds.json has none for channel {channel}")),
    }
}
