//! Scores and flags of all rows in all channels.

use super::{
    channel_scores::ChannelScores,
    row::{ScoredRow, shared},
};
use crate::{
    config::{ThresholdRule, threshold::CalibrateOn},
    data::{Samples, channels::COMBINED},
    error::Result,
    prepare::{classes::Classes, labels::LabelSet, split::Split},
    score::threshold::Calibrated,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// All scores of an experiment, sorted by run and LS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Whether rows are events: the column of their number is then `event`, otherwise `ls`.
    pub events: bool,
    /// Names of the label sets; columns `label_<name>`.
    pub labels: Vec<String>,
    /// Names of the classes; with classes there is a column `class`.
    pub classes: Vec<String>,
    /// The samples.
    pub rows: Vec<ScoredRow>,
    /// The scores of each channel; with several channels the last is "combined".
    pub channels: Vec<ChannelScores>,
}

impl Scores {
    /// Merges evaluated and rejected rows. Each of `channels` has one entry per row of `samples`.
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
        let mut rows: Vec<ScoredRow> = (0..samples.rows.len())
            .map(|i| ScoredRow {
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
        rows.extend(samples.rejected.iter().map(|rejected| ScoredRow {
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
        // Without rejected rows they are already in order.
        if !samples.rejected.is_empty() {
            let place: HashMap<&Arc<str>, usize> =
                files.iter().enumerate().map(|(at, file)| (file, at)).collect();
            let key = |row: &ScoredRow| {
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

    /// Sets the classes of the evaluated rows.
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

    /// The channel that determines the verdict: the only one, or "combined".
    pub fn main(&self) -> Option<&ChannelScores> {
        self.channels.last()
    }

    /// Whether a channel's scores are drawn on a logarithmic axis. Combined scores are logarithms
    /// already, and 0 has no logarithm.
    pub fn is_log(&self, channel: &ChannelScores) -> bool {
        channel.name != COMBINED && channel.scores.iter().flatten().all(|score| *score > 0.0)
    }

    /// Positions of the evaluated rows of each run, in the order of LS.
    pub fn runs(&self) -> Vec<Vec<usize>> {
        let same = |a: &ScoredRow, b: &ScoredRow| {
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

    /// The rows of a run, split by split.
    pub fn by_split(&self, run: &[usize]) -> Vec<Vec<usize>> {
        let of = |split: Split| {
            run.iter().copied().filter(|&i| self.rows[i].split == split).collect::<Vec<_>>()
        };
        Split::ALL.into_iter().map(of).filter(|rows| !rows.is_empty()).collect()
    }

    /// Scores of the rows of one split, run by run.
    pub fn of_split(&self, scores: &[Option<f64>], split: Split) -> Vec<Vec<f64>> {
        let of_run = |run: &Vec<usize>| -> Vec<f64> {
            run.iter()
                .filter(|&&i| self.rows[i].split == split)
                .filter_map(|&i| scores[i])
                .collect()
        };
        self.runs().iter().map(of_run).filter(|run| !run.is_empty()).collect()
    }

    /// Compares the scores of each channel with its first threshold.
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
            // Without the members' own scores their flags are unknown.
            let known = !channel.members.is_empty();
            channel.flagging = if known {
                channel.scores.iter().zip(flags).map(share).collect()
            } else {
                vec![None; channel.flagging.len()]
            };
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::score::verdict::Verdict;

    pub(crate) fn scores() -> Scores {
        let row = |run: u32, ls: u32| ScoredRow {
            split: Split::Test,
            file: "a.csv".into(),
            run: Some(run),
            ls: Some(ls),
            weight: None,
            rejected: None,
            class: None,
            labels: [Some(ls.is_multiple_of(2))].into(),
        };
        let empty = ScoredRow { rejected: Some("empty (leading)".into()), ..row(1, 1) };
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

    pub(crate) fn threshold(channel: &str, on: CalibrateOn, value: Option<f64>) -> Calibrated {
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
            "a row without a score is never good"
        );
        assert_eq!(
            own.channels[1].verdict(1),
            Verdict::NotEvaluated,
            "nor is a row without a threshold"
        );
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
}
