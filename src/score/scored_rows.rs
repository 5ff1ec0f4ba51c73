//! Prepares scored rows again.

use super::{network::Network, run::NOT_FINITE, scores::Scores};
use crate::{
    config::Experiment,
    error::{Error, Result},
    prepare::{Prepared, training::prepare},
};
use std::{collections::HashSet, path::Path};

/// Prepares the rows of an experiment again. Fails if the rows differ from the scored ones, or the
/// inputs from those of the networks.
pub fn prepare_scored(
    experiment: &Experiment,
    networks: &[Network],
    scores: &Scores,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<Prepared> {
    let prepared = prepare(experiment, read)?;
    let same = |network: &&Network| {
        prepared.channels.iter().any(|channel| {
            channel.name == network.channel.name && channel.features == network.channel.features
        })
    };
    if let Some(network) = networks.iter().find(|network| !same(network)) {
        return Err(Error::input(format!(
            "the channel \"{}\" of the trained model has other inputs than the data have now",
            network.channel.name
        )));
    }
    // Rows without a score were read, but not evaluated.
    let unscored: HashSet<(&str, Option<u32>, Option<u32>)> = scores
        .rows
        .iter()
        .filter(|row| row.rejected.as_deref().is_some_and(|reason| reason.starts_with(NOT_FINITE)))
        .map(|row| (&*row.file, row.run, row.ls))
        .collect();
    let prepared = if unscored.is_empty() {
        prepared
    } else {
        let samples = &prepared.samples;
        let reason = |row: usize| {
            let id = samples.id(row);
            unscored
                .contains(&(samples.source(row).name.as_str(), id.run, Some(id.ls)))
                .then(|| NOT_FINITE.to_owned())
        };
        prepared.without((0..samples.rows.len()).map(reason).collect())
    };
    match (prepared.samples.rows.len(), scores.evaluated().count()) {
        (rows, evaluated) if rows == evaluated => Ok(prepared),
        (rows, evaluated) => {
            Err(Error::input(format!("{rows} rows are evaluated, but {evaluated} were scored")))
        }
    }
}
