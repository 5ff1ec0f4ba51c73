//! The rows that a page shows.

use crate::{
    config::Experiment,
    prepare::split::Split,
    score::{run::judged, scores::Scores},
};

/// Rows that are drawn at most, but for flagged ones, all of which are.
const MOST: usize = 40_000;

/// A class that is not known.
pub(super) const UNKNOWN: u8 = 255;

/// Which rows the page shows: all that any channel flags, then those that figures are taken on,
/// then the others as long as there is place.
pub struct Shown {
    pub(super) runs: Vec<Run>,
    /// Every so many of the unflagged rows that figures are taken on.
    pub(super) step: usize,
    /// Every so many of the other unflagged rows; 0 for none.
    pub(super) others_step: usize,
    /// The rows that are evaluated, ascending.
    pub(super) evaluated: Vec<usize>,
}

/// The rows of a run that is shown, ascending positions in the scores.
pub(super) struct Run {
    pub(super) all: Vec<usize>,
    pub(super) shown: Vec<usize>,
}

impl Shown {
    /// Chooses rows of flagged scores.
    pub fn new(experiment: &Experiment, scores: &Scores) -> Self {
        Self::at_most(MOST, scores, |split| judged(experiment, split))
    }

    pub(super) fn at_most(most: usize, scores: &Scores, is_judged: impl Fn(Split) -> bool) -> Self {
        let is_flagged =
            |row: usize| scores.channels.iter().any(|channel| channel.flagged(row) == Some(true));
        let is_judged = |row: usize| is_judged(scores.rows[row].split);
        let runs = scores.runs();
        let counted = |wanted: &dyn Fn(usize) -> bool| {
            runs.iter().flatten().filter(|&&row| wanted(row)).count()
        };
        let flagged = counted(&is_flagged);
        let tested = counted(&|row| !is_flagged(row) && is_judged(row));
        let others = counted(&|row| !is_flagged(row) && !is_judged(row));
        let step = tested.div_ceil(most.saturating_sub(flagged).max(most / 10).max(1)).max(1);
        let others_step = match most.saturating_sub(flagged + tested) {
            _ if others == 0 => 1,
            0 => 0,
            place => others.div_ceil(place),
        };
        let (mut tested, mut others) = (0_usize, 0_usize);
        let mut is_shown = |row: &usize| {
            let (seen, step) =
                if is_judged(*row) { (&mut tested, step) } else { (&mut others, others_step) };
            is_flagged(*row) || {
                *seen += 1;
                step > 0 && (*seen - 1).is_multiple_of(step)
            }
        };
        let runs = runs
            .into_iter()
            .map(|all| Run { shown: all.iter().copied().filter(&mut is_shown).collect(), all });
        let runs: Vec<Run> = runs.filter(|run| !run.shown.is_empty()).collect();
        Self { runs, step, others_step, evaluated: scores.evaluated().collect() }
    }

    /// Each row with its run and its place among the rows shown of it: (run, place, position in the
    /// scores).
    pub fn places(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.runs.iter().enumerate().flat_map(|(run, Run { shown, .. })| {
            shown.iter().enumerate().map(move |(at, row)| (run, at, *row))
        })
    }

    /// Where a row that is shown stands among those that are evaluated.
    pub fn position(&self, row: usize) -> u32 {
        self.evaluated.partition_point(|&evaluated| evaluated < row) as u32
    }
}
