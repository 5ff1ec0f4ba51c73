//! What `lumisift score` does to a row, as an ONNX graph: raw bins in; reconstruction, error and
//! flag out.
//!
//! The scaling, the networks, the scores and the thresholds are all inside. Networks compute in
//! single precision, scaling and errors in double where scoring does, so that both agree to
//! rounding.

mod building;
mod missing;
mod networks;
mod scaling;

use crate::{
    config::{scale::FitOn, select::DropEmpty},
    data::{channels::COMBINED, shape::Shape},
    error::{Error, Result, listed, suggestion},
    experiment::trained::TrainedModel,
    export::onnx::{Attribute, Graph, Kind, Port, Value},
    model::weights,
    score::{network::Network, threshold::Calibrated},
};
use building::{Building, port};
use networks::Said;

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

    /// A score and its comparison with the threshold: outputs `error` and `flag`.
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
