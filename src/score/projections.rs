//! Latents in two dimensions: which rows are shown, and `projections.parquet`.

use super::{
    latents::{Identity, identity_columns},
    scores::Scores,
};
use crate::{
    config::{Experiment, report, train::Order},
    data::Samples,
    device::{Device, side_by_side},
    error::Result,
    files::tables,
    prepare::{Prepared, split::Split},
    random,
    score::{
        inference::Inference,
        network::Network,
        pca::Pca,
        run::judged,
        tsne::{TSNE_WIDTH, tsne},
    },
    train::init::seed,
};
use arrow_array::{ArrayRef, Float32Array, StringArray};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};

/// Rows that are shown at most.
const MOST: usize = 20_000;

/// The latents of a channel in two dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// The channel.
    pub channel: String,
    /// How they are laid out.
    pub method: report::Projection,
    /// The rows shown, ascending positions in the rows that are evaluated; none where there is
    /// nothing to lay out.
    pub rows: Vec<u32>,
    /// Rows that figures are taken on.
    pub of: usize,
    /// Where each row shown lies.
    pub points: Vec<[f32; 2]>,
    /// What the axes are.
    pub axes: [String; 2],
    /// What is worth knowing about it.
    pub note: Option<String>,
}

/// What `report.json` says of a projection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectionFigures {
    /// The channel.
    pub channel: String,
    /// "pca" or "t-sne".
    pub method: String,
    /// Rows shown.
    pub rows: usize,
    /// Rows that figures are taken on.
    pub of: usize,
    /// What the axes are, of principal components with their share of the training latents'
    /// variance.
    pub axes: [String; 2],
    /// What is worth knowing about it.
    pub note: Option<String>,
}

/// The rows that are shown.
pub(crate) struct Shown {
    /// Ascending positions in the rows that are evaluated.
    pub rows: Vec<u32>,
    /// Rows that figures are taken on.
    of: usize,
    note: Option<String>,
}

impl Shown {
    /// The rows that figures are taken on: those that the channel or all channels together flag,
    /// and of the others as many as there is place for, drawn by chance.
    pub fn new(
        experiment: &Experiment,
        channel: &str,
        prepared: &Prepared,
        scores: &Scores,
        seed: u64,
    ) -> Self {
        let flagging: Vec<_> = scores
            .main()
            .into_iter()
            .chain(scores.channels.iter().filter(|scores| scores.name == channel))
            .collect();
        let at = scores
            .evaluated()
            .zip(0..prepared.splits.len() as u32)
            .filter(|(_, at)| judged(experiment, prepared.splits[*at as usize]));
        let (flagged, others): (Vec<_>, Vec<_>) = at.partition(|(row, _)| {
            flagging.iter().any(|channel| channel.flagged(*row) == Some(true))
        });
        let positions =
            |rows: Vec<(usize, u32)>| -> Vec<u32> { rows.into_iter().map(|(_, at)| at).collect() };
        Self::thinned(positions(flagged), positions(others), MOST, seed)
    }

    fn thinned(mut flagged: Vec<u32>, mut others: Vec<u32>, most: usize, seed: u64) -> Self {
        let (of, all_flagged) = (flagged.len() + others.len(), flagged.len());
        let draw = |rows: &mut Vec<u32>, most: usize| {
            if rows.len() > most {
                rows.shuffle(&mut random::generator(seed, "rows shown", 0));
                rows.truncate(most);
            }
        };
        draw(&mut flagged, most);
        draw(&mut others, most - flagged.len());
        let kept = if flagged.len() < all_flagged {
            format!("flagged ones alone are {all_flagged}")
        } else {
            "all that are flagged among them".into()
        };
        let mut rows = [flagged, others].concat();
        rows.sort_unstable();
        let note = (rows.len() < of)
            .then(|| format!("{} of {of} rows, drawn by chance, {kept}", rows.len()));
        Self { rows, of, note }
    }

