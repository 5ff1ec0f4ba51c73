//! `scores.parquet`: one row per sample and channel, with what became of it.

use crate::{
    config::{ThresholdRule, threshold::CalibrateOn},
    data::{Rejected, Samples, channels::COMBINED, read::columnar},
    error::{Error, Result},
    files::tables,
    prepare::{classes::Classes, labels::LabelSet, split::Split},
    score::threshold::Calibrated,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, RecordBatch, StringArray,
    UInt32Array,
    cast::AsArray,
    types::{Float32Type, Float64Type, UInt32Type},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    ops::Range,
    path::Path,
    sync::Arc,
};

/// What is said of a lumisection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The score is not above the threshold, or the lower of two cuts.
    #[serde(rename = "good")]
    Good,
    /// The score lies between two cuts (`lumisift certify`): a person should look.
    #[serde(rename = "grey")]
    Grey,
    /// The score is above the threshold, or the upper of two cuts.
    #[serde(rename = "bad")]
    Bad,
    /// There is no score; this never counts as good.
    #[serde(rename = "not evaluated")]
    NotEvaluated,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Good, Self::Grey, Self::Bad, Self::NotEvaluated];

    /// The words in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Grey => "grey",
            Self::Bad => "bad",
            Self::NotEvaluated => "not evaluated",
        }
    }
}

/// One sample: what its rows in `scores.parquet` share, whatever the channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What the row was for.
    pub split: Split,
    /// The file it came from.
    pub file: Arc<str>,
    /// Its run, where known.
    pub run: Option<u32>,
    /// Its lumisection, or the number of the event; unknown only where the row could not be read.
    pub ls: Option<u32>,
    /// How much it counts, where rows count differently.
    pub weight: Option<f32>,
    /// Why it is not evaluated, where it is not.
    pub rejected: Option<Arc<str>>,
    /// Its class, an index into [`Scores::classes`], where it is known.
    pub class: Option<u8>,
    /// What the label sets say (good = true), in the order of [`Scores::labels`].
    pub labels: Arc<[Option<bool>]>,
}

/// A run is known by its number, or by the file that stands for it.
pub type RunKey = (Option<u32>, Option<Arc<str>>);

impl Row {
    /// The run that the row is of.
    pub fn run_key(&self) -> RunKey {
        (self.run, self.run.is_none().then(|| self.file.clone()))
    }

    /// How outputs name that run.
    pub fn run_name(&self) -> String {
        self.run.map_or_else(|| self.file.to_string(), |run| run.to_string())
    }
}

/// One copy of each value that many rows have.
fn shared<T: ?Sized + Eq + Hash>(known: &mut HashSet<Arc<T>>, value: &T) -> Arc<T>
where
    Arc<T>: for<'a> From<&'a T>,
{
    if let Some(known) = known.get(value) {
        return Arc::clone(known);
    }
    let new = Arc::from(value);
    known.insert(Arc::clone(&new));
    new
}

/// What one channel says of every row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelScores {
    /// The channel; "combined" is all of them together.
    pub name: String,
    /// The reconstruction error; none where a row was not evaluated.
    pub scores: Vec<Option<f64>>,
    /// ln(score / mean-field error); empty for "combined", which is made of them.
    pub log_ratios: Vec<Option<f64>>,
    /// How far inside the one-class SVM's support the latent lies, negative outside; empty without
    /// an SVM.
    pub inside: Vec<Option<f64>>,
    /// The scores of each member of an ensemble, of which `scores` are the means; empty where there
    /// is one, and not kept in files.
    pub members: Vec<Vec<Option<f64>>>,
    /// Their standard deviation (ddof 1); empty without an ensemble.
    pub spread: Vec<Option<f64>>,
    /// The share of members whose own score is above their own threshold; empty without an
    /// ensemble.
    pub flagging: Vec<Option<f64>>,
    /// What each score is held against; none before it is.
    pub thresholds: Vec<Option<f64>>,
    /// What is said of a score that is above.
    pub why: Arc<str>,
    /// What is said of each row's score instead, where that is known.
    pub reasons: Vec<Option<Arc<str>>>,
}

impl ChannelScores {
    /// Whether the score of a row is strictly above its threshold.
    pub fn flagged(&self, row: usize) -> Option<bool> {
        Some(self.scores[row]? > self.thresholds[row]?)
    }

