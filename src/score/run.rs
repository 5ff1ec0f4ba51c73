//! Scores of prepared rows by each channel and combined.

use super::find_patterns::find_patterns;
use crate::config::report::ReportOn;
use crate::{
    config::{Experiment, threshold::CalibrateOn, train::Order},
    data::channels::{COMBINED, Channel},
    device::{Device, side_by_side},
    error::{Error, Result},
    model::Architecture,
    prepare::{Prepared, chosen::told_counts, retain, split::Split},
    score::{
        channel_scores::ChannelScores,
        error_baseline::{self, ErrorBaseline},
        network::{Network, NetworkScores},
        patterns::{Zeros, scored::Patterns},
        ranges,
        scores::Scores,
    },
    train::Fitted,
};

/// The reason for rejecting a row whose reconstruction overflows.
pub(crate) const NOT_FINITE: &str = "score is not finite";

/// Fits the error baselines of trained models, in the order of
/// [`train`](crate::train::packs::train); also returns warnings, channel by channel.
pub fn fit_error_baselines(
    experiment: &Experiment,
    fitted: &[Fitted],
    prepared: &Prepared,
    device: &Device,
) -> Result<(Vec<Network>, Vec<Option<String>>)> {
    let train = prepared.of_split(Split::Train, experiment.train.order);
    let calibrate = match experiment.threshold.on {
        CalibrateOn::Valid => prepared.of_split(Split::Valid, Order::Ls),
        CalibrateOn::Train | CalibrateOn::Scored => train.clone(),
    };
    let names = prepared.input_names();
    let one = |(channel, fitted): (&Channel, &[Fitted])| {
        let columns = channel.columns(&names);
        let rows = prepared.rows(&columns);
        let (train, calibrate) = (
            prepared.with_inputs(&columns, train.clone()),
            prepared.with_inputs(&columns, calibrate.clone()),
        );
        let architecture = Architecture::new(channel.features.len(), &experiment.model);
        let trained = (
            channel.clone(),
            architecture,
            fitted.iter().map(|fitted| fitted.weights.clone()).collect(),
        );
        let (train, calibrate) =
            (rows.at(&train).whole_where_possible(), rows.at(&calibrate).whole_where_possible());
        Network::fit_baseline(trained, &experiment.score, train, calibrate, device)
    };
    let learned = side_by_side(
        device,
        prepared.channels.iter().zip(fitted.chunks(experiment.train.ensemble as usize)).collect(),
        one,
    )?;
    let (mut networks, notes): (Vec<Network>, Vec<Option<String>>) = learned.into_iter().unzip();
    let known = ranges::learn(prepared, &train);
    let calibration = ranges::compare(prepared, &calibrate, &known);
    networks.iter_mut().for_each(|network| {
        network.set_input_ranges(&network.channel.columns(&names), &known, &calibration)
    });
    if let Some(patterns) = &experiment.patterns {
        let bins = prepared.samples.width();
        let mut zeros = Zeros::new(bins);
        train.iter().for_each(|&row| zeros.add(prepared.samples.row(row as usize)));
        let masked = zeros.mask(patterns.static_mask);
        for network in &mut networks {
            let own = network.channel.columns(&names).into_iter().flatten();
            network.masked =
                own.zip(0..).filter(|(bin, _)| masked[*bin]).map(|(_, at)| at).collect();
        }
    }
    Ok((networks, notes))
}

/// Scored rows.
pub struct Scored {
    /// The scores of every row by every channel, and the rejected rows; no row is flagged yet.
    pub scores: Scores,
    /// The patterns, with `[patterns]`.
    pub patterns: Option<Patterns>,
    /// The remaining rows if some were rejected because their score is not finite; `None` if all
    /// scores are finite.
    pub fewer: Option<Prepared>,
}

