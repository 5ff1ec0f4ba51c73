//! Checks and warnings before training.

use crate::{
    config::{
        Experiment, OneOrMany,
        labels::TrainOn,
        model::ModelKind,
        report::ReportOn,
        scale::{Constant, FitOn, ScaleKind},
        split::SplitBy,
        threshold::{CalibrateOn, ThresholdKind, ThresholdRule},
        train::{Order, ValidateOn},
    },
    data::{
        Role, Samples,
        cells::{self, Cells},
        channels::ALL_FEATURES,
    },
    error::{Error, Result, first_few},
    prepare::{Prepared, split::Split},
    score::{calibrate::calibration_split, patterns::PatternSettings, threshold},
    warnings::{Severity, Warnings},
};
use std::collections::BTreeSet;

/// Fails if the rows are insufficient for the batches or thresholds of the config.
pub fn check_rows(experiment: &Experiment, prepared: &Prepared) -> Result<()> {
    let (train, rows) = (&experiment.train, prepared.of_split(Split::Train, Order::Ls).len());
    if train.epochs > 0 {
        train.check_batches(rows)?;
    }
    if let Some(patterns) = &experiment.patterns {
        let layers = prepared.channels.iter().map(|channel| (channel.name.as_str(), channel.map()));
        PatternSettings::new(patterns, prepared.channels.len()).check(layers)?;
    }
    if experiment.model.kind == ModelKind::Nmf
        && let Some(row) = prepared
            .of_split(Split::Train, Order::Ls)
            .into_iter()
            .find(|row| prepared.input(*row).iter().any(|value| *value < 0.0))
    {
        let place = prepared.samples.place(row as usize);
        return Err(Error::input(format!(
            "scale.kind: {place} has negative inputs after scaling, which model.kind = \"nmf\" does not support; expected steps that keep them positive, such as [\"mean-one\", \"bin-mean\"]"
        )));
    }
    let on = experiment.threshold.on;
    if prepared.channels.len() > 1
        && experiment.patterns.is_none()
        && experiment.threshold.kind == ThresholdKind::Fixed
    {
        let channels = prepared.channels.len();
        return Err(Error::input(format!(
            "threshold.kind = \"fixed\" is one number, but the scores of {channels} channels differ in size; expected \"percentile\" or \"mean-std\""
        )));
    }
    let wanted =
        |row: usize| on == CalibrateOn::Scored || prepared.splits[row] == calibration_split(on);
    let lengths = prepared
        .samples
        .run_ranges()
        .into_iter()
        .map(|range| range.filter(|&row| wanted(row)).count());
    let zeros: Vec<Vec<f64>> =
        lengths.filter(|&length| length > 0).map(|length| vec![0.0; length]).collect();
    for threshold in experiment
        .threshold
        .rules()
        .iter()
        .filter(|threshold| !matches!(threshold, ThresholdRule::Fixed { .. }))
    {
        if on == CalibrateOn::Scored {
            zeros
                .iter()
                .try_for_each(|run| threshold::value(threshold, false, &[run]).map(|_| ()))?;
        } else {
            threshold::value(
                threshold,
                false,
                &zeros.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            )?;
        }
    }
    Ok(())
}

