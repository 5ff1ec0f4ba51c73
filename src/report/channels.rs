//! Figures of one channel: how it was trained, how large its errors are, how they spread among the
//! good and the bad.

use crate::score::run::judged;
use crate::{
    config::{Experiment, loss::LossKind, report::ReportOn},
    prepare::split::Split,
    score::{
        channel_scores::ChannelScores, network::Network, scores::Scores, threshold::Calibrated,
    },
    train::{Fitted, Stopped},
};
use serde::{Deserialize, Serialize};

/// Bins of the histograms.
const BINS: usize = 50;

/// One channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelFigures {
    /// Its name.
    pub name: String,
    /// Number of its inputs.
    pub features: usize,
    /// Widths of inputs and layers.
    pub shape: String,
    /// Weights and biases.
    pub parameters: usize,
    /// How its training went.
    pub training: TrainingFigures,
    /// What the two errors are.
    pub errors: String,
    /// Error of always answering with the weighted mean of the training rows.
    pub mean_field_error: Measured,
    /// Error of the autoencoder.
    pub ae_error: Measured,
    /// Where scores become flags, as ln(threshold / mean-field error); absent where each run has
    /// its own threshold.
    pub log_cut: Option<f64>,
    /// Rows labelled bad that are flagged (badly reconstructed) and not (well reconstructed), where
    /// there are labels.
    pub bad: Option<BadFigures>,
    /// ln(score / mean-field error) of good and bad rows.
    pub log_ratios: Option<Histograms>,
    /// The same of the rows of each class, where the config names classes.
    #[serde(default)]
    pub errors_by_class: Option<Histograms>,
    /// The one-class SVM on the latents, where the config asks for it.
    pub svm: Option<SvmFigures>,
}

/// How training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingFigures {
    /// What the losses are.
    pub loss: String,
    /// Models of the ensemble; losses are means over them.
    #[serde(default = "one")]
    pub members: usize,
    /// Epochs trained; the most of any member.
    pub epochs: usize,
    /// The epoch whose weights were kept, of an ensemble the last of any member; 0 where none was
    /// trained.
    pub kept_epoch: u32,
    /// Why training ended.
    pub stopped: String,
    /// Training loss of the first epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_loss: Option<f64>,
    /// Training loss of the epoch whose weights were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_loss: Option<f64>,
    /// Training loss of the last epoch.
    pub train_loss: Option<f64>,
    /// Validation loss of the last epoch.
    pub valid_loss: Option<f64>,
    /// The lowest validation loss.
    pub best_valid_loss: Option<f64>,
    /// What was made small beside the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<PenaltyFigures>,
    /// Time of all epochs of all members, one after the other.
    pub seconds: f64,
    /// What is doubtful about the training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// What was made small beside the loss, which is told without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PenaltyFigures {
    /// What it is, with its factors.
    pub of: String,
    /// What it came to in the last epoch: a mean over the training rows while they were trained on.
    pub train: Option<f64>,
}

/// An error in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Summed over the features.
    pub sum: f64,
    /// The mean over the features.
    pub mean: f64,
}

/// Rows labelled bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadFigures {
    /// Not above the threshold.
    pub well_reconstructed: usize,
    /// Above it.
    pub badly_reconstructed: usize,
}

/// Histograms with the same bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// What is counted, on which rows, weighted or not.
    pub quantity: String,
    /// Lower edge of the first bin.
    pub low: f64,
    /// Upper edge of the last bin.
    pub high: f64,
    /// One per group of rows.
    pub groups: Vec<Histogram>,
}

/// One group of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Which rows.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// Share of the group's weight in each bin.
    pub shares: Vec<f64>,
}

/// What a one-class SVM says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SvmFigures {
    /// Width of the kernel.
    pub gamma: f64,
    /// Support vectors.
    pub support: usize,
    /// Where latents lie, group by group.
    pub groups: Vec<SvmGroup>,
    /// Decision values of the groups.
    pub decision: Option<Histograms>,
}

/// One group of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SvmGroup {
    /// Which rows.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// How many of them lie outside: their decision value is negative.
    pub outside: usize,
    /// Their share of the group's weight; the same as of its rows where rows have no weights.
    pub outside_share: f64,
}

fn one() -> usize {
    1
}

