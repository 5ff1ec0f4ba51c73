//! Data for showing models of maps: components, the latents of each row, and the worst maps with
//! their regions.

use crate::{
    config::score::ScoreKind,
    data::{axes, shape::Shape},
    device::Device,
    error::Result,
    prepare::Prepared,
    score::{
        inference::Inference,
        network::Network,
        patterns::{DetectorLayer, Region, scored::Patterns},
        scores::Scores,
    },
};
use std::collections::HashSet;

/// Maximum number of latents kept per channel: those with the largest variance.
const LATENTS: usize = 8;
/// Number of lumisections drawn as pictures.
const WORST: usize = 4;

/// The maps of a channel.
#[derive(Clone, Debug)]
pub struct ChannelMaps {
    /// The channel.
    pub channel: String,
    /// The shape of its maps.
    pub shape: Shape,
    /// The edges of its axes, if known: first and last of x, then of y.
    pub edges: [Option<f64>; 4],
    /// Bins that patterns ignore, `[y, x]`.
    pub masked: Vec<bool>,
    /// The components of a non-negative matrix factorisation, the largest share first.
    pub components: Vec<Component>,
    /// Indices of the kept latents; those of components are in their order.
    pub kept: Vec<usize>,
    /// The kept latents of the requested rows, `[rows, kept]`.
    pub latents: Vec<f32>,
    /// Its maps of the worst lumisections, in the order of [`Maps::worst`].
    pub worst: Vec<Triple>,
}

/// A component of the maps.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its number among the latents.
    pub number: usize,
    /// Its share of the sum of all reconstructions of the requested rows.
    pub share: f64,
    /// The map, `[y, x]`.
    pub map: Vec<f32>,
}

/// A map, its reconstruction and its error, each `[y, x]` and scaled like inputs.
#[derive(Clone, Debug)]
pub struct Triple {
    /// The map.
    pub input: Vec<f32>,
    /// Its reconstruction.
    pub output: Vec<f32>,
    /// The error of each bin.
    pub error: Vec<f64>,
    /// The channel's regions, and whether they are known to be masked.
    pub regions: Vec<(Region, bool)>,
}

/// The maps of all channels with maps.
#[derive(Clone, Debug, Default)]
pub struct Maps {
    /// One entry per channel.
    pub channels: Vec<ChannelMaps>,
    /// The worst lumisections, as positions in the scores.
    pub worst: Vec<usize>,
}

impl Maps {
    /// Collects the maps. `rows` are the positions among the evaluated rows for which latents are
    /// computed.
    pub fn new(
        networks: &[Network],
        prepared: &Prepared,
        (scores, patterns): (&Scores, Option<&Patterns>),
        rows: &[u32],
        kind: ScoreKind,
        device: &Device,
    ) -> Result<Self> {
        if !networks.iter().any(is_map) {
            return Ok(Self::default());
        }
        let evaluated: Vec<usize> = scores.evaluated().collect();
        let worst = worst(scores, &evaluated);
        let names = prepared.input_names();
        let of_channel = |(at, network): (usize, &Network)| {
            let layer =
                prepared.samples.layers.iter().find(|layer| layer.name == network.channel.name);
            let Network { channel, architecture, members, .. } = network;
            let columns = channel.columns(&names);
            let first = Inference::new(architecture, network.member(1)?, device);
            let width = architecture.latent();
            let DetectorLayer { shape, masked, .. } = network.layer();
            let latents = first.encode(prepared.rows(&columns).at(rows))?;
            let components = if architecture.nmf.is_some() {
                components(&first, &latents, (width, shape.width()))?
            } else {
                vec![]
            };
            let kept = if components.is_empty() {
                liveliest(&latents, width)
            } else {
                components.iter().map(|component| component.number).take(LATENTS).collect()
            };
            let mut triples: Vec<Triple> = vec![];
            Inference::new(architecture, members, device).reconstruct(
                prepared.rows(&columns).at(&worst),
                &mut |_, member, input, output| {
                    if member == 0 {
                        triples.push(Triple {
                            input: input.to_vec(),
                            output: vec![0.0; output.len()],
                            error: vec![0.0; output.len()],
                            regions: vec![],
                        });
                    }
                    let Some(triple) = triples.last_mut() else { return };
                    for (i, (input, output)) in input.iter().zip(output).enumerate() {
                        triple.output[i] += output / members.len() as f32;
                        if !input.is_nan() {
                            triple.error[i] +=
                                kind.of_feature(*input, *output) / members.len() as f64;
                        }
                    }
                },
            )?;
            for (triple, &row) in triples.iter_mut().zip(&worst) {
                triple.regions = patterns
                    .map(|patterns| {
                        patterns
                            .of(row as usize, at)
                            .map(|(region, known)| (region.clone(), known))
                            .collect()
                    })
                    .unwrap_or_default();
            }
            Ok(ChannelMaps {
                channel: channel.name.clone(),
                shape,
                edges: axes::ends(
                    layer.map_or(prepared.samples.edges, |layer| layer.edges),
                    shape,
                    prepared.samples.flow_bins,
                ),
                masked,
                latents: latents
                    .chunks_exact(width)
                    .flat_map(|row| kept.iter().map(|&latent| row[latent]))
                    .collect(),
                components,
                kept,
                worst: triples,
            })
        };
        let channels = networks
            .iter()
            .enumerate()
            .filter(|(_, network)| is_map(network))
            .map(of_channel)
            .collect::<Result<_>>()?;
        Ok(Self {
            channels,
            worst: worst.into_iter().map(|position| evaluated[position as usize]).collect(),
        })
    }
}

