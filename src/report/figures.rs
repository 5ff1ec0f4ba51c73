//! `report.json`: what came out, as numbers that say what they are.

use super::{
    channels::{ChannelFigures, TrainingFigures, judged_rows},
    classes::ClassesFigures,
    findings,
};
use crate::{
    config::{
        Experiment, ThresholdRule,
        data::Fill,
        score::{Combine, ScoreKind},
        threshold::CalibrateOn,
    },
    data::{Samples, axes, channels::COMBINED, shape::Shape},
    error::Result,
    files::tables,
    prepare::{classes::Classes, labels::LabelSet, missing::MissingCells, select, split::Split},
    report::{
        findings::{of_channel, upside_down},
        runs::{Absent, NotEvaluated, RunFigures, RunNotEvaluated, runs, runs_not_evaluated},
    },
    score::{
        channel_scores::ChannelScores,
        drift::{Beside, Drift},
        explain::Explanation,
        network::Network,
        patterns::scored::{PatternFigures, Patterns},
        projections::{Projection, ProjectionFigures},
        roc::{self, Auc, Judged, Point, Ranking},
        row::ScoredRow,
        run::judged,
        scores::Scores,
        threshold::Calibrated,
    },
    warnings::{Severity, Warnings},
};
use arrow_array::{ArrayRef, Float64Array, StringArray};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// All figures of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The experiment's name.
    pub name: String,
    /// Lumisift's version.
    pub version: String,
    /// Where it was computed.
    pub device: String,
    /// The seed.
    pub seed: u64,
    /// What was read.
    pub data: DataFigures,
    /// What a score is.
    pub score: String,
    /// What the score of all channels together is, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined: Option<Combined>,
    /// The rows that figures are taken on: "test" or "all".
    pub on: String,
    /// The channels.
    pub channels: Vec<ChannelFigures>,
    /// Where scores become flags: for each channel the one that flags first.
    pub thresholds: Vec<Calibrated>,
    /// Flags among test rows labelled good; without labels, among validation rows where the
    /// threshold was not calibrated on them.
    pub false_alarms: Option<Rate>,
    /// How far the models of an ensemble agree, where there is one.
    #[serde(default)]
    pub agreement: Option<Agreement>,
    /// Patterns in space, where the config says what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patterns: Option<PatternFigures>,
    /// Areas under the ROC curve, one per channel and label set.
    pub auc: Vec<Auc>,
    /// Classes of rows, where the config names them.
    #[serde(default)]
    pub classes: Option<ClassesFigures>,
    /// The worst flagged rows of each channel, and which features made them so.
    pub worst: Vec<Explanation>,
    /// Latents in two dimensions; the points are in `projections.parquet`.
    #[serde(default)]
    pub projections: Vec<ProjectionFigures>,
    /// How quantities known beside the scores go with them, among the rows that figures are taken
    /// on and that are not labelled bad.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// How newly scored rows differ from those of training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// The runs that figures are taken on.
    pub runs: Vec<RunFigures>,
    /// How many rows are not evaluated of the files that are judged.
    #[serde(default)]
    pub not_evaluated: NotEvaluated,
    /// Runs of these files of which no row is evaluated.
    #[serde(default)]
    pub runs_not_evaluated: Vec<RunNotEvaluated>,
    /// What makes scores or flags worthless, the most important first.
    #[serde(default)]
    pub findings: Vec<String>,
    /// What is doubtful, the most important first.
    pub warnings: Vec<String>,
}

