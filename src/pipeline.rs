//! The stages in a row: what `train`, `score`, `calibrate` and `check` share.

use crate::{
    config::{
        Experiment, Expression, Threshold,
        raw::{CalibrateOn, FitOn, OneOrMany, ScaleKind, SplitBy, TrainOn, ValidateOn},
    },
    data::{self, Further, Role, Samples, facts::Facts},
    device::Opened,
    error::{Error, Result, listed, suggestion},
    model::{Architecture, weights},
    prepare::{
        labels::{self, LabelSet},
        quantities::{self, Quantity},
        scale::Scaler,
        select,
        split::{self, Split},
    },
    report::{
        folder::{ALL_FEATURES, Model},
        scores::Scores,
    },
    score::{
        error::errors,
        threshold::{self, Calibrated},
    },
    train::{Epoch, Fitted, Job, Rows, fit},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Rows that are ready for a model.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Rows as read.
    pub samples: Samples,
    /// What is known about them.
    pub labels: Vec<LabelSet>,
    /// What each row is for.
    pub splits: Vec<Split>,
    /// How much each row counts, where the config says so.
    pub weights: Option<Vec<f32>>,
    /// How bins become inputs.
    pub scaler: Scaler,
    /// Inputs, `[rows, inputs]`: the scaled bins and what is added to them.
    pub inputs: Vec<f32>,
    /// What is worth knowing about files and labels.
    pub notes: Vec<String>,
}

/// Rows that are selected, with what is known about them.
struct Chosen {
    samples: Samples,
    labels: Vec<LabelSet>,
    weights: Option<Vec<f32>>,
    /// Inputs before they are scaled.
    inputs: Vec<f32>,
    notes: Vec<String>,
}

/// Reads, selects, splits and scales the files of an experiment. `read` is told of each file that has been read.
pub fn prepare(experiment: &Experiment, read: &(dyn Fn(&Path) + Sync)) -> Result<Prepared> {
    let config = &experiment.config;
    let files = [(Role::Train, experiment.train_files.as_slice()), (Role::Test, experiment.test_files.as_slice())];
    let required: Vec<String> = labels::columns(experiment).into_iter().chain(config.split.column.clone()).collect();
    let Chosen { samples, labels, weights, mut inputs, notes } = choose(experiment, &files, Further { required, ..Further::default() }, read)?;
    let told = |message: String| notes.iter().fold(message, |message, note| format!("{message}\n  {note}"));
    let splits = split::split(&samples, &labels, experiment).map_err(|error| error.map(told))?;
    let width = samples.width() + experiment.added.len();
    let fitted_on: Vec<&[f32]> = inputs
        .chunks_exact(width)
        .zip(&splits)
        .filter(|(_, split)| config.scale.fit_on == FitOn::All || **split == Split::Train)
        .map(|(row, _)| row)
        .collect();
    let added = (!experiment.added.is_empty()).then(|| (config.scale.added, experiment.added.iter().map(Expression::to_string).collect()));
    let scaler = Scaler::fit(&experiment.scale, config.scale.fit_on, &fitted_on, samples.width(), added);
    scale(&scaler, &samples, &mut inputs);
    Ok(Prepared { samples, labels, splits, weights, scaler, inputs, notes })
}

/// Reads files and selects rows.
fn choose(experiment: &Experiment, files: &[(Role, &[PathBuf])], mut further: Further, read: &(dyn Fn(&Path) + Sync)) -> Result<Chosen> {
    let names = quantities::names(experiment);
    let facts = Facts::read(&experiment.facts, &names)?;
    let columns = quantities::columns(&names, &facts);
    further.required.extend(columns.iter().cloned());
    further.welcome.extend(names.get("entries").cloned());
    let load = data::load(experiment, files, further, read);
    let samples = load.map_err(|error| error.map(|message| with_fact_names(message, &columns, &facts)))?;
    let (labels, label_notes) = labels::read(&samples, experiment)?;
    let weights = match &experiment.weight {
        Some(expression) => Some(Quantity::new("weights", expression, &samples, &facts)?.numbers("weights", &samples)?),
        None => None,
    };
    let weights = weights.map(|weights| weights.into_iter().map(|weight| weight as f32).collect::<Vec<f32>>());
    let notes = samples.notes.iter().cloned().chain(label_notes).collect();
    let mut chosen = Chosen { samples, labels, weights, inputs: vec![], notes };
    let rows = chosen.samples.rows.len();
    let (reasons, notes) = select::reasons(&chosen.samples, experiment, &facts, chosen.weights.as_deref())?;
    chosen.notes.extend(notes);
    chosen.reject(reasons);
    let given = chosen.give(experiment, &facts)?;
    if chosen.samples.rows.is_empty() {
        let found: Vec<String> = select::counts(&chosen.samples).into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        return Err(Error::input(format!("no rows left of {rows}: {}", found.join(", "))));
    }
    chosen.inputs = join_inputs(experiment, &chosen.samples, &given);
    Ok(chosen)
}