/// Warnings about a config and its data.
pub fn warnings(experiment: &Experiment, prepared: &Prepared) -> Warnings {
    let width = prepared.scaler.inputs();
    let count = |wanted: Split| prepared.splits.iter().filter(|split| **split == wanted).count();
    let mut warnings = Warnings::default();
    let mut warn = |warning: String| warnings.add(Severity::Misleading, warning);

    for channel in prepared
        .channels
        .iter()
        .filter(|channel| experiment.model.latent as usize >= channel.features.len())
    {
        let of = if channel.name == ALL_FEATURES {
            String::new()
        } else {
            format!(" of channel {}", channel.name)
        };
        warn(format!(
            "the latent layer ({}) is not narrower than the input{of} ({}): an overcomplete autoencoder can copy its input, anomalies included",
            experiment.model.latent,
            channel.features.len()
        ));
    }
    let (low, high) = experiment.model.output_activation.range();
    let outside = |wanted: Split| {
        let (mut out, mut all) = (0_usize, 0_usize);
        for (_, row) in prepared
            .splits
            .iter()
            .zip(prepared.inputs.chunks_exact(width))
            .filter(|(split, _)| **split == wanted)
        {
            all += row.len();
            out += row.iter().filter(|value| **value < low || **value > high).count();
        }
        (out > 0).then(|| format!("{:.2} %", 100.0 * out as f64 / all as f64))
    };
    for (what, split) in [("training", Split::Train), ("test", Split::Test)] {
        if let Some(share) = outside(split) {
            warn(format!(
                "{share} of the scaled {what} values are outside the range of a {} output ({low} to {high})",
                experiment.model.output_activation
            ));
        }
    }
    if experiment.split.by == SplitBy::Random
        && !prepared.samples.events
        && (experiment.split.valid > 0.0 || experiment.split.test > 0.0)
    {
        warn("rows are split one by one: neighbouring LSs are nearly equal and end up on both sides, so held-out figures are too good; split by run or block".into());
    }
    let runs_of = |wanted: &dyn Fn(usize) -> bool| -> BTreeSet<u32> {
        let samples = &prepared.samples;
        (0..samples.rows.len())
            .filter(|&i| samples.id(i).run.is_some() && wanted(i))
            .map(|i| samples.rows[i].run)
            .collect()
    };
    let trained = runs_of(&|i| prepared.splits[i] == Split::Train);
    let tested = runs_of(&|i| prepared.samples.source(i).role == Role::Test);
    if let Some(run) = trained.intersection(&tested).next() {
        let name = &prepared.samples.runs[*run as usize].name;
        warn(format!(
            "run {name} is in data.train and in data.test: its test rows are neighbours of training rows"
        ));
    }
    if experiment.train.validate_on == ValidateOn::Train {
        warn(
            "the validation loss is computed on the training rows and does not apply to new data; set train.validate_on = \"valid\""
                .into(),
        );
    }
    if experiment.threshold.on == CalibrateOn::Scored
        && experiment.threshold.kind != ThresholdKind::Fixed
    {
        let test_labels =
            prepared.labels.iter().find(|set| set.name == "good").is_some_and(|set| {
                set.good
                    .iter()
                    .zip(&prepared.splits)
                    .any(|(good, split)| *good == Some(true) && *split == Split::Test)
            });
        let unknown =
            if test_labels { "" } else { ", and without labels the false-alarm rate is not known" };
        warn(format!(
            "each scored run has a threshold found on itself: some of its rows are flagged, however good they are{unknown}; threshold.on = \"valid\" finds it on other rows"
        ));
    }
    if experiment.scale.fit_on == FitOn::EachFile {
        warn(
            "each file is scaled by its own range: scores of different files are not comparable"
                .into(),
        );
    }
    if experiment.scale.fit_on == FitOn::All
        && experiment.scale.kind != OneOrMany::One(ScaleKind::None)
    {
        warn("the scaling is fitted on all rows, test rows included".into());
    }
    if experiment.scale.fit_on == FitOn::Read {
        warn("the scaling is fitted on all rows that were read, test rows and rows that are not evaluated included".into());
    }
    if experiment.report.on == ReportOn::All {
        warn("figures are computed on all rows, including training rows (report.on = \"all\"), so they are too good".into());
    }
    if prepared.labels.first().is_none_or(|set| set.name != "good") {
        warn("no labels (labels.good): every row of data.train is taken for good".into());
    } else if experiment.labels.train_on == TrainOn::All {
        warn("bad and unlabelled rows are trained on (labels.train_on = \"all\")".into());
    }
    let constant = prepared.scaler.constant_inputs();
    if !constant.is_empty() {
        let names = prepared.input_names();
        let what = if prepared.samples.features.is_some() { "features" } else { "bins" };
        let verb = if constant.len() == 1 { "is" } else { "are" };
        let outcome = match prepared.scaler.constant {
            Constant::Floor => {
                "a change there counts, relative to a floor (scale.constant = \"floor\")"
            }
            Constant::Zero if prepared.scaler.blind_inputs().is_empty() => {
                "they stay as they are (scale.constant = \"zero\")"
            }
            Constant::Zero => {
                "scores do not see a change there; scale.constant = \"floor\" lets it count"
            }
        };
        let told = first_few(constant.iter().map(|&at| names[at].as_str()));
        warn(format!(
            "{} of {width} {what} {verb} constant in the training rows ({told}): {outcome}",
            constant.len()
        ));
    }
    for (input, row, value) in outliers(prepared) {
        let (name, place) = (&prepared.input_names()[input], prepared.samples.place(row));
        warn(format!(
            "{name} is {value:e} in the training row {place}, a million times as large as in all others, and decides how it is scaled: exclude the row (select), or use scale.kind = \"robust\""
        ));
    }
    if let Some(step) = prepared.scaler.forgets() {
        let area =
            |i: usize| prepared.samples.row(i).iter().filter(|value| !value.is_nan()).sum::<f32>();
        let zero = (0..prepared.samples.rows.len()).filter(|&i| area(i) <= 0.0).count();
        if zero > 0 {
            warn(format!("{zero} rows have no area: \"{step}\" makes them 0"));
        }
    }
    if let Some(names) = &prepared.samples.features {
        let cells = Cells::of_columns(&prepared.samples.values, prepared.samples.width());
        cells::suspicion(names.iter().map(String::as_str).zip(&cells))
            .into_iter()
            .for_each(&mut warn);
    }
    let flags = flag_like(&prepared.samples);
    if !flags.is_empty() {
        warn(format!(
            "{} only ever 0 or 1: if {} a label, data.columns.ignore leaves it out of the inputs",
            flags.join(", ") + if flags.len() == 1 { " is" } else { " are" },
            if flags.len() == 1 { "it is" } else { "one of them is" }
        ));
    }
    if experiment.split.valid > 0.0 && count(Split::Valid) == 0 {
        warn("no validation rows are left after selection".into());
    }
    warnings.extend(Severity::Note, prepared.notes.iter().cloned());
    warnings
}