/// What was read, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataFigures {
    /// The monitoring element, where the files name it.
    pub element: Option<String>,
    /// Bins of a histogram, or features.
    pub bins: usize,
    /// Their layout: y and x of a map, y = 1 otherwise.
    pub shape: Shape,
    /// Whether they are features, not bins.
    pub features: bool,
    /// Whether rows are events, not lumisections.
    pub events: bool,
    /// Whether the first and last bin are underflow and overflow.
    pub flow_bins: bool,
    /// The ends of the axes, underflow and overflow included: first and last of x, then of y; as
    /// far as they are known.
    #[serde(default)]
    pub ends: [Option<f64>; 4],
    /// Rows trained on.
    pub train: usize,
    /// Rows held out to watch training.
    pub valid: usize,
    /// Rows held out to judge the result.
    pub test: usize,
    /// Rows of the other files that are not known to be good.
    pub unused: usize,
    /// Rows that are not evaluated, by reason.
    pub not_evaluated: Vec<(String, usize)>,
    /// Columns of the evaluated rows that have missing cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingCells>,
    /// What became of missing cells, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
}

/// A rate with its interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// What was counted.
    pub sample: String,
    /// Rows flagged.
    pub flagged: usize,
    /// Rows in all.
    pub rows: usize,
    /// The share flagged.
    pub rate: f64,
    /// Its 95 % interval (Wilson's), as if rows were independent.
    pub interval: (f64, f64),
}

/// How far the models of an ensemble agree on the rows that figures are taken on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Models in the ensemble.
    pub members: usize,
    /// Rows that the mean score flags.
    pub flagged: usize,
    /// Those of them that every member flags.
    pub by_all: usize,
    /// Rows that some member flags and others do not.
    pub disputed: usize,
    /// The median over rows of spread / score.
    pub relative_spread: Option<f64>,
}

/// The score of all channels together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Combined {
    /// What it is.
    pub what: String,
    /// Its name with its unit, for axes.
    pub axis: String,
}

impl Combined {
    fn new(how: Combine) -> Self {
        let ratio = "ln(score / mean-field error)";
        let (what, axis) = match how {
            Combine::Standardised => (
                format!(
                    "the largest of the channels' {ratio}, each minus its mean over the calibration rows and divided by its standard deviation there"
                ),
                "combined score (standard deviations)",
            ),
            Combine::Max => (
                format!("the largest of the channels' {ratio}"),
                "combined score (largest ln ratio)",
            ),
            Combine::Mean => {
                (format!("the mean of the channels' {ratio}"), "combined score (mean ln ratio)")
            }
            Combine::Sum => {
                (format!("the sum of the channels' {ratio}"), "combined score (sum of ln ratios)")
            }
        };
        Self { what, axis: axis.into() }
    }
}

/// What [`Report::new`] needs beside the scores.
pub struct Context<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The trained channels.
    pub networks: &'a [Network],
    /// Where it was computed.
    pub device: &'a str,
    /// The thresholds, for each channel the one that flags first.
    pub thresholds: &'a [Calibrated],
    /// How training went, channel by channel.
    pub training: Vec<TrainingFigures>,
    /// Why the worst rows are so.
    pub worst: Vec<Explanation>,
    /// Latents in two dimensions.
    pub projections: &'a [Projection],
    /// The rows as read, for run sums and counts.
    pub samples: &'a Samples,
    /// Their columns with missing cells.
    pub missing: Vec<MissingCells>,
    /// The label sets, for where they come from.
    pub labels: &'a [LabelSet],
    /// The classes of rows.
    pub classes: Option<&'a Classes>,
    /// What is known beside the scores: a name, and one number an evaluated row, NaN where it is
    /// unknown.
    pub beside: &'a [(String, Vec<f32>)],
    /// How rows differ from those of training, where they are new.
    pub drift: Option<Drift>,
    /// Patterns in space.
    pub patterns: Option<&'a Patterns>,
    /// What is doubtful.
    pub warnings: Warnings,
}