/// Keeps the entries of rows against which there is no reason.
fn retain<T>(values: &mut Vec<T>, reasons: &[Option<String>]) {
    let mut reasons = reasons.iter();
    values.retain(|_| reasons.next().is_some_and(Option::is_none));
}

impl Chosen {
    /// Rejects rows, with what is known about them.
    fn reject(&mut self, reasons: Vec<Option<String>>) {
        let before = self.samples.rejected.len();
        let against: Vec<usize> = (0..reasons.len()).filter(|&row| reasons[row].is_some()).collect();
        let known: Vec<Vec<Option<bool>>> = against.iter().map(|&row| self.labels.iter().map(|set| set.good[row]).collect()).collect();
        self.labels.iter_mut().for_each(|set| retain(&mut set.good, &reasons));
        self.weights.iter_mut().for_each(|weights| retain(weights, &reasons));
        self.samples.reject(reasons);
        self.samples.rejected[before..].iter_mut().zip(known).for_each(|(rejected, labels)| rejected.labels = labels);
    }

    /// The quantities that rows are given: `data.add_inputs`, then `scale.divide_by`. Rows for which one is unknown are rejected.
    fn give(&mut self, experiment: &Experiment, facts: &Facts) -> Result<Vec<Vec<f64>>> {
        let added = experiment.added.iter().map(|expression| ("data.add_inputs", expression));
        let divide_by = experiment.divide_by.iter().map(|expression| ("scale.divide_by", expression));
        let mut given = vec![];
        let mut reasons: Vec<Option<String>> = vec![None; self.samples.rows.len()];
        for (key, expression) in added.chain(divide_by) {
            let quantity = Quantity::new(key, expression, &self.samples, facts)?;
            given.push(quantity.numbers(key, &self.samples)?);
            reasons.iter_mut().zip(quantity.reasons).for_each(|(first, reason)| *first = first.take().or(reason));
        }
        given.iter_mut().for_each(|numbers| retain(numbers, &reasons));
        self.reject(reasons);
        Ok(given)
    }
}

/// A name that is no column may be a misspelt quantity of OMS or HLT.
fn with_fact_names(message: String, columns: &[String], facts: &Facts) -> String {
    let mut near =
        columns.iter().filter(|name| message.contains(&format!("\"{name}\""))).map(|name| suggestion(name, facts.names.iter().map(String::as_str)));
    let missing = columns.iter().any(|name| message.contains(&format!("no column \"{name}\"")));
    match near.rfind(|near| !near.is_empty()) {
        Some(near) => format!("{message}; among the quantities of OMS, HLT and brilcalc files{near}"),
        None if missing && facts.names.is_empty() => format!("{message}; quantities of OMS need data.oms, rates of triggers data.hlt"),
        None if missing => {
            let names = listed(facts.names.iter().map(String::as_str));
            format!("{message}; the quantities of OMS, HLT and brilcalc files are {names}")
        }
        None => message,
    }
}

/// Unscaled inputs, `[rows, width + added]`.
fn join_inputs(experiment: &Experiment, samples: &Samples, given: &[Vec<f64>]) -> Vec<f32> {
    if given.is_empty() {
        return samples.values.clone();
    }
    let added = &given[..experiment.added.len()];
    let divisor = experiment.divide_by.as_ref().and(given.last());
    let mut inputs = Vec::with_capacity(samples.rows.len() * (samples.width() + added.len()));
    for row in 0..samples.rows.len() {
        match divisor.map(|divisor| divisor[row]) {
            None => inputs.extend_from_slice(samples.row(row)),
            Some(0.0) => inputs.extend(std::iter::repeat_n(0.0, samples.width())),
            Some(divisor) => inputs.extend(samples.row(row).iter().map(|value| (f64::from(*value) / divisor) as f32)),
        }
        inputs.extend(added.iter().map(|numbers| numbers[row] as f32));
    }
    inputs
}

