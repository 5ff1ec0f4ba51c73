//! Scores new rows with a trained experiment, from files or from memory.

use crate::{
    config::{
        Experiment, Part, data::Format, report::Report, scale::FitOn, select::Select,
        weights::Weights,
    },
    data::{
        LoadOptions, Role, Run, SampleRow, Samples, Source, histogram_quantiles::Unit, shape::Shape,
    },
    device::Device,
    error::{Error, Result},
    experiment::trained::TrainedModel,
    prepare::{
        Prepared,
        chosen::{Chosen, ScaledInputs, load},
        finite, labels,
        split::Split,
        training::scale,
    },
    score::{
        patterns::scored::Patterns,
        run::{Scored, score},
        scores::Scores,
    },
};
use std::path::{Path, PathBuf};

/// Scores new files, or a part of their runs, with a trained model: same features, same scaler,
/// same networks. All rows are test rows.
pub fn score_files(
    model: &TrainedModel,
    files: &[PathBuf],
    part: Option<Part>,
    device: &Device,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<(Prepared, Scores, Option<Patterns>)> {
    let prepared = prepare_files(model, files, part, read)?;
    let Scored { scores, patterns, fewer } =
        score(&model.experiment, &model.networks, &prepared, device)?;
    Ok((fewer.unwrap_or(prepared), scores, patterns))
}

/// Reads, selects and scales new files, or a part of their runs, for a trained model.
pub fn prepare_files(
    model: &TrainedModel,
    files: &[PathBuf],
    part: Option<Part>,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<Prepared> {
    let experiment = &model.experiment;
    // Nothing is trained: weights matter only if they select rows or affect figures.
    let mut lenient = experiment.clone();
    if !experiment.select.nonzero_weight && !experiment.report.weighted {
        lenient.weights = Weights::default();
    }
    let further = LoadOptions {
        welcome: labels::columns(&experiment.labels),
        features: model.columns(),
        layers: model.layers(),
        part,
        ..LoadOptions::default()
    };
    prepare_chosen(model, &lenient, load(&lenient, &[(Role::Test, files)], further, read)?)
}

/// Scores rows in memory with a trained model; `values` are unscaled, `[rows, features]`. The
/// result has one row for each, with its index as `ls`; rows that are not evaluated have a reason
/// and no score. Only `select.drop_empty` of the config's selection applies.
///
/// # Errors
/// If the length of `values` is not a multiple of the row width, or if the model needs more than
/// rows: `data.layers`, `data.add_inputs`, `scale.divide_by`, `scale.fit_on = "each-file"`.
pub fn score_rows(model: &TrainedModel, values: &[f32], device: &Device) -> Result<Scores> {
    let experiment = &model.experiment;
    let width = model.scaler.width;
    if !values.len().is_multiple_of(width) {
        return Err(Error::input(format!(
            "score_rows: {} values are not whole rows of {width}",
            values.len()
        )));
    }
    for (key, is_needed) in [
        ("data.layers", model.is_layered()),
        ("data.add_inputs", !experiment.data.add_inputs.is_empty()),
        ("scale.divide_by", experiment.scale.divide_by.is_some()),
        ("scale.fit_on = \"each-file\"", experiment.scale.fit_on == FitOn::EachFile),
    ] {
        if is_needed {
            return Err(Error::input(format!(
                "score_rows: the model was trained with {key}, which rows in memory lack; score files instead"
            )));
        }
    }
    let mut lenient = experiment.clone();
    lenient.weights = Weights::default();
    lenient.report = Report::default();
    lenient.select = Select { drop_empty: experiment.select.drop_empty, ..Select::default() };
    let chosen = Chosen::of_samples(in_memory(model, values));
    let prepared = prepare_chosen(model, &lenient, chosen)?;
    let mut scores = score(experiment, &model.networks, &prepared, device)?.scores;
    scores.flag(&model.thresholds)?;
    Ok(scores)
}

/// Rows of one source and run, numbered by `ls` from 0.
fn in_memory(model: &TrainedModel, values: &[f32]) -> Samples {
    let name = "rows in memory".to_owned();
    let rows = values.len() / model.scaler.width;
    let row = |index: u32| SampleRow { source: 0, run: 0, ls: index, line: 0, index };
    let shape = match model.networks.as_slice() {
        [one] => one.channel.map(),
        _ => Shape::line(model.scaler.width),
    };
    Samples {
        sources: vec![Source {
            name: name.clone(),
            path: PathBuf::from(&name),
            role: Role::Test,
            format: Format::Auto,
            bytes: 0,
            sha256: String::new(),
            rows,
        }],
        runs: vec![Run { number: None, name }],
        shape,
        features: model.columns().map(Into::into),
        summarised: model.unit(),
        element: model.element().cloned(),
        rows: (0..rows as u32).map(row).collect(),
        values: values.to_vec(),
        ..Samples::default()
    }
}

/// Selects and scales rows for a trained model, with `lenient` instead of its config.
fn prepare_chosen(
    model: &TrainedModel,
    lenient: &Experiment,
    mut chosen: Chosen,
) -> Result<Prepared> {
    let (mut inputs, mut divisors) = chosen.select(lenient)?;
    let samples = &chosen.samples;
    let names = samples.feature_names();
    let (found, trained) = match (&samples.element, model.element()) {
        (Some(element), Some(trained)) if element != trained => {
            (format!("holds {element}"), trained.clone())
        }
        _ if samples
            .summarised
            .zip(model.unit())
            .is_some_and(|(found, trained)| found != trained) =>
        {
            let (says, unit) = (
                if model.unit() == Some(Unit::Bins) { "says" } else { "does not say" },
                model.unit().map_or_else(String::new, |unit| unit.to_string()),
            );
            (
                format!("{says} the axis of its histograms"),
                format!("seven numbers in {unit} (data.summary)"),
            )
        }
        _ if samples.width() != model.scaler.width => {
            (format!("{} bins", samples.width()), model.scaler.width.to_string())
        }
        _ => match model.read_names().iter().zip(&names).find(|(trained, name)| trained != name) {
            Some((trained, name)) => {
                (format!("has the feature \"{name}\""), format!("\"{trained}\""))
            }
            None => (String::new(), String::new()),
        },
    };
    if !found.is_empty() {
        let first = samples
            .sources
            .first()
            .map(|source| source.path.display().to_string())
            .unwrap_or_default();
        return Err(Error::input(format!(
            "{first}: {found}, but the model was trained on {trained}"
        )));
    }
    let mut splits = vec![Split::Test; samples.rows.len()];
    scale(&model.scaler, samples, &mut inputs);
    chosen.reject_overflow(
        lenient,
        (&mut inputs, &mut divisors, &mut splits),
        finite::LARGEST_INPUT,
    )?;
    let scaled = ScaledInputs { scaler: model.scaler.clone(), inputs, divisors, splits };
    let channels = model.networks.iter().map(|network| network.channel.clone()).collect();
    chosen.into_prepared(&lenient.report, scaled, channels)
}