/// Scores every row by each channel and combined. A row with a non-finite score in any channel is
/// not evaluated.
pub fn score(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    device: &Device,
) -> Result<Scored> {
    let names = prepared.input_names();
    let one = |network: &Network| {
        let columns = network.channel.columns(&names);
        let said = network.score(&experiment.score, prepared.rows(&columns), device)?;
        // A row without any input of the channel has no score there.
        let present: Vec<bool> = match prepared.masked {
            false => vec![true; said.scores.len()],
            true => (0..said.scores.len()).map(|i| prepared.rows(&columns).has_any(i)).collect(),
        };
        Ok((said, present))
    };
    let mut said: Vec<(NetworkScores, Vec<bool>)> =
        side_by_side(device, networks.iter().collect(), one)?;
    let reason = |row: usize| {
        let at = said.iter().position(|(said, present)| present[row] && !said.is_finite(row))?;
        let channel = if networks.len() > 1 {
            format!(" ({})", networks[at].channel.name)
        } else {
            String::new()
        };
        Some(format!("{NOT_FINITE}{channel}"))
    };
    let reasons: Vec<Option<String>> = (0..prepared.samples.rows.len()).map(reason).collect();
    let fewer = reasons.iter().any(Option::is_some).then(|| {
        for (said, present) in &mut said {
            said.retain(&reasons);
            retain(present, 1, &reasons);
        }
        prepared.without(reasons)
    });
    let prepared = fewer.as_ref().unwrap_or(prepared);
    if prepared.samples.rows.is_empty() {
        return Err(Error::failed(format!(
            "no row has a score: {}",
            told_counts(&prepared.samples)
        )));
    }
    let of_channel =
        |(network, (said, present)): (&Network, (NetworkScores, Vec<bool>))| ChannelScores {
            name: network.channel.name.clone(),
            spread: known(spread(&said.members), &present),
            members: said
                .members
                .into_iter()
                .map(|scores| known(scores.into_iter().map(Some), &present))
                .collect(),
            scores: known(said.scores.into_iter().map(Some), &present),
            log_ratios: known(said.log_ratios.into_iter().map(Some), &present),
            inside: known(said.inside.into_iter().map(Some), &present),
            ..ChannelScores::default()
        };
    let mut channels: Vec<ChannelScores> = networks.iter().zip(said).map(of_channel).collect();
    let patterns = find_patterns(experiment.patterns.as_ref(), networks, prepared, device)?;
    if let Some(patterns) = &patterns {
        patterns.score(&mut channels);
    } else if networks.len() > 1 {
        let how = experiment.score.combine;
        let combine =
            |ratio: &dyn Fn(&ErrorBaseline, &ChannelScores, usize) -> Option<f64>| -> Vec<Option<f64>> {
                let of_row = |i: usize| -> Vec<(&ErrorBaseline, f64)> {
                    networks
                        .iter()
                        .zip(&channels)
                        .filter_map(|(network, channel)| {
                            Some((&network.baseline, ratio(&network.baseline, channel, i)?))
                        })
                        .collect()
                };
                (0..prepared.samples.rows.len())
                    .map(|i| error_baseline::combine(how, &of_row(i)))
                    .collect()
            };
        let scores = combine(&|_, channel, i| channel.log_ratios[i]);
        let member = |member: usize| {
            combine(&|baseline, channel, i| {
                channel.members[member][i].map(|score| baseline.log_ratio(score))
            })
        };
        let members: Vec<Vec<Option<f64>>> = (0..channels[0].members.len()).map(member).collect();
        let numbers: Vec<Vec<f64>> = members
            .iter()
            .map(|member| member.iter().map(|score| score.unwrap_or(f64::NAN)).collect())
            .collect();
        channels.push(ChannelScores {
            name: COMBINED.into(),
            scores,
            spread: spread(&numbers),
            members,
            ..ChannelScores::default()
        });
    }
    let mut scores = Scores::new(
        &prepared.samples,
        &prepared.splits,
        &prepared.labels,
        prepared.weights.as_deref(),
        channels,
    );
    prepared.classes.iter().for_each(|classes| scores.classify(classes));
    Ok(Scored { scores, patterns, fewer })
}

/// Numbers of rows; `None` for absent rows.
fn known(numbers: impl IntoIterator<Item = Option<f64>>, present: &[bool]) -> Vec<Option<f64>> {
    numbers.into_iter().zip(present).map(|(number, present)| number.filter(|_| *present)).collect()
}

/// The standard deviation (ddof 1) of the members' scores, row by row; empty for fewer than two
/// members.
fn spread(members: &[Vec<f64>]) -> Vec<Option<f64>> {
    if members.len() < 2 {
        return vec![];
    }
    let n = members.len() as f64;
    let of_row = |i: usize| {
        let mean = members.iter().map(|scores| scores[i]).sum::<f64>() / n;
        (members.iter().map(|scores| (scores[i] - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    };
    (0..members[0].len()).map(|i| Some(of_row(i)).filter(|spread| spread.is_finite())).collect()
}

/// Whether figures are computed on the rows of a split.
pub(crate) fn judged(experiment: &Experiment, split: Split) -> bool {
    experiment.report.on == ReportOn::All || split == Split::Test
}