impl TrainingFigures {
    /// From the training of a channel's members that has just ended. `inputs` are "bins" or
    /// "features".
    pub fn new(experiment: &Experiment, members: &[Fitted], inputs: &str) -> Self {
        let mean = |number: &dyn Fn(&Fitted) -> Option<f64>| -> Option<f64> {
            let numbers: Vec<f64> = members.iter().filter_map(number).collect();
            (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
        };
        let stopped = |why: Stopped| members.iter().filter(|fitted| fitted.stopped == why).count();
        let over = if experiment.loss.kind == LossKind::Sse {
            format!("sum over {inputs}, mean over rows")
        } else {
            format!("mean over {inputs} and rows")
        };
        let weighted = if experiment.weights.quantity().is_some() { ", weighted" } else { "" };
        let weightless: usize = members.iter().map(|fitted| fitted.weightless_batches).sum();
        let doubts = if weightless > 0 {
            vec![format!(
                "{weightless} batches were left out of training because their rows weigh nothing; check the weights"
            )]
        } else {
            vec![]
        };
        let penalised = !experiment.loss.penalties().is_empty();
        let without = if penalised { "L2 terms and the penalty" } else { "L2 terms" };
        let drawn = if experiment.model.variational {
            "; with drawn latents in training, with their means in validation"
        } else {
            ""
        };
        let last = |number: fn(&crate::train::Epoch) -> Option<f64>| {
            mean(&|fitted| fitted.history.last().and_then(number))
        };
        Self {
            loss: format!("{}: {over}{weighted}, without {without}{drawn}", experiment.loss.kind),
            members: members.len(),
            epochs: members.iter().map(|fitted| fitted.history.len()).max().unwrap_or(0),
            kept_epoch: members.iter().map(|fitted| fitted.kept_epoch).max().unwrap_or(0),
            stopped: match (stopped(Stopped::Early), stopped(Stopped::Converged), members.len()) {
                (0, 0, _) => "all epochs done".into(),
                (early, _, all) if early == all => "the validation loss no longer fell".into(),
                (_, converged, all) if converged == all => {
                    "the training loss hardly fell any more".into()
                }
                (early, 0, all) => {
                    format!("the validation loss no longer fell for {early} of {all} members")
                }
                (early, converged, all) => format!(
                    "the training loss hardly fell any more for {} of {all} members",
                    early + converged
                ),
            },
            first_loss: mean(&|fitted| Some(fitted.history.first()?.train_loss)),
            kept_loss: mean(&|fitted| {
                Some(fitted.history.get(fitted.kept_epoch.checked_sub(1)? as usize)?.train_loss)
            }),
            train_loss: last(|epoch| Some(epoch.train_loss)),
            valid_loss: last(|epoch| epoch.valid_loss),
            best_valid_loss: mean(&|fitted| {
                fitted.history.iter().filter_map(|epoch| epoch.valid_loss).min_by(f64::total_cmp)
            }),
            penalty: penalised.then(|| PenaltyFigures {
                of: experiment.loss.penalties().to_string(),
                train: last(|epoch| epoch.penalty),
            }),
            // The sum of nothing is −0.
            seconds: 0.0
                + members
                    .iter()
                    .flat_map(|fitted| &fitted.history)
                    .map(|epoch| epoch.seconds)
                    .sum::<f64>(),
            doubts,
        }
    }
}

/// The rows that figures are taken on, in words.
pub(super) fn judged_rows(experiment: &Experiment) -> &'static str {
    if experiment.report.on == ReportOn::All { "all" } else { Split::Test.name() }
}