/// Scales inputs in place. With `fit_on = "each-file"` every file is scaled by its own rows.
fn scale(scaler: &Scaler, samples: &Samples, inputs: &mut [f32]) {
    if scaler.fit_on != FitOn::EachFile {
        return scaler.apply(inputs);
    }
    let width = scaler.inputs();
    for source in 0..samples.sources.len() as u32 {
        let rows: Vec<usize> = (0..samples.rows.len()).filter(|&i| samples.rows[i].source == source).collect();
        let own: Vec<&[f32]> = rows.iter().map(|&i| &inputs[i * width..(i + 1) * width]).collect();
        let own = scaler.refit(&own);
        rows.iter().for_each(|&i| own.apply(&mut inputs[i * width..(i + 1) * width]));
    }
}

/// The weights to start from, flat `[parameters]`: drawn, or read from `train.init`.
pub fn initial_weights(experiment: &Experiment, architecture: &Architecture) -> Result<Vec<f32>> {
    match &experiment.init {
        None => Ok(architecture.draw(experiment.config.model.init, experiment.config.seed, 0)),
        Some(path) if path.is_dir() => weights::read(&path.join(format!("{ALL_FEATURES}.safetensors")), architecture),
        Some(path) => weights::read(path, architecture),
    }
}

/// Trains on the training rows, watching the validation rows.
pub fn train(
    experiment: &Experiment,
    architecture: &Architecture,
    start: &[f32],
    prepared: &Prepared,
    device: &Opened,
    on_epoch: &mut dyn FnMut(&Epoch) -> Result<()>,
) -> Result<Fitted> {
    let of_split = |wanted: Split| (0..prepared.splits.len() as u32).filter(|&i| prepared.splits[i as usize] == wanted).collect::<Vec<u32>>();
    let (train, valid) = (of_split(Split::Train), of_split(Split::Valid));
    let rows = Rows::new(&prepared.inputs, prepared.scaler.inputs()).weighted(prepared.weights.as_deref());
    let watched = match experiment.config.train.validate_on {
        ValidateOn::Train => Some(rows.at(&train)),
        ValidateOn::Valid => Some(rows.at(&valid)).filter(|rows| !rows.is_empty()),
    };
    fit(&Job { experiment, architecture, start, seed: experiment.config.seed, train: rows.at(&train), valid: watched }, device, on_epoch)
}

/// Scores every row and puts the rejected ones beside them; nothing is flagged yet.
pub fn score(experiment: &Experiment, architecture: &Architecture, weights: &[f32], prepared: &Prepared, device: &Opened) -> Result<Scores> {
    let scores = errors(experiment.config.score.kind, architecture, weights, &prepared.inputs, &device.device)?;
    if let Some(i) = scores.iter().position(|score| !score.is_finite()) {
        let place = prepared.samples.place(i);
        return Err(Error::failed(format!("the score of {} ({place}) is not finite", prepared.samples.id(i))));
    }
    Ok(Scores::new(&prepared.samples, &prepared.splits, &prepared.labels, ALL_FEATURES, &scores))
}

/// Scores new files with a trained model: same scaler, same network. Rows have no split but test.
pub fn score_files(model: &Model, files: &[PathBuf], device: &Opened, read: &(dyn Fn(&Path) + Sync)) -> Result<(Prepared, Scores)> {
    let experiment = &model.experiment;
    // Labels are welcome and weights do not matter: nothing is trained.
    let mut unweighted = experiment.clone();
    unweighted.weight = None;
    unweighted.config.select.nonzero_weight = false;
    let features = model.columns().map(<[String]>::to_vec);
    let further = Further { welcome: labels::columns(experiment), features, ..Further::default() };
    let Chosen { samples, labels, mut inputs, notes, .. } = choose(&unweighted, &[(Role::Test, files)], further, read)?;
    let names = samples.feature_names();
    let (found, trained) = match (&samples.element, &model.element) {
        (Some(element), Some(trained)) if element != trained => (format!("holds {element}"), trained.clone()),
        _ if samples.width() != model.scaler.width => (format!("{} bins", samples.width()), model.scaler.width.to_string()),
        _ => match model.features.iter().zip(&names).find(|(trained, name)| trained != name) {
            Some((trained, name)) => (format!("has the feature \"{name}\""), format!("\"{trained}\"")),
            None => (String::new(), String::new()),
        },
    };
    if !found.is_empty() {
        let first = samples.sources.first().map(|source| source.path.display().to_string()).unwrap_or_default();
        return Err(Error::input(format!("{first}: {found}, but the model was trained on {trained}")));
    }
    let splits = vec![Split::Test; samples.rows.len()];
    scale(&model.scaler, &samples, &mut inputs);
    let prepared = Prepared { samples, labels, splits, weights: None, scaler: model.scaler.clone(), inputs, notes };
    let scores = score(experiment, &model.architecture, &model.weights, &prepared, device)?;
    Ok((prepared, scores))
}