    /// What is said of a row.
    pub fn verdict(&self, row: usize) -> Verdict {
        match self.flagged(row) {
            Some(true) => Verdict::Bad,
            Some(false) => Verdict::Good,
            None => Verdict::NotEvaluated,
        }
    }
}

/// Makes a column of the table.
type Column<'a> = Box<dyn FnOnce() -> ArrayRef + Send + 'a>;

/// All scores of an experiment, sorted by run and LS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Whether rows are events: the column of their number is then `event`, else `ls`.
    pub events: bool,
    /// Names of the label sets; columns `label_<name>`.
    pub labels: Vec<String>,
    /// Names of the classes; a column `class` where there are any.
    pub classes: Vec<String>,
    /// The samples.
    pub rows: Vec<Row>,
    /// What each channel says of them; where there are several, "combined" is the last.
    pub channels: Vec<ChannelScores>,
}

impl Scores {
    /// Puts evaluated rows and rejected ones together. Each of `channels` has one entry a row of
    /// `samples`.
    pub fn new(
        samples: &Samples,
        splits: &[Split],
        labels: &[LabelSet],
        weights: Option<&[f32]>,
        channels: Vec<ChannelScores>,
    ) -> Self {
        let files: Vec<Arc<str>> =
            samples.sources.iter().map(|source| source.name.as_str().into()).collect();
        let mut known = HashSet::new();
        let mut share = |labels: Vec<Option<bool>>| shared(&mut known, labels.as_slice());
        let mut rows: Vec<Row> = (0..samples.rows.len())
            .map(|i| Row {
                split: splits[i],
                file: files[samples.rows[i].source as usize].clone(),
                run: samples.id(i).run,
                ls: Some(samples.rows[i].ls),
                weight: weights.map(|weights| weights[i]),
                rejected: None,
                class: None,
                labels: share(labels.iter().map(|set| set.good[i]).collect()),
            })
            .collect();
        rows.extend(samples.rejected.iter().map(|rejected| Row {
            split: if samples.sources[rejected.source as usize].role == crate::data::Role::Test {
                Split::Test
            } else {
                Split::Unused
            },
            file: files[rejected.source as usize].clone(),
            run: rejected.id.and_then(|id| id.run),
            ls: rejected.id.map(|id| id.ls),
            weight: None,
            rejected: Some(rejected.told().into()),
            class: None,
            labels: share(
                (0..labels.len()).map(|set| rejected.labels.get(set).copied().flatten()).collect(),
            ),
        }));
        let mut scores = Self {
            events: samples.events,
            labels: labels.iter().map(|set| set.name.clone()).collect(),
            classes: vec![],
            rows,
            channels,
        };
        let total = scores.rows.len();
        for channel in &mut scores.channels {
            channel.scores.resize(total, None);
            channel.thresholds = vec![None; total];
            if !channel.reasons.is_empty() {
                channel.reasons.resize(total, None);
            }
            [
                &mut channel.log_ratios,
                &mut channel.inside,
                &mut channel.spread,
                &mut channel.flagging,
            ]
            .into_iter()
            .chain(&mut channel.members)
            .filter(|column| !column.is_empty())
            .for_each(|column| column.resize(total, None));
        }
        // Without rejected rows they are in order.
        if !samples.rejected.is_empty() {
            let place: HashMap<&Arc<str>, usize> =
                files.iter().enumerate().map(|(at, file)| (file, at)).collect();
            let key = |row: &Row| {
                (
                    row.run.is_none(),
                    row.run,
                    if row.run.is_none() { place.get(&row.file) } else { None },
                    row.ls,
                )
            };
            let mut order: Vec<usize> = (0..total).collect();
            order.sort_by_key(|&at| key(&scores.rows[at]));
            scores = scores.pick(&order);
        }
        scores
    }

    /// Notes the classes of the evaluated rows.
    pub fn classify(&mut self, classes: &Classes) {
        self.classes = classes.names.clone();
        self.rows
            .iter_mut()
            .filter(|row| row.rejected.is_none())
            .zip(&classes.of)
            .for_each(|(row, class)| row.class = *class);
    }

