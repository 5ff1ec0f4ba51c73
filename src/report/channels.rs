//! Figures of one channel: its training, its errors, and their distribution for good and bad rows.

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

/// Number of bins of the histograms.
const BINS: usize = 50;

/// Figures of one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelFigures {
    /// Its name.
    pub name: String,
    /// Number of its inputs.
    pub features: usize,
    /// Widths of inputs and layers.
    pub shape: String,
    /// Number of weights and biases.
    pub parameters: usize,
    /// Figures of its training.
    pub training: TrainingFigures,
    /// Definition of the two errors.
    pub errors: String,
    /// Error of always predicting the weighted mean of the training rows.
    pub mean_field_error: Measured,
    /// Error of the autoencoder.
    pub ae_error: Measured,
    /// ln(threshold / mean-field error); absent if each run has its own threshold.
    pub log_cut: Option<f64>,
    /// Numbers of rows labelled bad that are flagged (badly reconstructed) and not flagged (well
    /// reconstructed), with labels.
    pub bad: Option<BadFigures>,
    /// ln(score / mean-field error) of good and bad rows.
    pub log_ratios: Option<Histograms>,
    /// The same for the rows of each class, if the config names classes.
    #[serde(default)]
    pub errors_by_class: Option<Histograms>,
    /// The one-class SVM on the latents, if configured.
    pub svm: Option<SvmFigures>,
}

/// Figures of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingFigures {
    /// Definition of the losses.
    pub loss: String,
    /// Number of models of the ensemble; losses are means over them.
    #[serde(default = "one")]
    pub members: usize,
    /// Number of epochs trained; the maximum over members.
    pub epochs: usize,
    /// The epoch whose weights were kept, for an ensemble the maximum over members; 0 if none was
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
    /// The penalties added to the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<PenaltyFigures>,
    /// Sum of the times of all epochs of all members.
    pub seconds: f64,
    /// Warnings about the training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// The penalties added to the loss; `TrainingFigures` has the losses without them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PenaltyFigures {
    /// Definition of the penalties, with their factors.
    pub of: String,
    /// Mean over the training rows during the last epoch.
    pub train: Option<f64>,
}

/// An error in two normalisations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Summed over the features.
    pub sum: f64,
    /// The mean over the features.
    pub mean: f64,
}

/// Numbers of rows labelled bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadFigures {
    /// Not above the threshold.
    pub well_reconstructed: usize,
    /// Above the threshold.
    pub badly_reconstructed: usize,
}

/// Histograms with the same bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// The quantity, the rows, and whether they are weighted.
    pub quantity: String,
    /// Lower edge of the first bin.
    pub low: f64,
    /// Upper edge of the last bin.
    pub high: f64,
    /// One histogram per group of rows.
    pub groups: Vec<Histogram>,
}

/// The histogram of one group of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Name of the group.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// Share of the group's weight in each bin.
    pub shares: Vec<f64>,
}

/// Figures of a one-class SVM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SvmFigures {
    /// The kernel is exp(-gamma |x - y|²).
    pub gamma: f64,
    /// Number of support vectors.
    pub support: usize,
    /// Latents outside the support, group by group.
    pub groups: Vec<SvmGroup>,
    /// Histograms of the decision values of the groups.
    pub decision: Option<Histograms>,
}

/// Latents of one group of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SvmGroup {
    /// Name of the group.
    pub name: String,
    /// Number of rows.
    pub rows: usize,
    /// Number of rows outside the support, with negative decision values.
    pub outside: usize,
    /// Their share of the group's weight; without weights their share of its rows.
    pub outside_share: f64,
}

fn one() -> usize {
    1
}

impl TrainingFigures {
    /// The figures of a channel's trained members. `inputs` is "bins" or "features".
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
                "{weightless} batches were skipped in training because all their rows have weight 0; check the weights"
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

/// Description of the rows that figures are computed on.
pub(super) fn judged_rows(experiment: &Experiment) -> &'static str {
    if experiment.report.on == ReportOn::All { "all" } else { Split::Test.name() }
}

impl ChannelFigures {
    /// The figures of a channel from its flagged scores.
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
            // With patterns, thresholds count bins and cannot be compared with errors.
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
    /// Histograms of groups of rows over their common range; `None` without rows.
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