/// The split whose scores a config calibrates on.
pub fn calibration_split(on: CalibrateOn) -> Split {
    match on {
        CalibrateOn::Train => Split::Train,
        CalibrateOn::Valid => Split::Valid,
        CalibrateOn::Scored => Split::Test,
    }
}

/// Finds the thresholds of a config on the scores of one split. `files` are named as their origin.
pub fn calibrate(thresholds: &[Threshold], on: CalibrateOn, scores: &Scores, split: Split, files: &[String]) -> Result<Vec<Calibrated>> {
    let runs = scores.of_split(split);
    let slices: Vec<&[f64]> = runs.iter().map(Vec::as_slice).collect();
    let rows = slices.iter().map(|run| run.len()).sum();
    thresholds
        .iter()
        .map(|threshold| {
            let fixed = matches!(threshold, Threshold::Fixed { .. });
            let (value, rows, runs, files) = match on {
                CalibrateOn::Scored if !fixed => (None, 0, 0, vec![]),
                _ if fixed => (Some(threshold::value(threshold, &[])?), 0, 0, vec![]),
                _ => (Some(threshold::value(threshold, &slices)?), rows, slices.len(), files.to_vec()),
            };
            Ok(Calibrated { channel: ALL_FEATURES.into(), threshold: *threshold, on, value, rows, runs, files })
        })
        .collect()
}