    /// The rows at these positions, in this order.
    pub fn pick(&self, positions: &[usize]) -> Self {
        let pick = |column: &[Option<f64>]| {
            if column.is_empty() {
                vec![]
            } else {
                positions.iter().map(|&at| column[at]).collect()
            }
        };
        let channels = self.channels.iter().map(|channel| ChannelScores {
            name: channel.name.clone(),
            scores: pick(&channel.scores),
            log_ratios: pick(&channel.log_ratios),
            inside: pick(&channel.inside),
            members: channel.members.iter().map(|member| pick(member)).collect(),
            spread: pick(&channel.spread),
            flagging: pick(&channel.flagging),
            thresholds: pick(&channel.thresholds),
            why: channel.why.clone(),
            reasons: if channel.reasons.is_empty() {
                vec![]
            } else {
                positions.iter().map(|&at| channel.reasons[at].clone()).collect()
            },
        });
        Self {
            events: self.events,
            labels: self.labels.clone(),
            classes: self.classes.clone(),
            channels: channels.collect(),
            rows: positions.iter().map(|&at| self.rows[at].clone()).collect(),
        }
    }

    /// Positions of the rows that are evaluated; they come in the order of the samples.
    pub fn evaluated(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows.len()).filter(|&row| self.rows[row].rejected.is_none())
    }

    /// The channel that judges a lumisection: the only one, or all together.
    pub fn main(&self) -> Option<&ChannelScores> {
        self.channels.last()
    }

    /// Whether a channel's scores are drawn on a logarithmic axis. What is combined is a logarithm
    /// itself, and 0 has none.
    pub fn is_log(&self, channel: &ChannelScores) -> bool {
        channel.name != COMBINED && channel.scores.iter().flatten().all(|score| *score > 0.0)
    }

    /// "ls" or "event": what a row is known by beside its run.
    fn number_column(&self) -> &'static str {
        if self.events { "event" } else { "ls" }
    }

    /// Positions of the evaluated rows of each run, in the order of LS.
    pub fn runs(&self) -> Vec<Vec<usize>> {
        let same = |a: &Row, b: &Row| {
            a.run == b.run && (a.run.is_some() || Arc::ptr_eq(&a.file, &b.file) || a.file == b.file)
        };
        let mut runs: Vec<Vec<usize>> = vec![];
        for i in self.evaluated() {
            match runs.last_mut() {
                Some(run) if same(&self.rows[run[0]], &self.rows[i]) => run.push(i),
                _ => runs.push(vec![i]),
            }
        }
        runs
    }

    /// The rows of a run, split by split: what is scored as one sample.
    pub fn by_split(&self, run: &[usize]) -> Vec<Vec<usize>> {
        let of = |split: Split| {
            run.iter().copied().filter(|&i| self.rows[i].split == split).collect::<Vec<_>>()
        };
        Split::ALL.into_iter().map(of).filter(|rows| !rows.is_empty()).collect()
    }

    /// Scores for the rows of one split, run by run.
    pub fn of_split(&self, scores: &[Option<f64>], split: Split) -> Vec<Vec<f64>> {
        let of_run = |run: &Vec<usize>| -> Vec<f64> {
            run.iter()
                .filter(|&&i| self.rows[i].split == split)
                .filter_map(|&i| scores[i])
                .collect()
        };
        self.runs().iter().map(of_run).filter(|run| !run.is_empty()).collect()
    }

    /// Holds the scores of each channel against the first threshold that is for it.
    pub fn flag(&mut self, thresholds: &[Calibrated]) -> Result<()> {
        let samples: Vec<Vec<usize>> =
            self.runs().iter().flat_map(|run| self.by_split(run)).collect();
        for channel in &mut self.channels {
            let Some(threshold) =
                thresholds.iter().find(|threshold| threshold.channel == channel.name)
            else {
                continue;
            };
            channel.why = match threshold.on {
                _ if let ThresholdRule::Fixed { value } = threshold.threshold => {
                    format!("above the fixed threshold {value}")
                }
                CalibrateOn::Scored => format!("above the {} of its run", threshold.describe()),
                _ => format!("above the {} of {}", threshold.describe(), threshold.sample()),
            }
            .into();
            let of_run = |scores: &[Option<f64>], run: &[usize]| -> Vec<f64> {
                run.iter().filter_map(|&i| scores[i]).collect()
            };
            for run in &samples {
                let value = threshold.for_run(&of_run(&channel.scores, run))?;
                run.iter().for_each(|&i| channel.thresholds[i] = channel.scores[i].map(|_| value));
            }
            let mut flags = vec![0_u32; self.rows.len()];
            for (member, scores) in channel.members.iter().enumerate() {
                for run in &samples {
                    let value = threshold.for_member(member, &of_run(scores, run))?;
                    run.iter().for_each(|&i| {
                        flags[i] += u32::from(scores[i].is_some_and(|score| score > value))
                    });
                }
            }
            let share = |(score, flags): (&Option<f64>, u32)| {
                score.map(|_| f64::from(flags) / channel.members.len() as f64)
            };
            // Where the members' own scores are not at hand nothing is known of their flags.
            let known = !channel.members.is_empty();
            channel.flagging = if known {
                channel.scores.iter().zip(flags).map(share).collect()
            } else {
                vec![None; channel.flagging.len()]
            };
        }
        Ok(())
    }

    /// Writes a Parquet file, or CSV where the name ends in .csv; beside its target, then renamed.
    pub fn write(&self, path: &Path) -> Result<()> {
        let all = self.rows.len() * self.channels.len();
        tables::write_parts(
            path,
            (0..all.max(1))
                .step_by(tables::GROUP)
                .map(|first| self.batch(first..(first + tables::GROUP).min(all))),
        )
    }

    fn reason<'a>(&'a self, channel: &'a ChannelScores, row: usize) -> Option<&'a str> {
        let own = || channel.reasons.get(row).and_then(Option::as_deref).unwrap_or(&channel.why);
        let above = || (channel.flagged(row) == Some(true)).then(own);
        let without_inputs = || channel.scores[row].is_none().then_some(NO_INPUTS);
        self.rows[row].rejected.as_deref().or_else(above).or_else(without_inputs)
    }

    /// Whether rows have weights.
    fn weighted(&self) -> bool {
        self.rows.iter().any(|row| row.weight.is_some())
    }

    /// Some rows of the table, which has one channel after the other.
    fn batch<'a>(&'a self, range: Range<usize>) -> Result<RecordBatch> {
        let (first, end, rows) = (range.start, range.end, self.rows.len());
        let of_channels =
            move || (first..end).map(move |at| (&self.channels[at / rows], at % rows));
        let repeated = move || of_channels().map(|(_, row)| &self.rows[row]);
        // None where a channel has no such numbers.
        let numbers = move |of: fn(&ChannelScores) -> &[Option<f64>]| -> Column<'a> {
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, row)| of(channel).get(row).copied().flatten())
                        .collect::<Float64Array>(),
                )
            })
        };
        let mut columns: Vec<(String, Column<'a>)> = vec![];
        let mut add = |name: &str, column: Column<'a>| columns.push((name.into(), column));
        add(
            "split",
            Box::new(move || {
                Arc::new(repeated().map(|row| Some(row.split.name())).collect::<StringArray>())
            }),
        );
        add(
            "file",
            Box::new(move || {
                Arc::new(repeated().map(|row| Some(&*row.file)).collect::<StringArray>())
            }),
        );
        add(
            "run",
            Box::new(move || Arc::new(repeated().map(|row| row.run).collect::<UInt32Array>())),
        );
        add(
            self.number_column(),
            Box::new(move || Arc::new(repeated().map(|row| row.ls).collect::<UInt32Array>())),
        );
        add(
            "channel",
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, _)| Some(channel.name.as_str()))
                        .collect::<StringArray>(),
                )
            }),
        );
        add("score", numbers(|channel| &channel.scores));
        add("threshold", numbers(|channel| &channel.thresholds));
        add(
            "flagged",
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, row)| channel.flagged(row))
                        .collect::<BooleanArray>(),
                )
            }),
        );
        add(
            "verdict",
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, row)| Some(channel.verdict(row).name()))
                        .collect::<StringArray>(),
                )
            }),
        );
        add(
            "reason",
            Box::new(move || {
                Arc::new(
                    of_channels()
                        .map(|(channel, row)| self.reason(channel, row))
                        .collect::<StringArray>(),
                )
            }),
        );
        add(LOG_RATIO, numbers(|channel| &channel.log_ratios));
        if self.channels.iter().any(|channel| !channel.inside.is_empty()) {
            add(INSIDE, numbers(|channel| &channel.inside));
        }
        if self.channels.iter().any(|channel| !channel.spread.is_empty()) {
            add(SPREAD, numbers(|channel| &channel.spread));
            add(FLAGGING, numbers(|channel| &channel.flagging));
        }
        if self.weighted() {
            add(
                WEIGHT,
                Box::new(move || {
                    Arc::new(repeated().map(|row| row.weight).collect::<Float32Array>())
                }),
            );
        }
        if !self.classes.is_empty() {
            let name = |row: &Row| row.class.map(|class| self.classes[class as usize].as_str());
            add(CLASS, Box::new(move || Arc::new(repeated().map(name).collect::<StringArray>())));
        }
        for (i, name) in self.labels.iter().enumerate() {
            add(
                &format!("label_{name}"),
                Box::new(move || {
                    Arc::new(repeated().map(|row| row.labels[i]).collect::<BooleanArray>())
                }),
            );
        }
        tables::of_columns(columns.into_par_iter().map(|(name, column)| (name, column())).collect())
    }

    /// Reads a `scores.parquet`.
    pub fn read(path: &Path) -> Result<Self> {
        crate::files::regular(path)?;
        let torn = |error: &dyn std::fmt::Display| {
            Error::input(format!("{}: not a whole scores file: {error}", path.display()))
        };
        let (_, batches) = columnar::read_table(path, tables::GROUP)?;
        let mut scores = Self::default();
        for batch in batches {
            scores.events = batch.column_by_name("event").is_some();
            scores.labels = batch
                .schema()
                .fields()
                .iter()
                .filter_map(|field| Some(field.name().strip_prefix("label_")?.to_owned()))
                .collect();
            scores
                .append(&batch)
                .ok_or_else(|| torn(&"its columns are not those of a scores file"))?;
        }
        // Where all are flagged for the same reason it is told once.
        for channel in &mut scores.channels {
            if channel.reasons.iter().flatten().all(|reason| *reason == channel.why) {
                channel.reasons = vec![];
            }
        }
        let rows = scores.rows.len();
        match scores.channels.iter().find(|channel| channel.scores.len() != rows) {
            Some(channel) => Err(torn(&format!(
                "{} rows of the channel {}, {rows} of others",
                channel.scores.len(),
                channel.name
            ))),
            None => Ok(scores),
        }
    }

    fn append(&mut self, batch: &RecordBatch) -> Option<()> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let whole = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>();
        let number = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Float64Type>();
        let flag = |name: &str| batch.column_by_name(name)?.as_boolean_opt();
        let (split, file, channel, reason) =
            (text("split")?, text("file")?, text("channel")?, text("reason")?);
        let (run, ls, score, threshold, log_ratio) = (
            whole("run")?,
            whole(self.number_column())?,
            number("score")?,
            number("threshold")?,
            number(LOG_RATIO)?,
        );
        let (inside, spread, flagging) = (number(INSIDE), number(SPREAD), number(FLAGGING));
        let weight = batch
            .column_by_name(WEIGHT)
            .and_then(|column| column.as_primitive_opt::<Float32Type>());
        let class = text(CLASS);
        let labels = self
            .labels
            .iter()
            .map(|name| flag(&format!("label_{name}")))
            .collect::<Option<Vec<_>>>()?;
        let valid = |array: &dyn Array, i: usize| array.is_valid(i).then_some(i);
        let (mut texts, mut label_sets) = (HashSet::new(), HashSet::new());
        let mut share = |text: &str| shared(&mut texts, text);
        for i in 0..batch.num_rows() {
            let name = channel.value(i);
            if self.channels.last().is_none_or(|channel| channel.name != name) {
                self.channels
                    .push(ChannelScores { name: name.to_owned(), ..ChannelScores::default() });
            }
            let first = self.channels.len() == 1;
            let of_channel = self.channels.last_mut()?;
            of_channel.scores.push(valid(score, i).map(|i| score.value(i)));
            of_channel.thresholds.push(valid(threshold, i).map(|i| threshold.value(i)));
            if name != COMBINED {
                of_channel.log_ratios.push(valid(log_ratio, i).map(|i| log_ratio.value(i)));
                if let Some(inside) = inside {
                    of_channel.inside.push(valid(inside, i).map(|i| inside.value(i)));
                }
            }
            for (column, numbers) in
                [(&mut of_channel.spread, spread), (&mut of_channel.flagging, flagging)]
            {
                column.extend(numbers.map(|numbers| valid(numbers, i).map(|i| numbers.value(i))));
            }
            let evaluated = of_channel.scores.last()?.is_some();
            if evaluated && let Some(i) = valid(reason, i) {
                of_channel.why = share(reason.value(i));
            }
            of_channel
                .reasons
                .push(valid(reason, i).filter(|_| evaluated).map(|i| share(reason.value(i))));
            if !first {
                continue;
            }
            let class = class.and_then(|class| Some(class.value(valid(class, i)?))).map(|name| {
                let known = self.classes.iter().position(|known| known == name);
                known.unwrap_or_else(|| {
                    self.classes.push(name.to_owned());
                    self.classes.len() - 1
                })
            });
            self.rows.push(Row {
                class: class.map(u8::try_from).transpose().ok()?,
                split: Split::ALL.into_iter().find(|known| known.name() == split.value(i))?,
                file: share(file.value(i)),
                run: valid(run, i).map(|i| run.value(i)),
                ls: valid(ls, i).map(|i| ls.value(i)),
                weight: weight.and_then(|weight| valid(weight, i).map(|i| weight.value(i))),
                rejected: valid(reason, i)
                    .map(|i| reason.value(i))
                    .filter(|reason| !evaluated && *reason != NO_INPUTS)
                    .map(&mut share),
                labels: shared(
                    &mut label_sets,
                    labels
                        .iter()
                        .map(|label| valid(*label, i).map(|i| label.value(i)))
                        .collect::<Vec<_>>()
                        .as_slice(),
                ),
            });
        }
        Some(())
    }
}

