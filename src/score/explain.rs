//! Explains high scores: the share of each feature in the error of a sample and, if features have a
//! hierarchy, the share of each name at each level.

use crate::{
    config::Experiment,
    data::{axes, channels::Channel},
    device::Device,
    error::Result,
    prepare::{Prepared, split::Split},
    score::{network::Network, scores::Scores},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};

/// Number of features and names reported per sample.
const MOST: usize = 10;

/// Explanation of the score of one sample in one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The file of the sample.
    pub file: String,
    /// The run, if known.
    pub run: Option<u32>,
    /// The LS, or the event number.
    pub ls: u32,
    /// The channel.
    pub channel: String,
    /// The score in this channel.
    pub score: f64,
    /// The threshold of the score.
    pub threshold: Option<f64>,
    /// For each level of the hierarchy below the channel, the names with the largest shares.
    pub levels: Vec<Level>,
    /// The features with the largest shares.
    pub features: Vec<ErrorShare>,
}

/// The names at one level of the hierarchy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The name of the level.
    pub level: String,
    /// The names with the largest shares.
    pub shares: Vec<ErrorShare>,
}

/// A part of a sample's error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorShare {
    /// The feature, or the name at a level.
    pub name: String,
    /// The position of the bin on the axis of its histogram, such as `3.5 to 4`, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<String>,
    /// Its share of the sample's error.
    pub share: f64,
    /// Its error over its mean error in the training rows; `None` if that is 0.
    pub times_usual: Option<f64>,
}

impl ErrorShare {
    /// The meaning of [`ErrorShare::times`].
    pub const TIMES: &str = "× its mean error in the training rows";

    /// The name and the position of the bin.
    pub fn place(&self) -> String {
        self.axis
            .as_ref()
            .map_or_else(|| self.name.clone(), |axis| format!("{} ({axis})", self.name))
    }

    /// The error in units of the mean error in the training rows: `130 ×`.
    pub fn times(&self) -> String {
        let digits = usize::from(self.times_usual.is_some_and(|times| times < 10.0));
        match self.times_usual {
            None => "no error in training".into(),
            Some(times) if times >= 1e6 => format!("{times:.1e} ×"),
            Some(times) => format!("{times:.digits$} ×"),
        }
    }
}

/// Position of a sample among the evaluated rows, its score and its threshold.
type Scored = (u32, f64, Option<f64>);

/// Explains the worst `score.explain` flagged rows of each channel, preferably test rows.
pub fn worst(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    scores: &Scores,
    device: &Device,
) -> Result<Vec<Explanation>> {
    let most = experiment.score.explain as usize;
    let evaluated: Vec<usize> = scores.evaluated().collect();
    let test = prepared.splits.contains(&Split::Test);
    let mut explained = vec![];
    for network in networks {
        let Some(channel) =
            scores.channels.iter().find(|channel| channel.name == network.channel.name)
        else {
            continue;
        };
        let flagged = |(at, &row): (usize, &usize)| -> Option<Scored> {
            let judged = !test || prepared.splits[at] == Split::Test;
            (judged && channel.flagged(row) == Some(true)).then_some((
                at as u32,
                channel.scores[row]?,
                channel.thresholds[row],
            ))
        };
        let mut worst: Vec<Scored> = evaluated.iter().enumerate().filter_map(flagged).collect();
        worst.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        worst.truncate(most);
        explained.extend(of_rows(experiment, network, prepared, &worst, device)?);
    }
    Ok(explained)
}

/// The features in the order of their summed shares, the largest first.
pub fn features(worst: &[Explanation]) -> Vec<&str> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    worst
        .iter()
        .flat_map(|explanation| &explanation.features)
        .for_each(|share| *sums.entry(&share.name).or_default() += share.share);
    let mut sums: Vec<(&str, f64)> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    sums.into_iter().map(|(name, _)| name).collect()
}