impl Report {
    /// Figures from flagged scores.
    pub fn new(scores: &Scores, context: Context<'_>) -> Result<Self> {
        let Context {
            experiment,
            networks,
            device,
            thresholds,
            training,
            worst,
            projections,
            samples,
            missing,
            labels,
            classes,
            beside,
            drift,
            patterns,
            mut warnings,
        } = context;
        let main = scores.main().map_or("", |channel| channel.name.as_str());
        let of_main: Vec<Calibrated> =
            thresholds.iter().filter(|threshold| threshold.channel == main).cloned().collect();
        warnings.extend(Severity::Misleading, of_main.iter().filter_map(Calibrated::warning));
        warnings.extend(
            Severity::Misleading,
            networks.iter().zip(&training).flat_map(|(network, training)| {
                training
                    .doubts
                    .iter()
                    .map(|doubt| format!("{}{doubt}", of_channel(&network.channel.name)))
            }),
        );
        let mut counts = [0; Split::ALL.len()];
        scores.evaluated().for_each(|row| counts[scores.rows[row].split as usize] += 1);
        let count = |split: Split| counts[split as usize];
        let score = experiment.score.kind;
        let over = if score == ScoreKind::Sse { "sum" } else { "mean" };
        let inputs = match networks {
            [network] => format!("the {} scaled inputs", network.channel.features.len()),
            _ => "a channel's scaled inputs".into(),
        };
        let channels: Vec<ChannelFigures> = networks
            .iter()
            .zip(training)
            .filter_map(|(network, training)| {
                let channel =
                    scores.channels.iter().find(|channel| channel.name == network.channel.name)?;
                Some(ChannelFigures::new(
                    experiment, network, training, scores, channel, thresholds,
                ))
            })
            .collect();
        let auc = areas(scores, labels, experiment);
        warnings.extend(
            Severity::Misleading,
            auc.iter().filter(|auc| auc.channel != main).filter_map(upside_down),
        );
        warnings.extend(Severity::Misleading, drift.iter().flat_map(Drift::warnings));
        let beside: Vec<Beside> = beside
            .iter()
            .filter_map(|(name, numbers)| goes_with(name, numbers, scores, experiment))
            .collect();
        warnings.extend(Severity::Misleading, beside.iter().filter_map(Beside::warning));
        let (absent, not_evaluated) = Absent::new(experiment, scores, samples);
        let findings = findings::find(experiment, networks, &channels, &auc, scores);
        warnings
            .extend(Severity::Worthless, findings.iter().map(|finding| finding.warning.clone()));
        Ok(Self {
            name: experiment.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            device: device.into(),
            seed: experiment.seed,
            data: DataFigures {
                element: samples.element.clone(),
                bins: samples.width(),
                shape: samples.shape,
                features: samples.features.is_some(),
                events: samples.events,
                flow_bins: samples.flow_bins,
                ends: axes::ends(samples.edges, samples.shape, samples.flow_bins),
                train: count(Split::Train),
                valid: count(Split::Valid),
                test: count(Split::Test),
                unused: count(Split::Unused),
                not_evaluated: select::counts(samples),
                fill: (!missing.is_empty()).then_some(experiment.data.fill),
                missing,
            },
            patterns: patterns.map(|patterns| patterns.figures(samples)),
            score: match experiment.score.kl {
                _ if let Some(patterns) = patterns => patterns.describe(),
                0.0 => format!("{score}: {over} over {inputs} of one {}", samples.what()),
                kl => format!(
                    "{score} + {kl} × KL: {over} over {inputs} of one {}, and the divergence of its latents from normal; the negative evidence lower bound, with the means for latents",
                    samples.what()
                ),
            },
            combined: (networks.len() > 1).then(|| match patterns {
                Some(patterns) => Combined {
                    what: patterns.describe_combined(),
                    axis: "combined score (bins)".into(),
                },
                None => Combined::new(experiment.score.combine),
            }),
            on: judged_rows(experiment).into(),
            channels,
            thresholds: thresholds.iter().map(Calibrated::brief).collect(),
            false_alarms: of_main.first().and_then(|threshold| false_alarms(scores, threshold)),
            agreement: agreement(scores, experiment),
            auc,
            classes: classes.map(|classes| ClassesFigures::new(experiment, scores, classes)),
            worst,
            projections: projections.iter().map(Projection::figures).collect(),
            beside,
            drift,
            runs: runs(experiment, scores, &of_main, samples)?,
            not_evaluated,
            runs_not_evaluated: runs_not_evaluated(&absent),
            findings: findings.into_iter().filter_map(|finding| finding.sentence).collect(),
            warnings: warnings.texts(),
        })
    }
}