    /// The latents of these rows laid out in two dimensions; `latents` and those of the training
    /// rows are `[rows, width]`.
    pub fn project(
        &self,
        experiment: &Experiment,
        channel: &str,
        method: report::Projection,
        (latents, train, width): (&[f32], &[f32], usize),
        seed: u64,
    ) -> Projection {
        let (axes, laid_out, wide) = match method {
            _ if !latents.iter().chain(train).all(|value| value.is_finite()) => (
                [1, 2].map(|axis| format!("{method} {axis}")),
                Err("some latents are not finite".into()),
                false,
            ),
            report::Projection::Pca => {
                let pca = Pca::fit(train, width, 2);
                let axes = [0, 1]
                    .map(|axis| format!("PC {} ({:.0} %)", axis + 1, 100.0 * pca.shares[axis]));
                (
                    axes,
                    Ok(pca
                        .project(latents)
                        .chunks_exact(2)
                        .map(|point| [point[0], point[1]])
                        .collect()),
                    false,
                )
            }
            report::Projection::TSne => (
                [1, 2].map(|axis| format!("t-SNE {axis}")),
                tsne(latents, width, seed),
                width > TSNE_WIDTH,
            ),
        };
        let ensemble = experiment.train.ensemble;
        let notes = [
            (ensemble > 1).then(|| format!("latents of member 1 of {ensemble}")),
            self.note.clone().filter(|_| laid_out.is_ok()),
            wide.then(|| format!("of the first {TSNE_WIDTH} principal components")),
            laid_out.as_ref().err().cloned(),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        Projection {
            channel: channel.into(),
            method,
            rows: if laid_out.is_ok() { self.rows.clone() } else { vec![] },
            of: self.of,
            points: laid_out.unwrap_or_default(),
            axes,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        }
    }
}

impl Projection {
    /// What `report.json` says of it.
    pub fn figures(&self) -> ProjectionFigures {
        let Self { channel, method, rows, of, axes, note, .. } = self;
        ProjectionFigures {
            channel: channel.clone(),
            method: method.name().into(),
            rows: rows.len(),
            of: *of,
            axes: axes.clone(),
            note: note.clone(),
        }
    }
}

/// Writes `channel, method, file, run, ls` (or `event`)`, x, y`: one projection after the other.
pub fn write(path: &Path, samples: &Samples, projections: &[Projection]) -> Result<()> {
    let identities = Identity::of(samples);
    let name = |get: fn(&Projection) -> &str| -> ArrayRef {
        let names = projections
            .iter()
            .flat_map(|projection| projection.rows.iter().map(move |_| Some(get(projection))));
        Arc::new(names.collect::<StringArray>())
    };
    let number = |axis: usize| -> ArrayRef {
        Arc::new(
            projections
                .iter()
                .flat_map(|projection| projection.points.iter().map(move |point| Some(point[axis])))
                .collect::<Float32Array>(),
        )
    };
    let mut columns = vec![
        ("channel".into(), name(|projection| &projection.channel)),
        ("method".into(), name(|projection| projection.method.name())),
    ];
    columns.extend(identity_columns(
        projections
            .iter()
            .flat_map(|projection| &projection.rows)
            .map(|&at| &identities[at as usize]),
        samples.events,
    ));
    columns.extend([("x".into(), number(0)), ("y".into(), number(1))]);
    tables::write(path, &tables::of_columns(columns)?)
}

/// Lays each channel's latents out in two dimensions as the config says, those of the rows that
/// figures are taken on; of an ensemble, by its first member. `scores` must be flagged.
pub fn project(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    scores: &Scores,
    device: &Device,
) -> Result<Vec<Projection>> {
    let methods = &experiment.report.projections;
    if methods.is_empty() {
        return Ok(vec![]);
    }
    let train = prepared.of_split(Split::Train, Order::Ls);
    let names = prepared.input_names();
    let one = |network: &Network| {
        let Network { channel, architecture, .. } = network;
        let (columns, seed) = (channel.columns(&names), seed(experiment, channel, 0));
        let shown = Shown::new(experiment, &channel.name, prepared, scores, seed);
        let runner = Inference::new(architecture, network.member(1)?, device);
        let (rows, width) = (prepared.rows(&columns), architecture.latent());
        let (latents, train) =
            (runner.encode(rows.at(&shown.rows))?, runner.encode(rows.at(&train))?);
        let mut projections: Vec<Projection> = vec![];
        for &method in methods {
            if projections.iter().all(|projection| projection.method != method) {
                projections.push(shown.project(
                    experiment,
                    &channel.name,
                    method,
                    (&latents, &train, width),
                    seed,
                ));
            }
        }
        Ok(projections)
    };
    Ok(side_by_side(device, networks.iter().collect(), one)?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flagged_rows_are_kept_and_others_thinned() {
        let shown = |flagged: std::ops::Range<u32>, others: std::ops::Range<u32>| {
            Shown::thinned(flagged.collect(), others.collect(), 10, 1)
        };
        let all = shown(8..10, 0..8);
        assert_eq!((all.rows, all.of, all.note), ((0..10).collect(), 10, None));
        let thinned = shown(50..54, 0..50);
        assert_eq!((thinned.rows.len(), thinned.of), (10, 54));
        assert_eq!(thinned.rows[6..], [50, 51, 52, 53]);
        assert!(thinned.rows.is_sorted());
        assert_eq!(
            thinned.note.unwrap(),
            "10 of 54 rows, drawn by chance, all that are flagged among them"
        );
        let flagged = shown(0..30, 30..40);
        assert!(flagged.rows.len() == 10 && flagged.rows.iter().all(|row| *row < 30));
        assert_eq!(
            flagged.note.unwrap(),
            "10 of 40 rows, drawn by chance, flagged ones alone are 30"
        );
    }
}
