//! The data of the page that compares several experiments.

use super::data::{answer, curves, history};
use crate::{
    config::Experiment,
    error::Result,
    files::folder::{Folder, names},
    prepare::split::Split,
    report::figures::Report,
    score::{
        roc::{FEWEST_RUNS, Judged, Ranking},
        row::RunKey,
        scores::Scores,
    },
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// An experiment to compare.
pub struct Compared {
    /// Its folder.
    pub folder: Folder,
    /// Its figures.
    pub report: Report,
    /// Its config.
    pub experiment: Experiment,
    scores: Scores,
}

impl Compared {
    /// Reads it from its folder.
    pub fn read(folder: Folder) -> Result<Self> {
        let experiment = Experiment::load(&folder.file(names::EXPERIMENT), &[])?;
        Ok(Self {
            report: folder.read_json(names::REPORT)?,
            scores: Scores::read(&folder.file(names::SCORES))?,
            experiment,
            folder,
        })
    }

    /// The path of its folder.
    pub fn place(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Whether each test row is flagged.
    fn flags(&self) -> HashMap<Identity, bool> {
        let Some(main) = self.scores.main() else { return HashMap::new() };
        let rows = self.scores.rows.iter().enumerate().filter(|(_, row)| row.split == Split::Test);
        let identity = |at: usize| {
            let row = &self.scores.rows[at];
            (row.run_key(), row.ls)
        };
        rows.filter_map(|(at, _)| Some((identity(at), main.flagged(at)?))).collect()
    }
}

/// Run and LS.
type Identity = (RunKey, Option<u32>);

/// Experiments ranked by how well their scores separate bad from good test rows, on the rows that
/// all of them scored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranks {
    /// The label set.
    pub labels: String,
    /// Number of good rows.
    pub good: usize,
    /// Number of bad rows.
    pub bad: usize,
    /// Description of the resampling for the intervals.
    pub note: String,
    /// One entry per experiment, in their order.
    pub ranks: Vec<Rank>,
}

/// The rank of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rank {
    /// The rank from 1; experiments with equal areas share a rank.
    pub place: usize,
    /// The area under its ROC curve.
    pub area: f64,
    /// The central 95 % interval of the areas of resampled data.
    pub interval: Option<(f64, f64)>,
    /// The difference to the first one's area, with its central 95 % interval from identical
    /// resamplings; absent for the first.
    pub behind: Option<(f64, Option<(f64, f64)>)>,
}

impl Compared {
    /// Score (of the channel that determines the verdict) and label of each test row that has both.
    fn judged(&self, labels: &str) -> HashMap<Identity, (f64, bool)> {
        let set = self.scores.labels.iter().position(|name| name == labels);
        let (Some(main), Some(set)) = (self.scores.main(), set) else { return HashMap::new() };
        let rows = self.scores.rows.iter().enumerate().filter(|(_, row)| row.split == Split::Test);
        rows.filter_map(|(at, row)| {
            Some(((row.run_key(), row.ls), (main.scores[at]?, row.labels[set]?)))
        })
        .collect()
    }
}

