//! `report.json`: what came out, as numbers that say what they are.

use super::scores::{Score, Scores};
use crate::{
    config::{Experiment, raw::CalibrateOn},
    data::{Samples, lumisections, table::Shape},
    error::Result,
    model::Architecture,
    prepare::{labels::LabelSet, select, split::Split},
    score::{
        roc::{self, Auc},
        threshold::Calibrated,
    },
    train::{Fitted, Stopped},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ops::Range, sync::Arc};

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
    /// The network.
    pub model: ModelFigures,
    /// What was read.
    pub data: DataFigures,
    /// How training went.
    pub training: TrainingFigures,
    /// What a score is.
    pub score: String,
    /// Where scores become flags, the one that flags first.
    pub thresholds: Vec<Calibrated>,
    /// Flags among rows that are held out and good, where there are any that the threshold was not calibrated on.
    pub false_alarms: Option<Rate>,
    /// Areas under the ROC curve, one per label set.
    pub auc: Vec<Auc>,
    /// The test runs.
    pub runs: Vec<RunFigures>,
    /// What is doubtful.
    pub warnings: Vec<String>,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFigures {
    /// Widths of inputs and layers.
    pub shape: String,
    /// Weights and biases.
    pub parameters: usize,
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
}

/// How training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingFigures {
    /// What the losses are.
    pub loss: String,
    /// Epochs trained.
    pub epochs: usize,
    /// The epoch whose weights were kept; 0 where none was trained.
    pub kept_epoch: u32,
    /// Why training ended.
    pub stopped: String,
    /// Training loss of the last epoch.
    pub train_loss: Option<f64>,
    /// Validation loss of the last epoch.
    pub valid_loss: Option<f64>,
    /// The lowest validation loss.
    pub best_valid_loss: Option<f64>,
    /// Time of all epochs.
    pub seconds: f64,
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

/// One test run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFigures {
    /// The run, or the file that stands for it.
    pub name: String,
    /// The run number, where known.
    pub run: Option<u32>,
    /// The first and last LS.
    pub ls: (u32, u32),
    /// LSs with a score.
    pub evaluated: usize,
    /// LSs without one.
    pub not_evaluated: usize,
    /// LS numbers that are missing between the first and the last.
    pub gaps: usize,
    /// What each threshold flags.
    pub flagged: Vec<Flagged>,
    /// Sum of the histograms of all evaluated LSs; absent where the data were not at hand.
    pub sum: Option<Vec<f64>>,
}

/// What one threshold flags in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flagged {
    /// The threshold in words.
    pub threshold: String,
    /// Its value for this run.
    pub value: f64,
    /// The LSs whose score is strictly above it.
    pub ls: Vec<u32>,
    /// The run's sum without them, matched by LS number.
    pub sum_without: Option<Vec<f64>>,
}

/// What [`Report::new`] needs beside the scores.
pub struct Context<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The network.
    pub architecture: &'a Architecture,
    /// Where it was computed.
    pub device: &'a str,
    /// The thresholds, the one that flags first.
    pub thresholds: &'a [Calibrated],
    /// How training went.
    pub training: TrainingFigures,
    /// The rows as read, for run sums and counts.
    pub samples: &'a Samples,
    /// The label sets, for where they come from.
    pub labels: &'a [LabelSet],
    /// What is doubtful.
    pub warnings: Vec<String>,
}

impl TrainingFigures {
    /// From a training that has just ended.
    pub fn new(experiment: &Experiment, fitted: &Fitted) -> Self {
        let (history, last) = (&fitted.history, fitted.history.last());
        Self {
            loss: format!("{}: mean over bins and rows, without L2 terms", experiment.config.loss.kind),
            epochs: history.len(),
            kept_epoch: fitted.kept_epoch,
            stopped: match fitted.stopped {
                Stopped::AllEpochs => "all epochs done".into(),
                Stopped::Early => "the validation loss no longer fell".into(),
            },
            train_loss: last.map(|epoch| epoch.train_loss),
            valid_loss: last.and_then(|epoch| epoch.valid_loss),
            best_valid_loss: history.iter().filter_map(|epoch| epoch.valid_loss).min_by(f64::total_cmp),
            seconds: history.iter().map(|epoch| epoch.seconds).sum(),
        }
    }
}

impl Report {
    /// Figures from flagged scores.
    pub fn new(scores: &Scores, context: Context<'_>) -> Result<Self> {
        let Context { experiment, architecture, device, thresholds, training, samples, labels, mut warnings } = context;
        let config = &experiment.config;
        warnings.extend(thresholds.iter().filter_map(Calibrated::warning));
        let count = |split: Split| scores.rows.iter().filter(|row| row.split == split && row.score.is_some()).count();
        Ok(Self {
            name: config.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            device: device.into(),
            seed: config.seed,
            model: ModelFigures { shape: architecture.describe(), parameters: architecture.parameters() },
            data: DataFigures {
                element: samples.element.clone(),
                bins: samples.width(),
                shape: samples.shape,
                features: samples.features.is_some(),
                events: samples.events,
                flow_bins: samples.flow_bins,
                train: count(Split::Train),
                valid: count(Split::Valid),
                test: count(Split::Test),
                unused: count(Split::Unused),
                not_evaluated: select::counts(samples),
            },
            training,
            score: format!("{}: mean over the {} scaled inputs of one {}", config.score.kind, architecture.widths[0], samples.what()),
            thresholds: thresholds.to_vec(),
            false_alarms: false_alarms(scores, &thresholds[0]),
            auc: areas(scores, labels, experiment),
            runs: runs(scores, thresholds, samples)?,
            warnings,
        })
    }
}