/// Refuses thresholds that the rows of the calibration split cannot give, before anything is trained.
pub fn check_thresholds(experiment: &Experiment, prepared: &Prepared) -> Result<()> {
    let on = experiment.config.threshold.on;
    let wanted = |row: usize| on == CalibrateOn::Scored || prepared.splits[row] == calibration_split(on);
    let lengths = prepared.samples.run_ranges().into_iter().map(|range| range.filter(|&row| wanted(row)).count());
    let zeros: Vec<Vec<f64>> = lengths.filter(|&length| length > 0).map(|length| vec![0.0; length]).collect();
    for threshold in experiment.thresholds.iter().filter(|threshold| !matches!(threshold, Threshold::Fixed { .. })) {
        if on == CalibrateOn::Scored {
            zeros.iter().try_for_each(|run| threshold::value(threshold, &[run]).map(|_| ()))?;
        } else {
            threshold::value(threshold, &zeros.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// What a config and its data make doubtful, in plain words.
pub fn warnings(experiment: &Experiment, architecture: &Architecture, prepared: &Prepared) -> Vec<String> {
    let config = &experiment.config;
    let (bins, width) = (prepared.samples.width(), prepared.scaler.inputs());
    let count = |wanted: Split| prepared.splits.iter().filter(|split| **split == wanted).count();
    let mut warnings = prepared.notes.clone();
    let mut warn = |warning: String| warnings.push(warning);

    if architecture.latent() >= width {
        warn(format!(
            "the latent layer ({}) is not narrower than the input ({width}): an overcomplete autoencoder can copy its input, anomalies included",
            architecture.latent()
        ));
    }
    let (low, high) = config.model.output_activation.range();
    let outside = |wanted: Split| {
        let (mut out, mut all) = (0_usize, 0_usize);
        for (_, row) in prepared.splits.iter().zip(prepared.inputs.chunks_exact(width)).filter(|(split, _)| **split == wanted) {
            all += row.len();
            out += row.iter().filter(|value| **value < low || **value > high).count();
        }
        (out > 0).then(|| format!("{:.2} %", 100.0 * out as f64 / all as f64))
    };
    for (what, split) in [("training", Split::Train), ("test", Split::Test)] {
        if let Some(share) = outside(split) {
            warn(format!(
                "{share} of the scaled {what} values lie outside what a {} output can reach ({low} to {high})",
                config.model.output_activation
            ));
        }
    }
    if config.split.by == SplitBy::Random && !prepared.samples.events && (config.split.valid > 0.0 || config.split.test > 0.0) {
        warn("rows are split one by one: neighbouring LSs are nearly equal and end up on both sides, so held-out figures are too good; split by run or block".into());
    }
    let runs_of = |wanted: &dyn Fn(usize) -> bool| -> BTreeSet<u32> {
        let samples = &prepared.samples;
        (0..samples.rows.len()).filter(|&i| samples.id(i).run.is_some() && wanted(i)).map(|i| samples.rows[i].run).collect()
    };
    let trained = runs_of(&|i| prepared.splits[i] == Split::Train);
    let tested = runs_of(&|i| prepared.samples.source(i).role == Role::Test);
    if let Some(run) = trained.intersection(&tested).next() {
        let name = &prepared.samples.runs[*run as usize].name;
        warn(format!("run {name} is in data.train and in data.test: its test rows are neighbours of training rows"));
    }
    if config.train.validate_on == ValidateOn::Train {
        warn("the validation loss is taken on the training rows: it says nothing about new data".into());
    }
    if config.threshold.on == CalibrateOn::Scored && !matches!(experiment.thresholds[0], Threshold::Fixed { .. }) {
        warn("thresholds are taken on each scored run itself: they always flag something, and no false-alarm rate is known".into());
    }
    if config.scale.fit_on == FitOn::EachFile {
        warn("each file is scaled by its own range: scores of different files are not comparable".into());
    }
    if config.scale.fit_on == FitOn::All && config.scale.kind != OneOrMany::One(ScaleKind::None) {
        warn("the scaling is fitted on all rows, test rows included".into());
    }
    if prepared.labels.first().is_none_or(|set| set.name != "good") {
        warn("no labels (labels.good): every row of data.train is taken for good".into());
    } else if config.labels.train_on == TrainOn::All {
        warn("bad and unlabelled rows are trained on (labels.train_on = \"all\")".into());
    }
    let constant = prepared.scaler.constant_bins();
    if !constant.is_empty() {
        let what = if prepared.samples.features.is_some() { "features" } else { "bins" };
        let verb = if constant.len() == 1 { "is" } else { "are" };
        warn(format!("{} of {bins} {what} {verb} constant in the training rows: no news unless they change", constant.len()));
    }
    if experiment.scale.contains(&ScaleKind::UnitArea) {
        let zero = (0..prepared.samples.rows.len()).filter(|&i| prepared.samples.row(i).iter().sum::<f32>() <= 0.0).count();
        if zero > 0 {
            warn(format!("{zero} rows have no area: \"unit-area\" makes them 0"));
        }
    }
    let flags = flag_like(&prepared.samples);
    if !flags.is_empty() {
        warn(format!(
            "{} only ever 0 or 1: if {} a label, data.columns.ignore leaves it out of the inputs",
            flags.join(", ") + if flags.len() == 1 { " is" } else { " are" },
            if flags.len() == 1 { "it is" } else { "one of them is" }
        ));
    }
    if config.split.valid > 0.0 && count(Split::Valid) == 0 {
        warn("no validation rows are left after selection".into());
    }
    warnings
}

/// The first few features that only ever are 0 or 1, both of which occur.
fn flag_like(samples: &Samples) -> Vec<String> {
    const MOST: usize = 5;
    let Some(names) = &samples.features else { return vec![] };
    let mut seen = vec![(false, false); names.len()];
    let mut other = vec![false; names.len()];
    for row in samples.values.chunks_exact(samples.width().max(1)) {
        for ((seen, other), value) in seen.iter_mut().zip(&mut other).zip(row) {
            seen.0 |= *value == 0.0;
            seen.1 |= *value == 1.0;
            *other |= *value != 0.0 && *value != 1.0;
        }
    }
    let flag = |at: &usize| seen[*at] == (true, true) && !other[*at];
    (0..names.len()).filter(flag).take(MOST).map(|at| names[at].clone()).collect()
}