/// Bins or features with one training row far above all others: the first few, with that row and
/// its value.
fn outliers(prepared: &Prepared) -> Vec<(usize, usize, f32)> {
    const TIMES: f32 = 1e6;
    const MOST: usize = 3;
    // The largest value of each and its row, and the second largest.
    let mut largest = vec![(0.0_f32, 0_usize, 0.0_f32); prepared.samples.width()];
    for row in (0..prepared.samples.rows.len()).filter(|&row| prepared.splits[row] == Split::Train)
    {
        for (most, value) in largest.iter_mut().zip(prepared.samples.row(row)) {
            if value.abs() > most.0 {
                *most = (value.abs(), row, most.0);
            } else if value.abs() > most.2 {
                most.2 = value.abs();
            }
        }
    }
    let is_far = |(most, _, next): &(f32, usize, f32)| *most > TIMES && *most / TIMES > *next;
    let far = largest
        .into_iter()
        .enumerate()
        .filter(|(_, of)| is_far(of))
        .map(|(input, (_, row, _))| (input, row, prepared.samples.row(row)[input]));
    far.take(MOST).collect()
}

/// The first few features whose values are only 0 and 1, both of which occur.
fn flag_like(samples: &Samples) -> Vec<String> {
    const MOST: usize = 5;
    let Some(names) = &samples.features else { return vec![] };
    let mut seen = vec![(false, false); names.len()];
    let mut other = vec![false; names.len()];
    for row in samples.values.chunks_exact(samples.width().max(1)) {
        for ((seen, other), value) in seen.iter_mut().zip(&mut other).zip(row) {
            seen.0 |= *value == 0.0;
            seen.1 |= *value == 1.0;
            *other |= *value != 0.0 && *value != 1.0 && !value.is_nan();
        }
    }
    let flag = |at: &usize| seen[*at] == (true, true) && !other[*at];
    (0..names.len()).filter(flag).take(MOST).map(|at| names[at].clone()).collect()
}
