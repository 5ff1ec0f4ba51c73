//! The rows of an experiment: read, selected, split and scaled.

use super::chosen::{ScaledInputs, load, told_counts};
use crate::{
    config::{Experiment, Expression, scale::FitOn},
    data::{LoadOptions, Role, Samples},
    error::{Error, Result},
    prepare::{
        Prepared, finite,
        floors::Contents,
        labels,
        missing::Filling,
        normalisation,
        scale::{Plan, Scaler},
        split::{self, Split},
    },
};
use std::path::Path;

/// Reads, selects, splits and scales the files of an experiment. `read` is called after each file
/// has been read.
pub fn prepare(experiment: &Experiment, read: &(dyn Fn(&Path) + Sync)) -> Result<Prepared> {
    let files = [
        (Role::Train, experiment.data.train.as_slice()),
        (Role::Test, experiment.data.test.as_slice()),
    ];
    let required: Vec<String> = labels::columns(&experiment.labels)
        .into_iter()
        .chain(experiment.split.column.clone())
        .collect();
    let mut chosen = load(
        experiment,
        &files,
        LoadOptions { required, part: *experiment.data.part, ..LoadOptions::default() },
        read,
    )?;
    let reference = experiment
        .scale
        .reference
        .as_ref()
        .map(|path| normalisation::read(path, &chosen.samples))
        .transpose()?
        .unwrap_or_default();
    let fit = |rows: &[&[f32]], samples: &Samples, contents: Contents| {
        let plan = Plan {
            kinds: experiment.scale.steps(),
            fit_on: experiment.scale.fit_on,
            constant: experiment.scale.constant,
            contents,
            width: samples.width(),
            layers: samples.layer_widths(),
            reference: reference.clone(),
            clip: experiment.scale.clip,
            added: (!experiment.data.add_inputs.is_empty()).then(|| {
                (
                    experiment.scale.added,
                    experiment.data.add_inputs.iter().map(Expression::to_string).collect(),
                )
            }),
            fill: experiment.data.fill,
        };
        Scaler::fit(plan, rows)
    };
    let of_all_read = (experiment.scale.fit_on == FitOn::Read).then(|| {
        let samples = &chosen.samples;
        let is_finite = |row: &u32| {
            samples
                .row(*row as usize)
                .iter()
                .all(|value| value.is_nan() || finite::is_within(*value, finite::LARGEST_CONTENT))
        };
        let rows: Vec<u32> = (0..samples.rows.len() as u32).filter(is_finite).collect();
        fit(
            &rows.iter().map(|&row| samples.row(row as usize)).collect::<Vec<_>>(),
            samples,
            contents(samples, None, &rows),
        )
    });
    let (mut inputs, mut divisors) = chosen.select(experiment)?;
    let told = |message: String, notes: &[String]| {
        notes.iter().fold(message, |message, note| format!("{message}\n  {note}"))
    };
    let split = split::split(
        &chosen.samples,
        &chosen.labels,
        &experiment.split,
        experiment.labels.train_on,
        experiment.seed,
    );
    let mut splits = split.map_err(|error| error.map(|message| told(message, &chosen.notes)))?;
    let width = chosen.samples.width() + experiment.data.add_inputs.len();
    let mut scaler = of_all_read.unwrap_or_else(|| {
        let wanted = |row: &u32| {
            experiment.scale.fit_on == FitOn::All || splits[*row as usize] == Split::Train
        };
        let rows: Vec<u32> = (0..splits.len() as u32).filter(wanted).collect();
        let fitted_on: Vec<&[f32]> =
            rows.iter().map(|&row| &inputs[row as usize * width..][..width]).collect();
        fit(&fitted_on, &chosen.samples, contents(&chosen.samples, divisors.as_deref(), &rows))
    });
    let names: Vec<String> = chosen
        .samples
        .feature_names()
        .into_iter()
        .chain(experiment.data.add_inputs.iter().map(Expression::to_string))
        .collect();
    let train = |splits: &[Split]| {
        (0..splits.len() as u32)
            .filter(|&row| splits[row as usize] == Split::Train)
            .collect::<Vec<u32>>()
    };
    if !experiment.data.fill.is_reject() {
        scaler.filling =
            Some(Filling::learn(experiment.data.fill, &inputs, &names, &train(&splits))?);
    }
    scale(&scaler, &chosen.samples, &mut inputs);
    chosen.reject_overflow(
        experiment,
        (&mut inputs, &mut divisors, &mut splits),
        finite::LARGEST_INPUT,
    )?;
    scaler.filling.iter_mut().for_each(|filling| filling.learn_means(&inputs, &train(&splits)));
    if !splits.contains(&Split::Train) {
        return Err(Error::input(format!(
            "no training rows left: {}",
            told_counts(&chosen.samples)
        )));
    }
    refuse_weightless(chosen.weights.as_deref(), &splits)?;
    let mut channels = chosen.samples.channels();
    for channel in &mut channels {
        channel.paths.extend(
            experiment
                .data
                .add_inputs
                .iter()
                .map(|added| vec![added.to_string()])
                .filter(|_| chosen.samples.hierarchy.is_some()),
        );
        channel.features.extend(experiment.data.add_inputs.iter().map(Expression::to_string));
    }
    let scaled = ScaledInputs { scaler, inputs, divisors, splits };
    chosen.into_prepared(&experiment.report, scaled, channels)
}

/// The contents of the bins of rows before scaling.
fn contents(samples: &Samples, divisors: Option<&[f64]>, rows: &[u32]) -> Contents {
    let is_whole = |row: &u32| {
        samples.row(*row as usize).iter().all(|value| value.is_nan() || value.fract() == 0.0)
    };
    match () {
        () if samples.features.is_some() => Contents::Features,
        () if rows.iter().all(is_whole) => {
            let divisors = divisors.map(|divisors| {
                rows.iter().map(|&row| divisors[row as usize].abs()).collect::<Vec<f64>>()
            });
            Contents::Counts(
                1.0 / divisors
                    .and_then(|divisors| crate::statistics::percentile(&divisors, 50.0))
                    .unwrap_or(1.0),
            )
        }
        () => Contents::Alike,
    }
}

/// Fails if all rows of a split with a loss have weight 0.
fn refuse_weightless(weights: Option<&[f32]>, splits: &[Split]) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    for wanted in [Split::Train, Split::Valid] {
        let rows = splits.iter().filter(|split| **split == wanted).count();
        let weightless =
            splits.iter().zip(weights).all(|(split, weight)| *split != wanted || *weight == 0.0);
        if rows > 0 && weightless {
            return Err(Error::input(format!(
                "weights: all {rows} {} rows have weight 0",
                wanted.name()
            )));
        }
    }
    Ok(())
}

/// Scales inputs in place. With `fit_on = "each-file"` every file is scaled by its own rows.
pub(crate) fn scale(scaler: &Scaler, samples: &Samples, inputs: &mut [f32]) {
    if scaler.fit_on != FitOn::EachFile {
        return scaler.apply(inputs);
    }
    let width = scaler.inputs();
    for source in 0..samples.sources.len() as u32 {
        let rows: Vec<usize> =
            (0..samples.rows.len()).filter(|&i| samples.rows[i].source == source).collect();
        let own: Vec<&[f32]> = rows.iter().map(|&i| &inputs[i * width..(i + 1) * width]).collect();
        let own = scaler.refit(&own);
        rows.iter().for_each(|&i| own.apply(&mut inputs[i * width..(i + 1) * width]));
    }
}