/// Why a row that is evaluated has no score in a channel.
const NO_INPUTS: &str = "no input of the channel is present";

/// Names of the columns beyond the usual ones.
const LOG_RATIO: &str = "log_ratio";
const INSIDE: &str = "svm";
const SPREAD: &str = "spread";
const FLAGGING: &str = "members_flagging";
const WEIGHT: &str = "weight";
const CLASS: &str = "class";

/// `rejected.parquet`: every row that is not evaluated, with its place in its file and the first
/// reason against it.
pub fn rejected(samples: &Samples) -> Result<Vec<u8>> {
    let rows = &samples.rejected;
    let number = |get: &dyn Fn(&Rejected) -> Option<u32>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<UInt32Array>())
    };
    let files =
        rows.iter().map(|rejected| Some(samples.sources[rejected.source as usize].name.as_str()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("file", Arc::new(files.collect::<StringArray>())),
        ("run", number(&|rejected| rejected.id?.run)),
        (if samples.events { "event" } else { "ls" }, number(&|rejected| Some(rejected.id?.ls))),
        ("line", number(&|rejected| Some(rejected.line).filter(|line| *line > 0))),
        ("row", number(&|rejected| Some(rejected.index))),
        (
            "reason",
            Arc::new(
                rows.iter().map(|rejected| Some(rejected.reason.as_str())).collect::<StringArray>(),
            ),
        ),
    ];
    tables::to_parquet(&tables::of_columns(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Scores {
        let row = |run: u32, ls: u32| Row {
            split: Split::Test,
            file: "a.csv".into(),
            run: Some(run),
            ls: Some(ls),
            weight: None,
            rejected: None,
            class: None,
            labels: [Some(ls.is_multiple_of(2))].into(),
        };
        let empty = Row { rejected: Some("empty (leading)".into()), ..row(1, 1) };
        let channel = |name: &str, log_ratios: Vec<Option<f64>>, times: f64| ChannelScores {
            name: name.into(),
            scores: [None, Some(0.5), Some(0.7), Some(5.0), Some(6.0)]
                .map(|score| score.map(|score: f64| score * times))
                .to_vec(),
            log_ratios,
            thresholds: vec![None; 5],
            ..ChannelScores::default()
        };
        let ratios = vec![None, Some(-1.0), Some(-0.5), Some(0.5), Some(1.5)];
        Scores {
            events: false,
            labels: vec!["good".into()],
            classes: vec![],
            rows: vec![empty, row(1, 2), row(1, 3), row(2, 1), row(2, 2)],
            channels: vec![channel("a/b", ratios, 1.0), channel(COMBINED, vec![], 2.0)],
        }
    }

    fn threshold(channel: &str, on: CalibrateOn, value: Option<f64>) -> Calibrated {
        Calibrated {
            channel: channel.into(),
            threshold: ThresholdRule::Percentile { percentile: 50.0, smooth: 1 },
            log: false,
            on,
            value,
            members: vec![],
            rows: 2,
            runs: 1,
            rows_are: String::new(),
            files: vec![],
            sample: None,
        }
    }

    fn flags(scores: &Scores, channel: usize) -> Vec<Option<bool>> {
        (0..scores.rows.len()).map(|row| scores.channels[channel].flagged(row)).collect()
    }

    #[test]
    fn flags_are_strictly_above_and_runs_may_have_their_own_threshold() {
        let mut common = scores();
        common
            .flag(&[
                threshold("a/b", CalibrateOn::Valid, Some(0.7)),
                threshold(COMBINED, CalibrateOn::Valid, Some(11.0)),
            ])
            .unwrap();
        assert_eq!(flags(&common, 0), [None, Some(false), Some(false), Some(true), Some(true)]);
        assert_eq!(
            flags(&common, 1),
            [None, Some(false), Some(false), Some(false), Some(true)],
            "each channel has its own threshold"
        );
        let mut own = scores();
        own.flag(&[threshold("a/b", CalibrateOn::Scored, None)]).unwrap();
        assert_eq!(flags(&own, 0), [None, Some(false), Some(true), Some(false), Some(true)]);
        assert_eq!(
            own.channels[0].verdict(0),
            Verdict::NotEvaluated,
            "what has no score is never good"
        );
        assert_eq!(
            own.channels[1].verdict(1),
            Verdict::NotEvaluated,
            "nor is what was held against nothing"
        );
    }

    #[test]
    fn scores_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        let mut scores = scores();
        scores
            .flag(&[
                threshold("a/b", CalibrateOn::Valid, Some(0.6)),
                threshold(COMBINED, CalibrateOn::Valid, Some(3.0)),
            ])
            .unwrap();
        scores.write(&path).unwrap();
        assert_eq!(Scores::read(&path).unwrap(), scores);
        scores.rows.iter_mut().for_each(|row| row.weight = Some(2.5));
        scores.channels[0].inside = vec![None, Some(1.0), Some(-1.0), Some(0.0), None];
        scores.write(&path).unwrap();
        assert_eq!(Scores::read(&path).unwrap(), scores);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(Scores::read(&path).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_table_written_in_parts_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        // The second channel begins within a part, and the last part is not full.
        let many = scores().pick(&(0..tables::GROUP + 7).map(|row| row % 5).collect::<Vec<_>>());
        many.write(&path).unwrap();
        assert!(Scores::read(&path).unwrap() == many);
    }

    #[test]
    fn the_share_of_members_that_flag_is_told() {
        let mut scores = scores();
        let member =
            |numbers: [f64; 4]| std::iter::once(None).chain(numbers.map(Some)).collect::<Vec<_>>();
        scores.channels[0].members =
            vec![member([0.5, 0.9, 5.0, 6.0]), member([0.5, 0.5, 5.0, 6.0])];
        scores.channels[0].spread = member([0.0, 0.3, 0.0, 0.0]);
        let ensemble = Calibrated {
            members: vec![0.8, 5.5],
            ..threshold("a/b", CalibrateOn::Valid, Some(0.6))
        };
        scores.flag(std::slice::from_ref(&ensemble)).unwrap();
        assert_eq!(scores.channels[0].flagging, [None, Some(0.0), Some(0.5), Some(0.5), Some(1.0)]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        scores.write(&path).unwrap();
        let mut read = Scores::read(&path).unwrap();
        assert_eq!(
            (&read.channels[0].flagging, &read.channels[0].spread),
            (&scores.channels[0].flagging, &scores.channels[0].spread)
        );
        read.flag(&[ensemble]).unwrap();
        assert_eq!(read.channels[0].flagging, [None; 5], "members' own scores are not in the file");
    }

    #[test]
    fn csv_is_there_for_those_who_want_it() {
        let text = String::from_utf8(tables::to_csv([scores().batch(0..10)]).unwrap()).unwrap();
        assert!(text.starts_with("split,file,run,ls,channel,score,threshold,flagged,verdict,reason,log_ratio,label_good\ntest,a.csv,1,1,a/b,,,,not evaluated,empty (leading),,false\n"), "{text}");
    }
}