impl ChannelFigures {
    /// Figures of a channel from its flagged scores.
    pub(super) fn new(
        experiment: &Experiment,
        network: &Network,
        training: TrainingFigures,
        scores: &Scores,
        channel: &ChannelScores,
        thresholds: &[Calibrated],
    ) -> Self {
        let features = network.channel.features.len();
        let divisor = experiment.score.kind.divisor(features);
        let measured =
            |error: f64| Measured { sum: error * divisor, mean: error * divisor / features as f64 };
        let threshold = thresholds.iter().find(|threshold| threshold.channel == channel.name);
        let weighted =
            if experiment.weights.quantity().is_some() { "weighted mean" } else { "mean" };
        let main = scores.labels.iter().position(|name| name == "good");
        let bad: Vec<usize> = rows_of(experiment, scores, |row| {
            main.is_some_and(|set| scores.rows[row].labels[set] == Some(false))
        });
        let good: Vec<usize> = rows_of(experiment, scores, |row| {
            main.is_none_or(|set| scores.rows[row].labels[set] == Some(true))
        });
        let (badly, well): (Vec<usize>, Vec<usize>) =
            bad.iter().partition(|&&row| channel.flagged(row) == Some(true));
        let judged = Judged { experiment, scores };
        let classes: Vec<Vec<usize>> = (0..scores.classes.len())
            .map(|class| {
                rows_of(experiment, scores, |row| scores.rows[row].class == Some(class as u8))
            })
            .collect();
        let by_class: Vec<(&str, &Vec<usize>)> =
            scores.classes.iter().map(String::as_str).zip(&classes).collect();
        let good_name = if main.is_some() { "good" } else { "all" };
        let svm = network.svm.as_ref().map(|svm| {
            let groups = [
                (good_name, &good),
                ("well reconstructed bad", &well),
                ("badly reconstructed bad", &badly),
            ];
            let is_outside = |row: &&usize| channel.inside[**row].is_some_and(|value| value < 0.0);
            let weight = |row: &usize| scores.rows[*row].weight.map_or(1.0, f64::from);
            let group = |(name, rows): &(&str, &Vec<usize>)| {
                let (all, outside): (f64, f64) = (
                    rows.iter().map(weight).sum(),
                    rows.iter().filter(is_outside).map(weight).sum(),
                );
                let outside_share = if outside > 0.0 { outside / all } else { 0.0 };
                SvmGroup {
                    name: (*name).into(),
                    rows: rows.len(),
                    outside: rows.iter().filter(is_outside).count(),
                    outside_share,
                }
            };
            SvmFigures {
                gamma: svm.gamma,
                support: svm.coefficients.len(),
                groups: groups.iter().map(group).collect(),
                decision: judged.histograms(
                    "decision value of the one-class SVM",
                    &channel.inside,
                    &groups,
                ),
            }
        });
        Self {
            name: channel.name.clone(),
            features,
            shape: network.architecture.describe(),
            parameters: network.architecture.parameters(),
            training,
            errors: format!(
                "{weighted} over the training rows; the {} of scaled inputs",
                experiment.score.kind.per_feature()
            ),
            mean_field_error: measured(network.baseline.mean_field_error),
            ae_error: measured(network.baseline.error),
            // Numbers of bins have no place among errors.
            log_cut: threshold
                .filter(|_| experiment.patterns.is_none())
                .and_then(|threshold| Some(network.baseline.log_ratio(threshold.value?))),
            bad: main.map(|_| BadFigures {
                well_reconstructed: well.len(),
                badly_reconstructed: badly.len(),
            }),
            errors_by_class: judged.histograms(
                "ln(score / mean-field error)",
                &channel.log_ratios,
                &by_class,
            ),
            log_ratios: judged.histograms(
                "ln(score / mean-field error)",
                &channel.log_ratios,
                &[(good_name, &good), ("bad", &bad)],
            ),
            svm,
        }
    }
}

fn rows_of(experiment: &Experiment, scores: &Scores, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
    scores
        .evaluated()
        .filter(|&row| judged(experiment, scores.rows[row].split))
        .filter(|&row| wanted(row))
        .collect()
}

struct Judged<'a> {
    experiment: &'a Experiment,
    scores: &'a Scores,
}

impl Judged<'_> {
    /// Histograms of groups of rows over the range of all of them; nothing where there are no rows.
    fn histograms(
        &self,
        quantity: &str,
        values: &[Option<f64>],
        groups: &[(&str, &Vec<usize>)],
    ) -> Option<Histograms> {
        let value = |row: &usize| values.get(*row).copied().flatten();
        let all = groups.iter().flat_map(|(_, rows)| rows.iter().filter_map(value));
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return None;
        }
        let step = if high > low { BINS as f64 / (high - low) } else { 0.0 };
        let histogram = |(name, rows): &(&str, &Vec<usize>)| {
            let mut shares = vec![0.0; BINS];
            for (row, value) in rows.iter().filter_map(|row| Some((*row, value(row)?))) {
                shares[(((value - low) * step) as usize).min(BINS - 1)] +=
                    self.scores.rows[row].weight.map_or(1.0, f64::from);
            }
            let total: f64 = shares.iter().sum();
            shares.iter_mut().filter(|_| total > 0.0).for_each(|share| *share /= total);
            Histogram { name: (*name).into(), rows: rows.len(), shares }
        };
        let weighted = if self.scores.rows.iter().any(|row| row.weight.is_some()) {
            "weighted"
        } else {
            "unweighted"
        };
        let on = judged_rows(self.experiment);
        Some(Histograms {
            quantity: format!("{quantity}, {on} rows, {weighted}"),
            low,
            high,
            groups: groups.iter().map(histogram).collect(),
        })
    }
}
