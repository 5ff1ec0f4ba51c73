//! New rows for a trained experiment.

use crate::{
    config::{Part, weights::Weights},
    data::{LoadOptions, Role, histogram_quantiles::Unit},
    device::Device,
    error::{Error, Result},
    experiment::trained::TrainedModel,
    prepare::{
        Prepared,
        chosen::{Chosen, load},
        finite, labels,
        split::Split,
        training::{is_masked, scale},
    },
    score::{
        patterns::scored::Patterns,
        run::{Scored, score},
        scores::Scores,
    },
};
use std::path::{Path, PathBuf};

/// Scores new files, or a part of their runs, with a trained model: same features, same scaler,
/// same networks. Rows have no split but test.
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
    // Nothing is trained: weights matter only where they say which rows are evaluated or how
    // figures are taken.
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
    let mut chosen = load(&lenient, &[(Role::Test, files)], further, read)?;
    let (mut inputs, mut divisors) = chosen.select(&lenient)?;
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
        &lenient,
        (&mut inputs, &mut divisors, &mut splits),
        finite::LARGEST_INPUT,
    )?;
    let beside = chosen.beside(&lenient.report)?;
    let Chosen { samples, labels, classes, weights, automasks, notes, .. } = chosen;
    let channels = model.networks.iter().map(|network| network.channel.clone()).collect();
    let (scaler, masked) = (model.scaler.clone(), is_masked(&model.scaler, &inputs));
    Ok(Prepared {
        samples,
        labels,
        classes,
        beside,
        splits,
        weights,
        scaler,
        divisors,
        inputs,
        masked,
        channels,
        automasks,
        notes,
    })
}
