//! The stages in a row: what `train`, `score`, `calibrate` and `check` share.

use crate::{
    config::{
        Experiment, Threshold,
        raw::{CalibrateOn, FitOn, OneOrMany, ScaleKind, SplitBy, TrainOn, ValidateOn},
    },
    data::{self, Extra, Role, Samples},
    device::Opened,
    error::{Error, Result},
    model::{Architecture, weights},
    prepare::{
        labels::{self, LabelSet},
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
    train::{Epoch, Fitted, Rows, fit},
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
    /// Inputs, `[rows, width]`.
    pub inputs: Vec<f32>,
}

/// Reads, selects, splits and scales the files of an experiment. `read` is told of each file that has been read.
pub fn prepare(experiment: &Experiment, read: &(dyn Fn(&Path) + Sync)) -> Result<Prepared> {
    let config = &experiment.config;
    let files = [(Role::Train, experiment.train_files.as_slice()), (Role::Test, experiment.test_files.as_slice())];
    let mut columns = labels::columns(&config.labels);
    columns.extend(config.weights.column.clone());
    columns.extend(config.split.column.clone());
    let mut samples = data::load(experiment, &files, Extra::Required(&columns), read)?;
    select::select(&mut samples, config.select.drop_empty)?;
    let labels = labels::read(&samples, &config.labels)?;
    let weights = config.weights.column.as_ref().map(|column| labels::weights(&samples, column)).transpose()?;
    let splits = split::split(&samples, &labels, experiment)?;
    let fitted_on = match config.scale.fit_on {
        FitOn::Train | FitOn::EachFile => gather(&samples.values, samples.width, &splits, Split::Train),
        FitOn::All => samples.values.clone(),
    };
    let scaler = Scaler::fit(&experiment.scale, config.scale.fit_on, &fitted_on, samples.width);
    let inputs = scale(&scaler, &samples);
    Ok(Prepared { samples, labels, splits, weights, scaler, inputs })
}

/// Inputs `[rows, width]`. With `fit_on = "each-file"` every file is scaled by its own rows.
fn scale(scaler: &Scaler, samples: &Samples) -> Vec<f32> {
    if scaler.fit_on != FitOn::EachFile {
        return scaler.apply(&samples.values);
    }
    let width = samples.width;
    let mut inputs = vec![0.0; samples.values.len()];
    for source in 0..samples.sources.len() as u32 {
        let rows: Vec<usize> = (0..samples.rows.len()).filter(|&i| samples.rows[i].source == source).collect();
        let values: Vec<f32> = rows.iter().flat_map(|&i| samples.row(i)).copied().collect();
        let scaled = scaler.refit(&values).apply(&values);
        for (&i, row) in rows.iter().zip(scaled.chunks_exact(width)) {
            inputs[i * width..(i + 1) * width].copy_from_slice(row);
        }
    }
    inputs
}

/// The rows of one split, `[rows, width]`.
fn gather(values: &[f32], width: usize, splits: &[Split], wanted: Split) -> Vec<f32> {
    splits.iter().zip(values.chunks_exact(width)).filter(|(split, _)| **split == wanted).flat_map(|(_, row)| row).copied().collect()
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
    let width = prepared.samples.width;
    let part = |wanted: Split| {
        let weights = prepared.weights.as_ref().map(|weights| gather(weights, 1, &prepared.splits, wanted));
        (gather(&prepared.inputs, width, &prepared.splits, wanted), weights)
    };
    let (train, valid) = (part(Split::Train), part(Split::Valid));
    fn rows((values, weights): &(Vec<f32>, Option<Vec<f32>>), width: usize) -> Rows<'_> {
        Rows { values, width, weights: weights.as_deref() }
    }
    let watched = match experiment.config.train.validate_on {
        ValidateOn::Train => Some(rows(&train, width)),
        ValidateOn::Valid => Some(rows(&valid, width)).filter(|rows| !rows.is_empty()),
    };
    fit(experiment, architecture, start, rows(&train, width), watched, device, on_epoch)
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
    let columns = labels::columns(&experiment.config.labels);
    let mut samples = data::load(experiment, &[(Role::Test, files)], Extra::Welcome(&columns), read)?;
    if samples.width != model.scaler.width {
        let first = samples.sources.first().map(|source| source.path.display().to_string()).unwrap_or_default();
        return Err(Error::input(format!("{first}: {} bins, but the model was trained on {}", samples.width, model.scaler.width)));
    }
    select::select(&mut samples, experiment.config.select.drop_empty)?;
    let labels = labels::read(&samples, &experiment.config.labels)?;
    let splits = vec![Split::Test; samples.rows.len()];
    let inputs = scale(&model.scaler, &samples);
    let prepared = Prepared { samples, labels, splits, weights: None, scaler: model.scaler.clone(), inputs };
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

/// What a config and its data make doubtful, in plain words.
pub fn warnings(experiment: &Experiment, architecture: &Architecture, prepared: &Prepared) -> Vec<String> {
    let config = &experiment.config;
    let width = prepared.samples.width;
    let count = |wanted: Split| prepared.splits.iter().filter(|split| **split == wanted).count();
    let mut warnings = vec![];
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
    if config.split.by == SplitBy::Random && (config.split.valid > 0.0 || config.split.test > 0.0) {
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
    if config.labels.good.is_none() {
        warn("no labels (labels.good): every row of data.train is taken for good".into());
    } else if config.labels.train_on == TrainOn::All {
        warn("bad and unlabelled rows are trained on (labels.train_on = \"all\")".into());
    }
    let constant = prepared.scaler.constant_bins();
    if !constant.is_empty() {
        warn(format!("{} of {width} bins are constant in the training rows; they say nothing unless they change", constant.len()));
    }
    if config.split.valid > 0.0 && count(Split::Valid) == 0 {
        warn("no validation rows are left after selection".into());
    }
    warnings
}
