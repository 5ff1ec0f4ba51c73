//! Figures of each run, and of the runs of which no row is evaluated.

use crate::{
    config::{Experiment, report::ReportOn},
    data::{Role, Samples, lumisections},
    error::Result,
    prepare::split::Split,
    score::{
        row::{RunKey, ScoredRow},
        run::judged,
        scores::Scores,
        threshold::Calibrated,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

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

/// Rows that are not evaluated: of the files of data.test where figures are taken on these alone,
/// else of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotEvaluated {
    /// How many.
    pub rows: usize,
    /// Of which files: "the test files" or "all files"; empty in folders of earlier versions.
    pub of: String,
}

/// A run of which no row is evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunNotEvaluated {
    /// The run, or the file that stands for it.
    pub name: String,
    /// The run number, where known.
    pub run: Option<u32>,
    /// The first and last LS.
    pub ls: (u32, u32),
    /// Its rows.
    pub rows: usize,
}

/// The rows that are not evaluated of the files that are judged, and of runs of which some row is
/// evaluated.
pub(super) struct Absent<'s> {
    rows: Vec<&'s ScoredRow>,
    evaluated: HashSet<RunKey>,
}

impl<'s> Absent<'s> {
    pub(super) fn new(
        experiment: &Experiment,
        scores: &'s Scores,
        samples: &Samples,
    ) -> (Self, NotEvaluated) {
        let of_test = experiment.report.on == ReportOn::Test
            && samples.sources.iter().any(|source| source.role == Role::Test);
        // A rejected row of a test file is a test row.
        let rows = scores
            .rows
            .iter()
            .filter(|row| row.rejected.is_some() && (!of_test || row.split == Split::Test))
            .collect::<Vec<_>>();
        let counted = NotEvaluated {
            rows: rows.len(),
            of: if of_test { "the test files" } else { "all files" }.into(),
        };
        (
            Self {
                rows,
                evaluated: scores.evaluated().map(|row| scores.rows[row].run_key()).collect(),
            },
            counted,
        )
    }
}

/// Runs of which rows were read but none is evaluated, in order.
pub(super) fn runs_not_evaluated(absent: &Absent<'_>) -> Vec<RunNotEvaluated> {
    let mut found: Vec<(RunKey, RunNotEvaluated)> = vec![];
    let mut place: HashMap<RunKey, usize> = HashMap::new();
    for row in &absent.rows {
        let (key, Some(ls)) = (row.run_key(), row.ls) else { continue };
        if absent.evaluated.contains(&key) {
            continue;
        }
        let at = *place.entry(key.clone()).or_insert(found.len());
        if at == found.len() {
            found.push((
                key,
                RunNotEvaluated { name: row.run_name(), run: row.run, ls: (ls, ls), rows: 0 },
            ));
        }
        let run = &mut found[at].1;
        run.rows += 1;
        run.ls = (run.ls.0.min(ls), run.ls.1.max(ls));
    }
    found.into_iter().map(|(_, run)| run).collect()
}

pub(super) fn runs(
    experiment: &Experiment,
    scores: &Scores,
    thresholds: &[Calibrated],
    samples: &Samples,
) -> Result<Vec<RunFigures>> {
    let Some(channel) = scores.main() else { return Ok(vec![]) };
    let mut without_score: HashMap<_, Vec<u32>> = HashMap::new();
    for row in scores.rows.iter().filter(|row| row.rejected.is_some()) {
        without_score.entry(row.run_key()).or_default().extend(row.ls);
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
        let test: Vec<usize> =
            run.iter().copied().filter(|&i| judged(experiment, scores.rows[i].split)).collect();
        let (Some(&first), Some(&last)) = (test.first(), test.last()) else { continue };
        let row = &scores.rows[first];
        let lumisection = |i: usize| scores.rows[i].ls.unwrap_or_default();
        let without = without_score.get(&row.run_key()).cloned().unwrap_or_default();
        // Rows by LS number, never by position: what was not evaluated has shifted positions.
        let range = ranges.get(&row.run_key()).cloned().unwrap_or(0..0);
        let sum = |leave_out: &[u32]| {
            let mut sum = vec![0.0_f64; samples.width()];
            for i in
                range.clone().filter(|&i| leave_out.binary_search(&samples.rows[i].ls).is_err())
            {
                sum.iter_mut()
                    .zip(samples.row(i))
                    .filter(|(_, value)| !value.is_nan())
                    .for_each(|(sum, value)| *sum += f64::from(*value));
            }
            (!range.is_empty() && samples.features.is_none() && samples.layers.is_empty())
                .then_some(sum)
        };
        let mut flagged = vec![];
        for threshold in thresholds {
            let (mut value, mut ls) = (f64::NAN, vec![]);
            for sample in scores.by_split(&test) {
                value = threshold.for_run(
                    &sample.iter().filter_map(|&i| channel.scores[i]).collect::<Vec<_>>(),
                )?;
                ls.extend(
                    sample
                        .into_iter()
                        .filter(|&i| channel.scores[i].is_some_and(|score| score > value))
                        .map(lumisection),
                );
            }
            ls.sort_unstable();
            flagged.push(Flagged {
                threshold: threshold.threshold.to_string(),
                value,
                sum_without: sum(&ls),
                ls,
            });
        }
        let mut present: Vec<u32> =
            run.iter().map(|&i| lumisection(i)).chain(without.iter().copied()).collect();
        present.sort_unstable();
        present.dedup();
        let span = present
            .last()
            .zip(present.first())
            .map_or(0, |(last, first)| (last - first) as usize + 1);
        figures.push(RunFigures {
            name: row.run_name(),
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
    /// Whether a row is of this run.
    pub fn is_of(&self, row: &ScoredRow) -> bool {
        row.run == self.run && (self.run.is_some() || *row.file == *self.name)
    }

    /// How many LSs the first threshold flags.
    pub fn flags(&self) -> usize {
        self.flagged.first().map_or(0, |flagged| flagged.ls.len())
    }
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

impl Flagged {
    /// The flagged LSs as ranges: `301–304, 611`.
    pub fn ranges(&self) -> String {
        lumisections::show_ranges(&self.ls)
    }
}