impl Report {
    /// The channel that judges a lumisection: the only one, or all together.
    pub fn main(&self) -> &str {
        match &self.channels[..] {
            [channel] => &channel.name,
            _ => COMBINED,
        }
    }
}

/// Flags among rows that are held out and good: test rows labelled good, else validation rows where
/// nothing was calibrated on them.
fn false_alarms(scores: &Scores, threshold: &Calibrated) -> Option<Rate> {
    let main = scores.labels.iter().position(|name| name == "good");
    let channel = scores.main()?;
    let rate = |sample: &str, wanted: &dyn Fn(&ScoredRow) -> bool| {
        let evaluated: Vec<bool> = (0..scores.rows.len())
            .filter(|&i| wanted(&scores.rows[i]))
            .filter_map(|i| channel.flagged(i))
            .collect();
        let flagged = evaluated.iter().filter(|flagged| **flagged).count();
        let (rate, low, high) = roc::rate_with_interval(flagged, evaluated.len())?;
        Some(Rate {
            sample: sample.into(),
            flagged,
            rows: evaluated.len(),
            rate,
            interval: (low, high),
        })
    };
    let fixed = matches!(threshold.threshold, ThresholdRule::Fixed { .. });
    let own = if threshold.on == CalibrateOn::Scored && !fixed {
        ", each run with a threshold found on itself"
    } else {
        ""
    };
    let good_test = |i: usize| {
        rate(&format!("test rows labelled good{own}"), &|row: &ScoredRow| {
            row.split == Split::Test && row.labels[i] == Some(true)
        })
    };
    let valid = || match main {
        Some(i) => rate("validation rows labelled good", &|row: &ScoredRow| {
            row.split == Split::Valid && row.labels[i] == Some(true)
        }),
        None => rate("validation rows taken for good (no labels)", &|row: &ScoredRow| {
            row.split == Split::Valid
        }),
    };
    main.and_then(good_test)
        .or_else(|| if threshold.on == CalibrateOn::Train || fixed { valid() } else { None })
}

/// How a quantity goes with the scores of good rows.
fn goes_with(
    name: &str,
    numbers: &[f32],
    scores: &Scores,
    experiment: &Experiment,
) -> Option<Beside> {
    let (channel, good) = (scores.main()?, scores.labels.iter().position(|label| label == "good"));
    let wanted = |row: &ScoredRow| {
        judged(experiment, row.split) && good.is_none_or(|good| row.labels[good] != Some(false))
    };
    let rows: Vec<(usize, f32)> = scores
        .evaluated()
        .zip(numbers.iter().copied())
        .filter(|(row, _)| wanted(&scores.rows[*row]))
        .collect();
    let on = if judged_rows(experiment) == "all" { "" } else { "test " };
    let sample = match good {
        None => format!("{on}rows taken for good (no labels)"),
        Some(good) if rows.iter().all(|(row, _)| scores.rows[*row].labels[good] == Some(true)) => {
            format!("{on}rows labelled good")
        }
        Some(_) => format!("{on}rows not labelled bad"),
    };
    Beside::new(
        name,
        &sample,
        rows.iter()
            .map(|(row, number)| (channel.scores[*row].unwrap_or(f64::NAN), f64::from(*number))),
    )
}