/// Ranks experiments; `None` if they share no labels, or no good or no bad rows.
pub fn ranks(compared: &[Compared]) -> Option<Ranks> {
    let first = compared.first()?;
    let has =
        |name: &str| compared.iter().all(|one| one.scores.labels.iter().any(|other| other == name));
    let mut names = first.scores.labels.iter().filter(|name| has(name));
    let labels = names.clone().find(|name| *name == "good").or_else(|| names.next())?;
    let judged: Vec<HashMap<Identity, (f64, bool)>> =
        compared.iter().map(|one| one.judged(labels)).collect();
    // Rows with equal labels in all experiments, in an order that does not depend on their tables.
    let agreed = |row: &Identity, good: bool| {
        judged.iter().all(|rows| rows.get(row).is_some_and(|(_, other)| *other == good))
    };
    let mut rows: Vec<(&Identity, bool)> = judged[0]
        .iter()
        .map(|(row, (_, good))| (row, *good))
        .filter(|(row, good)| agreed(row, *good))
        .collect();
    rows.sort();
    let mut runs: BTreeMap<&RunKey, u32> = rows.iter().map(|((run, _), _)| (run, 0)).collect();
    runs.values_mut().zip(0..).for_each(|(number, at)| *number = at);
    // With too few runs, single rows are resampled.
    let by_run = runs.len() >= FEWEST_RUNS;
    let ranking = |scores: &HashMap<Identity, (f64, bool)>| {
        let unit = |at: u32, run: &RunKey| if by_run { runs[run] } else { at };
        Ranking::new(
            (0..)
                .zip(&rows)
                .map(|(at, (row, good))| Judged {
                    score: scores[*row].0,
                    good: *good,
                    weight: 1.0,
                    run: unit(at, &row.0),
                })
                .collect(),
        )
    };
    let rankings: Vec<Ranking> = judged.iter().map(ranking).collect();
    let areas: Vec<f64> = rankings.iter().map(Ranking::auc).collect::<Option<_>>()?;
    let best =
        (0..areas.len()).reduce(|best, at| if areas[at] > areas[best] { at } else { best })?;
    let seed = first.experiment.seed;
    let rank = |at: usize| Rank {
        place: 1 + areas.iter().filter(|area| **area > areas[at]).count(),
        area: areas[at],
        interval: rankings[at].interval(seed).0,
        behind: (areas[at] < areas[best])
            .then(|| (areas[best] - areas[at], rankings[best].lead(&rankings[at], seed))),
    };
    let (good, bad) = rankings[best].counts();
    let units = if by_run {
        format!("{} runs", runs.len())
    } else {
        format!("{} rows (too few runs to resample those)", rows.len())
    };
    let note = format!("95 % intervals from resamplings of {units}, the same ones for all");
    Some(Ranks {
        labels: labels.clone(),
        good,
        bad,
        note,
        ranks: (0..areas.len()).map(rank).collect(),
    })
}

/// The data of the page; `warnings` are about figures that are not comparable.
pub fn data(compared: &[Compared], ranks: Option<&Ranks>, warnings: &[String]) -> Result<Value> {
    let one = |compared: &Compared| {
        Ok(json!({
            "name": compared.report.name,
            "folder": compared.place(),
            "report": compared.report,
            "answer": answer(&compared.report),
            "history": history(compared.folder.read_history()?, &compared.report),
            "curves": curves(&compared.experiment, &compared.scores, Some(compared.report.main())),
        }))
    };
    Ok(json!({
        "kind": "comparison",
        "experiments": compared.iter().map(one).collect::<Result<Vec<_>>>()?,
        "ranks": ranks,
        "overlap": overlap(compared),
        "warnings": warnings,
    }))
}

/// Number of test rows flagged by both of each pair of experiments, among those that all of them
/// scored; `None` if there are none.
fn overlap(compared: &[Compared]) -> Option<Value> {
    let flags: Vec<HashMap<Identity, bool>> = compared.iter().map(Compared::flags).collect();
    let shared: Vec<&Identity> = flags
        .first()?
        .keys()
        .filter(|row| flags.iter().all(|flags| flags.contains_key(*row)))
        .collect();
    if shared.is_empty() {
        return None;
    }
    let both = |a: &HashMap<Identity, bool>, b: &HashMap<Identity, bool>| {
        shared.iter().filter(|row| a[**row] && b[**row]).count()
    };
    let common: Vec<Vec<usize>> =
        flags.iter().map(|a| flags.iter().map(|b| both(a, b)).collect()).collect();
    let names: Vec<String> = compared.iter().map(Compared::place).collect();
    Some(
        json!({"names": names, "common": common, "note": format!("test rows that all of them scored: {}", shared.len())}),
    )
}