/// Flags among good held-out rows: test rows labelled good, else validation rows where nothing was calibrated on them.
fn false_alarms(scores: &Scores, threshold: &Calibrated) -> Option<Rate> {
    let main = scores.labels.iter().position(|name| name == "good");
    let good_test = |row: &&Score| row.split == Split::Test && main.is_some_and(|i| row.labels[i] == Some(true));
    let valid = |row: &&Score| row.split == Split::Valid && threshold.on == CalibrateOn::Train;
    let rate = |sample: &str, rows: Vec<&Score>| {
        let evaluated: Vec<bool> = rows.iter().filter_map(|row| row.flagged).collect();
        let flagged = evaluated.iter().filter(|flagged| **flagged).count();
        let (rate, low, high) = roc::rate_with_interval(flagged, evaluated.len())?;
        Some(Rate { sample: sample.into(), flagged, rows: evaluated.len(), rate, interval: (low, high) })
    };
    rate("test rows labelled good", scores.rows.iter().filter(good_test).collect())
        .or_else(|| rate("validation rows", scores.rows.iter().filter(valid).collect()))
}

/// The area of each label set on the test rows.
fn areas(scores: &Scores, labels: &[LabelSet], experiment: &Experiment) -> Vec<Auc> {
    let area = |(i, name): (usize, &String)| {
        let labelled = |&at: &usize| {
            let row = &scores.rows[at];
            (row.split == Split::Test).then_some((row.score?, row.labels[i]?))
        };
        let runs: Vec<Vec<(f64, bool)>> =
            scores.runs().iter().map(|run| run.iter().filter_map(labelled).collect::<Vec<_>>()).filter(|run| !run.is_empty()).collect();
        let good = runs.iter().flatten().filter(|(_, good)| *good).count();
        let bad = runs.iter().map(Vec::len).sum::<usize>() - good;
        let (auc, interval, note) = roc::auc_with_interval(&runs, experiment.config.seed);
        let origin = labels.iter().find(|set| set.name == *name).map(|set| set.origin.clone()).unwrap_or_default();
        Auc { labels: name.clone(), origin, split: Split::Test.name().into(), good, bad, auc, interval, note }
    };
    scores.labels.iter().enumerate().map(area).collect()
}

/// A run is known by its number, or by the file that stands for it.
type RunKey = (Option<u32>, Option<Arc<str>>);

fn runs(scores: &Scores, thresholds: &[Calibrated], samples: &Samples) -> Result<Vec<RunFigures>> {
    let key = |row: &Score| -> RunKey { (row.run, row.run.is_none().then(|| row.file.clone())) };
    let mut without_score: HashMap<_, Vec<u32>> = HashMap::new();
    for row in scores.rows.iter().filter(|row| row.score.is_none()) {
        without_score.entry(key(row)).or_default().extend(row.ls);
    }
    let ranges: HashMap<RunKey, Range<usize>> = samples
        .run_ranges()
        .into_iter()
        .map(|range| {
            let run = samples.id(range.start).run;
            ((run, run.is_none().then(|| samples.source(range.start).name.as_str().into())), range)
        })
        .collect();
    let mut figures = vec![];
    for run in scores.runs() {
        let test: Vec<usize> = run.iter().copied().filter(|&i| scores.rows[i].split == Split::Test).collect();
        let (Some(&first), Some(&last)) = (test.first(), test.last()) else { continue };
        let row = &scores.rows[first];
        let lumisection = |i: usize| scores.rows[i].ls.unwrap_or_default();
        let without = without_score.get(&key(row)).cloned().unwrap_or_default();
        let all_scores: Vec<f64> = run.iter().filter_map(|&i| scores.rows[i].score).collect();
        // Rows by LS number, never by position: what was not evaluated has shifted positions.
        let range = ranges.get(&key(row)).cloned().unwrap_or(0..0);
        let sum = |leave_out: &[u32]| {
            let mut sum = vec![0.0_f64; samples.width()];
            for i in range.clone().filter(|&i| leave_out.binary_search(&samples.rows[i].ls).is_err()) {
                sum.iter_mut().zip(samples.row(i)).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            (!range.is_empty() && samples.features.is_none()).then_some(sum)
        };
        let mut flagged = vec![];
        for threshold in thresholds {
            let value = threshold.for_run(&all_scores)?;
            let ls: Vec<u32> = test.iter().filter(|&&i| scores.rows[i].score.is_some_and(|score| score > value)).map(|&i| lumisection(i)).collect();
            flagged.push(Flagged { threshold: threshold.threshold.to_string(), value, sum_without: sum(&ls), ls });
        }
        let mut present: Vec<u32> = run.iter().map(|&i| lumisection(i)).chain(without.iter().copied()).collect();
        present.sort_unstable();
        present.dedup();
        let span = present.last().zip(present.first()).map_or(0, |(last, first)| (last - first) as usize + 1);
        figures.push(RunFigures {
            name: row.run.map_or_else(|| row.file.to_string(), |run| run.to_string()),
            run: row.run,
            ls: (lumisection(first), lumisection(last)),
            evaluated: test.len(),
            not_evaluated: without.len(),
            gaps: span - present.len(),
            flagged,
            sum: sum(&[]),
        });
    }
    Ok(figures)
}

impl RunFigures {
    /// How many LSs the first threshold flags.
    pub fn flags(&self) -> usize {
        self.flagged.first().map_or(0, |flagged| flagged.ls.len())
    }
}

impl Flagged {
    /// The flagged LSs as ranges: `301–304, 611`.
    pub fn ranges(&self) -> String {
        lumisections::show_ranges(&self.ls)
    }
}