fn agreement(scores: &Scores, experiment: &Experiment) -> Option<Agreement> {
    let channel = scores.main().filter(|channel| !channel.flagging.is_empty())?;
    let rows = || (0..scores.rows.len()).filter(|&row| judged(experiment, scores.rows[row].split));
    let shares = || rows().filter_map(|row| Some((channel.flagged(row)?, channel.flagging[row]?)));
    // Where thresholds were set anew, members' own flags are not known.
    shares().next()?;
    let relative: Vec<f64> = rows()
        .filter_map(|row| {
            Some(channel.spread[row]? / channel.scores[row].filter(|score| *score > 0.0)?)
        })
        .collect();
    Some(Agreement {
        members: experiment.train.ensemble as usize,
        flagged: shares().filter(|(flagged, _)| *flagged).count(),
        by_all: shares().filter(|(flagged, share)| *flagged && *share == 1.0).count(),
        disputed: shares().filter(|(_, share)| *share > 0.0 && *share < 1.0).count(),
        relative_spread: crate::statistics::percentile(&relative, 50.0),
    })
}

/// Rows of one channel that figures are taken on and of which a label set knows something, ranked.
pub(super) fn ranking(
    scores: &Scores,
    experiment: &Experiment,
    channel: &ChannelScores,
    labels: usize,
) -> Ranking {
    let weighted = experiment.report.weighted;
    let mut rows = vec![];
    for (run, positions) in scores.runs().iter().enumerate() {
        rows.extend(positions.iter().filter_map(|&at| {
            let row = &scores.rows[at];
            let weight = row.weight.filter(|_| weighted).map_or(1.0, f64::from);
            judged(experiment, row.split).then_some(Judged {
                score: channel.scores[at]?,
                good: row.labels[labels]?,
                weight,
                run: run as u32,
            })
        }));
    }
    Ranking::new(rows)
}

/// The areas of each channel and label set.
fn areas(scores: &Scores, labels: &[LabelSet], experiment: &Experiment) -> Vec<Auc> {
    let area = |channel: &ChannelScores, at: usize, name: &String| {
        let ranking = ranking(scores, experiment, channel, at);
        let (good, bad) = ranking.counts();
        let (interval, note) = ranking.interval(experiment.seed);
        Auc {
            channel: channel.name.clone(),
            labels: name.clone(),
            origin: labels
                .iter()
                .find(|set| set.name == *name)
                .map(|set| set.origin.clone())
                .unwrap_or_default(),
            split: judged_rows(experiment).into(),
            weighted: experiment.report.weighted
                && scores.rows.iter().any(|row| row.weight.is_some()),
            good,
            bad,
            auc: ranking.auc(),
            average_precision: ranking.average_precision(),
            interval,
            note,
            efficiencies: experiment
                .report
                .background_rates
                .iter()
                .filter_map(|&rate| ranking.efficiency(rate))
                .collect(),
        }
    };
    scores
        .channels
        .iter()
        .flat_map(|channel| {
            scores.labels.iter().enumerate().map(move |(at, name)| area(channel, at, name))
        })
        .collect()
}

/// `roc.parquet`: the points of the ROC curves, one channel and label set after the other.
pub fn curves(scores: &Scores, experiment: &Experiment) -> Result<Vec<u8>> {
    let (mut channels, mut labels, mut points) = (vec![], vec![], vec![]);
    for channel in &scores.channels {
        for (at, name) in scores.labels.iter().enumerate() {
            let curve = ranking(scores, experiment, channel, at).curve();
            channels.extend(curve.iter().map(|_| channel.name.as_str()));
            labels.extend(curve.iter().map(|_| name.as_str()));
            points.extend(curve);
        }
    }
    let number = |get: fn(&Point) -> f64| -> ArrayRef {
        Arc::new(points.iter().map(get).collect::<Float64Array>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("channel", Arc::new(channels.into_iter().map(Some).collect::<StringArray>())),
        ("labels", Arc::new(labels.into_iter().map(Some).collect::<StringArray>())),
        ("threshold", number(|point| point.threshold)),
        ("false_positive_rate", number(|point| point.false_positive_rate)),
        ("true_positive_rate", number(|point| point.true_positive_rate)),
    ];
    tables::to_parquet(&tables::of_columns(columns)?)
}