/// Explains one lumisection in every channel.
pub fn lumisection(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    scores: &Scores,
    (run, ls): (Option<u32>, u32),
    device: &Device,
) -> Result<Vec<Explanation>> {
    let evaluated: Vec<usize> = scores.evaluated().collect();
    let wanted = |row: usize| {
        (run.is_none() || scores.rows[row].run == run) && scores.rows[row].ls == Some(ls)
    };
    let mut explained = vec![];
    for network in networks {
        let Some(channel) =
            scores.channels.iter().find(|channel| channel.name == network.channel.name)
        else {
            continue;
        };
        let score = |(at, &row): (usize, &usize)| {
            Some((at as u32, channel.scores[row].filter(|_| wanted(row))?, channel.thresholds[row]))
        };
        let rows: Vec<Scored> = evaluated.iter().enumerate().filter_map(score).collect();
        explained.extend(of_rows(experiment, network, prepared, &rows, device)?);
    }
    Ok(explained)
}

/// Explains evaluated rows, given by their positions among the scores, in every channel.
pub fn rows(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    scores: &Scores,
    wanted: &[usize],
    device: &Device,
) -> Result<Vec<Vec<Explanation>>> {
    let evaluated: Vec<usize> = scores.evaluated().collect();
    let mut explained = vec![vec![]; wanted.len()];
    for network in networks {
        let Some(channel) =
            scores.channels.iter().find(|channel| channel.name == network.channel.name)
        else {
            continue;
        };
        let scored = |&row: &usize| {
            Some((
                evaluated.binary_search(&row).ok()? as u32,
                channel.scores[row]?,
                channel.thresholds[row],
            ))
        };
        let places: Vec<usize> =
            (0..wanted.len()).filter(|&at| scored(&wanted[at]).is_some()).collect();
        let rows: Vec<Scored> = wanted.iter().filter_map(scored).collect();
        let told = of_rows(experiment, network, prepared, &rows, device)?;
        places.into_iter().zip(told).for_each(|(at, explanation)| explained[at].push(explanation));
    }
    Ok(explained)
}

fn of_rows(
    experiment: &Experiment,
    network: &Network,
    prepared: &Prepared,
    rows: &[Scored],
    device: &Device,
) -> Result<Vec<Explanation>> {
    let columns = network.channel.columns(&prepared.input_names());
    let positions: Vec<u32> = rows.iter().map(|(at, _, _)| *at).collect();
    let errors = network.feature_errors(
        experiment.score.kind,
        prepared.rows(&columns).at(&positions),
        device,
    )?;
    let names = told(&network.channel);
    let axes: BTreeMap<&str, String> = names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| Some((&**name, place(prepared, &network.channel, at)?)))
        .collect();
    let explain = |(&(at, score, threshold), errors): (&Scored, Vec<f64>)| {
        let id = prepared.samples.id(at as usize);
        Explanation {
            file: prepared.samples.source(at as usize).name.clone(),
            run: id.run,
            ls: id.ls,
            channel: network.channel.name.clone(),
            score,
            threshold,
            levels: levels(experiment, network, &errors),
            features: shares(
                names.iter().map(|name| &**name),
                &errors,
                &network.baseline.feature_errors,
            )
            .into_iter()
            .map(|share| ErrorShare { axis: axes.get(share.name.as_str()).cloned(), ..share })
            .collect(),
        }
    };
    Ok(rows.iter().zip(errors).map(explain).collect())
}

/// The position of a bin on its axes; `None` if unknown or the histogram is incomplete.
fn place(prepared: &Prepared, channel: &Channel, at: usize) -> Option<String> {
    let samples = &prepared.samples;
    let layer = samples.layers.iter().find(|layer| layer.name == channel.name);
    let (edges, shape) =
        layer.map_or((samples.edges, samples.shape), |layer| (layer.edges, layer.shape));
    if samples.features.is_some() || at >= shape.width() || channel.features.len() < shape.width() {
        return None;
    }
    axes::place(axes::ends(edges, shape, samples.flow_bins), shape, at)
}