/// Whether a network's inputs are a two-dimensional map.
pub fn is_map(network: &Network) -> bool {
    network.channel.shape.is_some_and(|shape| shape.y > 1)
}

/// The components, the largest share first.
fn components(
    runner: &Inference<'_>,
    latents: &[f32],
    (width, bins): (usize, usize),
) -> Result<Vec<Component>> {
    let ones: Vec<f32> =
        (0..width * width).map(|at| f32::from(u8::from(at / width == at % width))).collect();
    let maps = runner.decode(&ones)?;
    let maps = maps.chunks_exact(maps.len() / width);
    let sums = maps.clone().enumerate().map(|(at, map)| {
        let coefficients: f64 =
            latents.iter().skip(at).step_by(width).map(|value| f64::from(*value)).sum();
        coefficients * map.iter().map(|value| f64::from(*value)).sum::<f64>()
    });
    let sums: Vec<f64> = sums.collect();
    let total: f64 = sums.iter().sum();
    let share = |sum: f64| if total > 0.0 { sum / total } else { 0.0 };
    let mut components: Vec<Component> = maps
        .zip(&sums)
        .enumerate()
        .map(|(number, (map, sum))| Component {
            number,
            share: share(*sum),
            map: map[..bins].to_vec(),
        })
        .collect();
    components.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.number.cmp(&b.number)));
    Ok(components)
}

/// The latents with the largest variance, in their order.
fn liveliest(latents: &[f32], width: usize) -> Vec<usize> {
    let spread = |latent: usize| {
        let values =
            || latents.iter().skip(latent).step_by(width.max(1)).map(|value| f64::from(*value));
        let mean = values().sum::<f64>() / values().count().max(1) as f64;
        values().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    let mut latents: Vec<(usize, f64)> =
        (0..width).map(|latent| (latent, spread(latent))).collect();
    latents.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    latents.truncate(LATENTS);
    let mut latents: Vec<usize> = latents.into_iter().map(|(latent, _)| latent).collect();
    latents.sort_unstable();
    latents
}

/// The flagged rows with the highest scores, one per stretch of flagged rows, as positions among
/// the evaluated rows.
fn worst(scores: &Scores, evaluated: &[usize]) -> Vec<u32> {
    let Some(main) = scores.main() else { return vec![] };
    let mut rows: Vec<(usize, usize, f64)> = vec![];
    let mut stretch = 0;
    for (position, &row) in evaluated.iter().enumerate() {
        let goes_on = position > 0
            && scores.rows[row].run_key() == scores.rows[evaluated[position - 1]].run_key();
        let is_flagged = main.flagged(row) == Some(true);
        stretch += usize::from(!goes_on || !is_flagged);
        if is_flagged {
            rows.push((position, stretch, main.scores[row].unwrap_or_default()));
        }
    }
    rows.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    let mut seen = HashSet::new();
    rows.retain(|(_, stretch, _)| seen.insert(*stretch));
    rows.into_iter().take(WORST).map(|(position, _, _)| position as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        prepare::split::Split,
        score::{channel_scores::ChannelScores, row::ScoredRow},
    };

    #[test]
    fn the_latents_that_vary_most_are_kept_in_their_order() {
        let latents: Vec<f32> =
            (0..10).flat_map(|row| (0..12).map(move |latent| (row * latent) as f32)).collect();
        assert_eq!(liveliest(&latents, 12), [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(liveliest(&latents[..36], 3), [0, 1, 2]);
        assert_eq!(liveliest(&[], 2), [0, 1]);
    }

    #[test]
    fn the_worst_of_each_stretch_of_flagged_rows_is_shown() {
        let values = [
            (1, 5.0),
            (1, 9.0),
            (1, 0.0),
            (1, 6.0),
            (2, 7.0),
            (2, 8.0),
            (2, 0.0),
            (2, 2.0),
            (2, 0.0),
            (2, 3.0),
        ];
        let row = |run| ScoredRow {
            split: Split::Test,
            file: "a".into(),
            run: Some(run),
            ls: Some(1),
            weight: None,
            rejected: None,
            class: None,
            labels: [].into(),
        };
        let channel = ChannelScores {
            name: "all".into(),
            scores: values.iter().map(|(_, score)| Some(*score)).collect(),
            thresholds: vec![Some(1.0); values.len()],
            ..ChannelScores::default()
        };
        let scores = Scores {
            rows: values.iter().map(|(run, _)| row(*run)).collect(),
            channels: vec![channel],
            ..Scores::default()
        };
        let evaluated: Vec<usize> = scores.evaluated().collect();
        assert_eq!(worst(&scores, &evaluated), [1, 5, 3, 9]);
    }
}
