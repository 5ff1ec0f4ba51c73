//! Differences between rows and the training and calibration rows of a model.

use crate::{
    config::train::Order,
    prepare::{Prepared, missing::MissingCells, split::Split},
    score::{
        channel_scores::ChannelScores,
        drift::{Drift, Moved, Outside},
        network::Network,
        ranges,
        scores::Scores,
        threshold::Calibrated,
    },
};
use std::collections::BTreeSet;

/// Compares rows with the ranges of the inputs of each network; also returns the positions of those
/// inputs among all.
fn compare(
    networks: &[Network],
    prepared: &Prepared,
    rows: &[u32],
) -> (Vec<Vec<usize>>, ranges::Counts) {
    let names = prepared.input_names();
    let columns: Vec<Vec<usize>> = networks
        .iter()
        .map(|network| network.channel.columns(&names).into_iter().flatten().collect())
        .collect();
    // Without a known range, no value is outside.
    let mut known = vec![(f32::NEG_INFINITY, f32::INFINITY); names.len()];
    for (network, columns) in networks.iter().zip(&columns) {
        columns.iter().zip(&network.baseline.unscaled).for_each(|(&at, range)| known[at] = *range);
    }
    let compared = ranges::compare(prepared, rows, &known);
    (columns, compared)
}

/// Inputs that are constant in training and change now, if the scores could miss that: inputs that
/// the scaling hides, and features.
fn moved_of(
    networks: &[Network],
    prepared: &Prepared,
    columns: &[Vec<usize>],
    compared: &ranges::Counts,
) -> Vec<Moved> {
    let blind: BTreeSet<usize> = prepared.scaler.blind_inputs().into_iter().collect();
    let bins = if prepared.samples.features.is_none() { prepared.samples.width() } else { 0 };
    let mut seen = BTreeSet::new();
    let of = |blind_ones: bool| {
        let told = |(network, columns): (&Network, &Vec<usize>)| {
            let named = network.channel.features.iter().zip(columns);
            let own = named.filter(|(_, at)| {
                compared.moved[**at] > 0
                    && blind.contains(at) == blind_ones
                    && (blind_ones || **at >= bins)
            });
            own.map(|(name, at)| (*at, name.clone())).collect::<Vec<_>>()
        };
        // Channels can share inputs.
        let all = networks.iter().zip(columns).flat_map(told).filter(|(at, _)| seen.insert(*at));
        let mut inputs: Vec<(String, usize)> =
            all.map(|(at, name)| (name, compared.moved[at])).collect();
        inputs.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        (!inputs.is_empty()).then_some(Moved { blind: blind_ones, inputs })
    };
    [true, false].into_iter().filter_map(of).collect()
}

/// The same for the test rows of a training.
pub fn moved(networks: &[Network], prepared: &Prepared) -> Vec<Moved> {
    let (columns, compared) =
        compare(networks, prepared, &prepared.of_split(Split::Test, Order::Ls));
    moved_of(networks, prepared, &columns, &compared)
}

/// Differences between newly scored rows and the training and calibration rows of a model; rows
/// labelled bad are excluded.
pub fn drift(
    networks: &[Network],
    thresholds: &[Calibrated],
    prepared: &Prepared,
    scores: &Scores,
) -> Drift {
    /// Number of inputs named.
    const WORST: usize = 5;
    let good = scores.labels.iter().position(|name| name == "good");
    let is_bad =
        |row: usize| good.is_some_and(|label| scores.rows[row].labels[label] == Some(false));
    // Evaluated rows come in the order of the samples.
    let kept: Vec<u32> = scores
        .evaluated()
        .enumerate()
        .filter(|(_, row)| !is_bad(*row))
        .map(|(at, _)| at as u32)
        .collect();
    let (known, compared) = compare(networks, prepared, &kept);
    let outside = |(network, columns): (&Network, &Vec<usize>)| {
        let shares = columns
            .iter()
            .map(|&at| compared.outside[at] as f64 / compared.present[at].max(1) as f64);
        let mut worst: Vec<(String, f64)> =
            network.channel.features.iter().cloned().zip(shares).collect();
        let share = worst.iter().map(|(_, share)| share).sum::<f64>() / worst.len().max(1) as f64;
        worst.retain(|(_, share)| *share > 0.0);
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        worst.truncate(WORST);
        let baseline = &network.baseline;
        (!baseline.unscaled.is_empty()).then(|| Outside {
            channel: network.channel.name.clone(),
            share,
            usual: baseline.outside,
            worst,
        })
    };
    let main = scores.main();
    let sample = main.and_then(|main| {
        thresholds.iter().find(|threshold| threshold.channel == main.name)?.sample.as_ref()
    });
    let of_runs = |of: &ChannelScores| -> Vec<Vec<f64>> {
        let of_run = |run: &Vec<usize>| {
            run.iter().filter(|row| !is_bad(**row)).filter_map(|&row| of.scores[row]).collect()
        };
        scores.runs().iter().map(of_run).collect()
    };
    Drift {
        inputs: networks.iter().zip(&known).filter_map(outside).collect(),
        moved: moved_of(networks, prepared, &known, &compared),
        scores: main.zip(sample).and_then(|(main, sample)| sample.held_against(&of_runs(main))),
        missing: prepared.missing_cells().into_iter().filter(MissingCells::is_new).collect(),
    }
}
