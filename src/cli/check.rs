//! `lumisift check`: all stages before training.

use super::{Sets, ui::Ui};
use crate::{
    config::{Experiment, channels::Channels, model::ModelKind},
    data::{
        channels::{ALL_FEATURES, Fate, Group},
        shape::Shape,
    },
    device,
    error::{Result, listed},
    experiment::checks,
    prepare::{
        classes::Classes,
        missing::{self, MissingCells},
        select,
        split::Split,
        training,
    },
    report::terminal,
    score::threshold,
    train::init,
};
use clap::Args;
use console::style;
use serde::Serialize;
use std::{fmt::Write as _, path::PathBuf};

/// Check a config and its data, stage by stage, without training
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's TOML file
    config: PathBuf,
    #[command(flatten)]
    sets: Sets,
}

#[derive(Debug, Serialize)]
struct Checked {
    name: String,
    device: String,
    files: Vec<crate::data::Source>,
    bins: usize,
    /// `[y, x]`, y = 1 for histograms and features.
    shape: Shape,
    flow_bins: bool,
    /// Whether each channel is a monitoring element.
    layers: bool,
    /// Names of the features; `None` for histograms.
    features: Option<Vec<String>>,
    /// Added inputs besides the bins.
    added: Vec<String>,
    rows: Vec<(&'static str, usize)>,
    not_evaluated: Vec<(String, usize)>,
    /// Columns with missing cells in evaluated rows.
    missing: Vec<MissingCells>,
    labels: Vec<LabelCounts>,
    classes: Vec<ClassCounts>,
    /// The groups from the names of the features; absent without rules.
    groups: Option<Vec<Group>>,
    /// Number of features excluded by rules.
    left_out: usize,
    channels: Vec<CheckedChannel>,
    batches_per_epoch: usize,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CheckedChannel {
    name: String,
    features: usize,
    /// The monitoring element, if the channel is one.
    element: Option<String>,
    /// `[y, x]` of maps and layers.
    shape: Option<Shape>,
    model: String,
    parameters: usize,
}

#[derive(Debug, Serialize)]
struct ClassCounts {
    name: String,
    /// Number of rows of each value of the column.
    values: Vec<(String, usize)>,
}

#[derive(Debug, Serialize)]
struct LabelCounts {
    name: String,
    origin: String,
    good: usize,
    bad: usize,
    unknown: usize,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let experiment = Experiment::load(&arguments.config, &arguments.sets.sets)?;
    let devices = device::open_all(&experiment.device)?;
    let prepared = {
        let reading = ui.reading(&[&experiment.data.train, &experiment.data.test]);
        training::prepare(&experiment, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    checks::check_rows(&experiment, &prepared)?;
    init::model_inits(&experiment, &prepared.channels)?;
    let architectures = init::architectures(&experiment, &prepared.channels);
    let count = |split: Split| prepared.splits.iter().filter(|one| **one == split).count();
    let labels = prepared.labels.iter().map(|set| {
        let count = |label: Option<bool>| set.good.iter().filter(|good| **good == label).count();
        LabelCounts {
            name: set.name.clone(),
            origin: set.origin.clone(),
            good: count(Some(true)),
            bad: count(Some(false)),
            unknown: count(None),
        }
    });
    let checked = Checked {
        name: experiment.name.clone(),
        device: devices.into_iter().map(|device| device.name).collect::<Vec<_>>().join(", "),
        files: prepared.samples.sources.clone(),
        bins: prepared.samples.width(),
        shape: prepared.samples.shape,
        flow_bins: prepared.samples.flow_bins,
        layers: !prepared.samples.layers.is_empty(),
        features: prepared.samples.features.as_ref().map(|names| names.to_vec()),
        added: experiment.data.add_inputs.iter().map(ToString::to_string).collect(),
        rows: Split::ALL.map(|split| (split.name(), count(split))).to_vec(),
        not_evaluated: select::counts(&prepared.samples),
        missing: prepared.missing_cells(),
        labels: labels.collect(),
        classes: prepared.classes.iter().flat_map(classes).collect(),
        groups: prepared.samples.hierarchy.as_ref().map(|hierarchy| hierarchy.groups.clone()),
        left_out: prepared
            .samples
            .hierarchy
            .as_ref()
            .map_or(0, |hierarchy| hierarchy.left_out.len()),
        channels: prepared
            .channels
            .iter()
            .zip(&architectures)
            .map(|(channel, architecture)| CheckedChannel {
                name: channel.name.clone(),
                features: channel.features.len(),
                element: channel.element.clone(),
                shape: channel.shape,
                model: architecture.describe(),
                parameters: architecture.parameters(),
            })
            .collect(),
        batches_per_epoch: experiment.train.batches(count(Split::Train)),
        warnings: checks::warnings(&experiment, &prepared).texts(),
    };
    if ui.json {
        return ui.print_json(&checked);
    }
    ui.print(&render(&checked, &experiment))?;
    ui.next(&[format!("lumisift train {} --out {}", arguments.config.display(), checked.name)])
}

fn classes(classes: &Classes) -> Vec<ClassCounts> {
    let values =
        |class: usize| classes.values.iter().filter(move |(_, of, _)| *of as usize == class);
    let count = |(class, name): (usize, &String)| ClassCounts {
        name: name.clone(),
        values: values(class).map(|(value, _, rows)| (value.clone(), *rows)).collect(),
    };
    classes.names.iter().enumerate().map(count).collect()
}

/// The groups as text, siblings on one line.
fn tree(groups: &[Group], left_out: usize, config: &Channels) -> String {
    let spread = groups.iter().filter(|group| group.fate == Fate::Spread).count();
    let levels = config
        .levels
        .iter()
        .take(config.depth as usize)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("/");
    let out = if left_out > 0 {
        format!("; {left_out} features are excluded by rules")
    } else {
        String::new()
    };
    let mut text = format!(
        "groups     {} of {levels}, {} channels after spreading{out}\n",
        groups.len(),
        groups.len() - spread
    );
    let parent =
        |group: &Group| group.name.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
    let mut parents: Vec<String> = vec![];
    groups.iter().map(parent).for_each(|name| {
        if !parents.contains(&name) {
            parents.push(name)
        }
    });
    for name in parents {
        let beside = groups.iter().filter(|group| parent(group) == name);
        let shown: Vec<String> = beside
            .map(|group| {
                let own = format!(
                    "{} {}",
                    group.name.rsplit('/').next().unwrap_or_default(),
                    group.features
                );
                match group.fate {
                    Fate::Spread => format!("{own} (spread)"),
                    Fate::Channel(all) if all == group.features => style(own).bold().to_string(),
                    Fate::Channel(all) => style(format!("{own} → {all}")).bold().to_string(),
                    Fate::NotUsed(all) if all == group.features => format!("{own} (not used)"),
                    Fate::NotUsed(all) => format!("{own} → {all} (not used)"),
                }
            })
            .collect();
        let _ = writeln!(
            text,
            "           {}{}",
            if name.is_empty() { name } else { name + ": " },
            shown.join(", ")
        );
    }
    text
}

fn render(checked: &Checked, experiment: &Experiment) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}  on {}", style(&checked.name).bold(), checked.device);
    for file in &checked.files {
        let _ = writeln!(
            text,
            "file       {} ({}, {} rows)",
            file.path.display(),
            file.format,
            file.rows
        );
    }
    let what = match &checked.features {
        Some(names) if checked.groups.is_some() => {
            format!("{} features of {} channels", names.len(), checked.channels.len())
        }
        Some(names) => format!(
            "{} features: {}",
            names.len(),
            terminal::printable(&listed(names.iter().map(String::as_str)))
        ),
        None if checked.layers => {
            format!(
                "{} bins of {}",
                checked.bins,
                crate::text::count(checked.channels.len(), "layer")
            )
        }
        None => format!(
            "{} bins{}",
            checked.shape,
            if checked.flow_bins { " with underflow and overflow" } else { "" }
        ),
    };
    let added = if checked.added.is_empty() {
        String::new()
    } else {
        format!(", and {}", checked.added.join(", "))
    };
    let _ = writeln!(text, "inputs     {what}{added}");
    for channel in checked.channels.iter().filter(|_| checked.layers) {
        let (shape, element) =
            (channel.shape.unwrap_or_default(), channel.element.as_deref().unwrap_or_default());
        let _ = writeln!(
            text,
            "layer      {}: {shape} bins of {}",
            terminal::printable(&channel.name),
            terminal::printable(element)
        );
    }
    let rows: Vec<String> =
        checked.rows.iter().map(|(name, rows)| format!("{rows} {name}")).collect();
    let _ = writeln!(text, "rows       {}", rows.join(", "));
    for (reason, count) in &checked.not_evaluated {
        let _ = writeln!(text, "           {count} not evaluated: {reason}");
    }
    if let Some(told) = missing::told(&checked.missing) {
        let _ = writeln!(
            text,
            "missing    {} (data.fill = \"{}\")",
            terminal::printable(&told),
            experiment.data.fill
        );
    }
    for labels in &checked.labels {
        let _ = writeln!(
            text,
            "labels     {} ({}): {} good, {} bad, {} unknown",
            labels.name, labels.origin, labels.good, labels.bad, labels.unknown
        );
    }
    for class in &checked.classes {
        let rows: usize = class.values.iter().map(|(_, rows)| rows).sum();
        let values: Vec<String> =
            class.values.iter().map(|(value, rows)| format!("{value}: {rows}")).collect();
        let _ = writeln!(
            text,
            "class      {}: {rows} ({})",
            class.name,
            listed(values.iter().map(String::as_str))
        );
    }
    let steps: Vec<&str> = experiment.scale.steps().iter().map(|step| step.name()).collect();
    let _ = writeln!(
        text,
        "scaling    {}, fitted on {}",
        steps.join(", then "),
        experiment.scale.fit_on
    );
    if let Some(groups) = &checked.groups {
        text.push_str(&tree(groups, checked.left_out, &experiment.channels));
    }
    for channel in &checked.channels {
        let of = if channel.name == ALL_FEATURES {
            String::new()
        } else {
            format!("{}: ", channel.name)
        };
        let members = experiment.train.ensemble;
        let members = if members > 1 { format!(", ensemble of {members}") } else { String::new() };
        let _ = writeln!(
            text,
            "model      {of}{}, {} parameters{members}",
            channel.model, channel.parameters
        );
    }
    let train = &experiment.train;
    let batches = match checked.batches_per_epoch {
        1 => "one batch".into(),
        batches => format!("{batches} batches of {}", train.batch_size),
    };
    let rule = match experiment.model.kind {
        ModelKind::Nmf => format!("solver {}", experiment.model.nmf.solver),
        ModelKind::Dense => {
            format!("{} at {}", train.optimizer.kind, experiment.train.learning_rate())
        }
    };
    let _ = writeln!(
        text,
        "training   {} of {batches}, {rule}",
        crate::text::count(train.epochs as usize, "epoch")
    );
    for threshold in &experiment.threshold.rules() {
        let threshold = threshold::describe(threshold, experiment.threshold.log);
        let _ = writeln!(
            text,
            "threshold  {threshold}, calibrated on {} rows",
            experiment.threshold.on
        );
    }
    for warning in &checked.warnings {
        let _ = writeln!(text, "{} {warning}", style("warning:").yellow().bold());
    }
    text
}
