//! The outcome of a certification as numbers.

use super::{
    against::Against,
    cuts::Cuts,
    rate_not_met::RateNotMet,
    verdicts::{LumisectionVerdict, Source, Verdicts, counts},
};
use crate::{config::Cut, error::listed, score::verdict::Verdict, text::count};
use serde::Serialize;
use std::collections::BTreeMap;

/// The outcome of a certification as numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Rates that the calibration rows cannot tell, one for each experiment whose cuts decide.
    pub rates_not_met: Vec<RateNotMet>,
    /// The golden JSON.
    pub golden: String,
    /// Lumisections by verdict.
    pub lumisections: PerVerdict<usize>,
    /// Runs that they are of.
    pub runs: usize,
    /// Recorded luminosity by verdict, where it is known of any lumisection.
    pub luminosity: Option<Luminosity>,
    /// Lumisections by the source of the verdict.
    pub sources: BTreeMap<&'static str, usize>,
    /// Why lumisections are not evaluated, the most frequent reason first.
    pub not_evaluated: Vec<(String, usize)>,
    /// The rule by which experiments were combined, where there are several.
    pub rule: Option<String>,
    /// The experiments.
    pub experiments: Vec<Judge>,
    /// The cuts on the largest score, where that decides.
    pub joint: Option<Cuts>,
    /// Lumisections that an experiment was trained on and that are evaluated.
    pub trained_on: usize,
    /// How many of the flagged are expected to be good, where that was asked for.
    pub false_discoveries: Option<Expected>,
    /// Lumisections above an experiment's own threshold, by verdict.
    pub above_threshold: PerVerdict<usize>,
    /// Stretches of flagged lumisections to review.
    pub to_review: usize,
    /// Why there are none.
    pub nothing_to_review: Option<String>,
    /// Numbers for the file of runs.
    pub run_flags: Option<RunFlags>,
    /// Numbers for the decisions.
    pub decisions: Option<Decided>,
    /// How the verdicts compare with a golden JSON.
    pub against: Option<Against>,
    /// Warnings.
    pub warnings: Vec<String>,
}

impl Summary {
    /// "12 good, 3 grey, …" of how many.
    pub fn verdicts(&self) -> String {
        let PerVerdict { good, grey, bad, not_evaluated } = self.lumisections;
        let all = count(good + grey + bad + not_evaluated, "lumisection");
        format!(
            "{good} good, {grey} grey, {bad} bad, {not_evaluated} not evaluated of {all} in {}",
            count(self.runs, "run")
        )
    }
}

/// A number for each verdict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PerVerdict<T> {
    /// Of good lumisections.
    pub good: T,
    /// Of grey ones.
    pub grey: T,
    /// Of bad ones.
    pub bad: T,
    /// Of those that are not evaluated.
    pub not_evaluated: T,
}

impl PerVerdict<usize> {
    /// Counts lumisections.
    pub fn count(lumisections: &Verdicts) -> Self {
        let [good, grey, bad, not_evaluated] = counts(lumisections);
        Self { good, grey, bad, not_evaluated }
    }

    /// Counts those that are above an experiment's own threshold.
    pub fn count_flagged(lumisections: &Verdicts) -> Self {
        let flagged = |said: &&LumisectionVerdict| {
            said.opinions.iter().flatten().any(|opinion| opinion.flagged)
        };
        let of = |verdict: Verdict| {
            lumisections.values().filter(flagged).filter(|said| said.verdict == verdict).count()
        };
        let [good, grey, bad, not_evaluated] = Verdict::ALL.map(of);
        Self { good, grey, bad, not_evaluated }
    }

    /// All of them.
    pub fn sum(&self) -> usize {
        self.good + self.grey + self.bad + self.not_evaluated
    }
}

/// Recorded luminosity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Luminosity {
    /// Which quantity of which files it is, in whose unit.
    pub quantity: String,
    /// Sums by verdict.
    pub sum: PerVerdict<f64>,
    /// Lumisections of which it is not known.
    pub unknown: usize,
}