/// Names of features. Bins of a map are named by their x and y from 0, like regions.
fn told(channel: &Channel) -> Vec<Cow<'_, str>> {
    let shape = channel.shape.filter(|shape| shape.y > 1);
    let name = |(at, name): (usize, &'_ String)| {
        let shape = shape.filter(|shape| at < shape.width())?;
        let place = format!("x {}, y {}", at % shape.x, at / shape.x);
        Some(
            name.rsplit_once("/bin_")
                .map_or(place.clone(), |(layer, _)| format!("{layer} {place}")),
        )
    };
    let features = channel.features.iter().enumerate();
    features
        .map(|(at, feature)| {
            name((at, feature)).map_or(Cow::Borrowed(feature.as_str()), Cow::Owned)
        })
        .collect()
}

/// The levels below the channel at which the names of features differ.
fn levels(experiment: &Experiment, network: &Network, errors: &[f64]) -> Vec<Level> {
    let config = &experiment.channels;
    let paths = &network.channel.paths;
    let level = |(at, name): (usize, &String)| {
        // Inputs outside the hierarchy have their own name at every level.
        let names =
            paths.iter().map(|path| path.get(at).or(path.last()).map_or("", String::as_str));
        Level {
            level: name.clone(),
            shares: shares(names, errors, &network.baseline.feature_errors),
        }
    };
    if paths.is_empty() {
        return vec![];
    }
    config
        .levels
        .iter()
        .enumerate()
        .skip(config.depth as usize)
        .map(level)
        .filter(|level| level.shares.len() > 1)
        .collect()
}

/// The largest shares; features of the same name are summed.
fn shares<'a>(
    names: impl Iterator<Item = &'a str>,
    errors: &[f64],
    usual: &[f64],
) -> Vec<ErrorShare> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    // A missing feature has no error, and its mean error does not count either.
    for (name, (error, usual)) in
        names.zip(errors.iter().zip(usual)).filter(|(_, (error, _))| !error.is_nan())
    {
        let sum = sums.entry(name).or_insert((0.0, 0.0));
        (sum.0, sum.1) = (sum.0 + error, sum.1 + usual);
    }
    let total: f64 = sums.values().map(|(error, _)| error).sum();
    let mut shares: Vec<ErrorShare> = sums
        .into_iter()
        .map(|(name, (error, usual))| ErrorShare {
            name: name.to_owned(),
            axis: None,
            share: if total > 0.0 { error / total } else { 0.0 },
            times_usual: (usual > 0.0).then(|| error / usual),
        })
        .collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.name.cmp(&b.name)));
    shares.truncate(MOST);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shape::Shape;

    #[test]
    fn bins_of_maps_are_told_by_where_they_are() {
        let features =
            ["PXLayer_1/bin_0", "PXLayer_1/bin_1", "PXLayer_1/bin_2", "PXLayer_1/bin_3", "pileup"]
                .map(String::from)
                .to_vec();
        let mut channel =
            Channel { shape: Some(Shape { y: 2, x: 2 }), ..Channel::all(features, None) };
        assert_eq!(
            told(&channel)[1..],
            ["PXLayer_1 x 1, y 0", "PXLayer_1 x 0, y 1", "PXLayer_1 x 1, y 1", "pileup"]
        );
        channel.features[3] = "bin_3".into();
        assert_eq!(told(&channel)[3], "x 1, y 1");
        channel.shape = None;
        assert_eq!(told(&channel)[3], "bin_3");
    }

    #[test]
    fn features_of_one_name_are_taken_together() {
        let shares = shares(["pt", "eta", "pt"].into_iter(), &[3.0, 1.0, 4.0], &[1.0, 1.0, 0.0]);
        let missing =
            self::shares(["pt", "eta", "pt"].into_iter(), &[f64::NAN, 1.0, 4.0], &[1.0, 1.0, 2.0]);
        assert_eq!(
            (missing[0].name.as_str(), missing[0].share, missing[0].times_usual),
            ("pt", 0.8, Some(2.0))
        );
        let found: Vec<(&str, f64, Option<f64>)> = shares
            .iter()
            .map(|share| (share.name.as_str(), share.share, share.times_usual))
            .collect();
        assert_eq!(found, [("pt", 0.875, Some(7.0)), ("eta", 0.125, Some(1.0))]);
        assert_eq!(shares.iter().map(ErrorShare::times).collect::<Vec<_>>(), ["7.0 ×", "1.0 ×"]);
    }
}