impl Luminosity {
    /// Sums what is known.
    pub fn new(quantity: String, lumisections: &Verdicts) -> Self {
        let of = |verdict: Verdict| {
            lumisections
                .values()
                .filter(|said| said.verdict == verdict)
                .filter_map(|said| said.luminosity)
                .sum()
        };
        let [good, grey, bad, not_evaluated] = Verdict::ALL.map(of);
        let unknown = lumisections.values().filter(|said| said.luminosity.is_none()).count();
        Self { quantity, sum: PerVerdict { good, grey, bad, not_evaluated }, unknown }
    }
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judge {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// The cuts of each channel, the last of which judges.
    pub cuts: Vec<Cuts>,
    /// Lumisections that it has.
    pub lumisections: usize,
    /// Lumisections of the others that it lacks.
    pub missing: usize,
    /// Rows that could not be read and have neither run nor LS: they are in no file.
    pub unreadable: usize,
    /// Rows of a lumisection that another row is of: the worse verdict stands.
    pub duplicates: usize,
}

/// How many of the flagged are good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// What is flagged: grey or bad.
    pub verdict: Verdict,
    /// Lumisections that scores flag so, or worse.
    pub flagged: usize,
    /// The share of them that is at most expected to be good.
    pub rate: f64,
    /// So many.
    pub good: f64,
}

impl Expected {
    /// Where a cut was asked to bound it.
    pub fn new(cuts: &Cuts, lumisections: &Verdicts) -> Option<Self> {
        let (cut, rate) = [&cuts.bad, &cuts.grey].into_iter().find_map(|cut| match cut.rule {
            Cut::FalseDiscoveryRate(rate) => Some((cut, rate)),
            _ => None,
        })?;
        let flagged = lumisections
            .values()
            .filter(|said| said.score.is_some_and(|score| cut.exceeded(score)))
            .count();
        Some(Self { verdict: cut.above, flagged, rate, good: rate * flagged as f64 })
    }
}

/// What a file of runs settled, in lumisections.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunFlags {
    /// The file.
    pub file: String,
    /// Those of good and bad runs.
    pub settled: usize,
    /// Those of good runs that scores call grey or bad.
    pub overruled: usize,
    /// Those of grey ones, where scores decide.
    pub grey: usize,
    /// Those of runs that it does not name, where scores decide too.
    pub unnamed: usize,
}

/// What decisions settled, in lumisections.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decided {
    /// The file.
    pub file: String,
    /// Those that were decided on.
    pub settled: usize,
    /// Those whose verdict that changed.
    pub changed: usize,
}

/// Lumisections by source.
pub fn by_source(lumisections: &Verdicts) -> BTreeMap<&'static str, usize> {
    let count = |source: Source| {
        (source.name(), lumisections.values().filter(|said| said.source == source).count())
    };
    Source::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
}

/// Why lumisections are not evaluated, the most frequent reason first.
pub fn reasons(lumisections: &Verdicts) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for said in lumisections.values().filter(|said| said.verdict == Verdict::NotEvaluated) {
        *counts.entry(&said.reason).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> =
        counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

/// Why there is nothing to review, where no lumisection is grey or bad.
pub fn nothing_to_review(lumisections: &Verdicts, rates_not_met: &[RateNotMet]) -> Option<String> {
    let [good, grey, bad, _] = counts(lumisections);
    if grey + bad > 0 {
        return None;
    }
    if good == 0 {
        let reasons: Vec<String> = reasons(lumisections)
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        return Some(format!(
            "nothing to review: no lumisection is evaluated ({})",
            listed(reasons.iter().map(String::as_str))
        ));
    }
    let by_people = lumisections
        .values()
        .filter(|said| matches!(said.source, Source::Run | Source::Decision))
        .count();
    let people = if by_people > 0 {
        format!(" ({by_people} are good by run or by decision)")
    } else {
        String::new()
    };
    Some(match rates_not_met {
        [] => format!(
            "nothing to review: none of {good} evaluated lumisections is above the cuts{people}"
        ),
        rates => {
            let rates: Vec<&str> = rates.iter().map(|rate| rate.text.as_str()).collect();
            format!(
                "nothing to review: none of {good} evaluated lumisections is above the cuts or the experiment's threshold{people}; {}",
                rates.join("; ")
            )
        }
    })
}
