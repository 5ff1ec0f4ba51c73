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
    /// Rates that the calibration rows cannot resolve, one per experiment whose cuts decide.
    pub rates_not_met: Vec<RateNotMet>,
    /// The golden JSON.
    pub golden: String,
    /// Lumisections by verdict.
    pub lumisections: PerVerdict<usize>,
    /// Number of runs.
    pub runs: usize,
    /// Recorded luminosity by verdict, if known for any lumisection.
    pub luminosity: Option<Luminosity>,
    /// Lumisections by the source of the verdict.
    pub sources: BTreeMap<&'static str, usize>,
    /// Reasons why lumisections are not evaluated, the most frequent first.
    pub not_evaluated: Vec<(String, usize)>,
    /// The rule that combined experiments, if there are several.
    pub rule: Option<String>,
    /// The experiments.
    pub experiments: Vec<Judge>,
    /// The cuts on the largest score, if that is the rule.
    pub joint: Option<Cuts>,
    /// Number of evaluated lumisections that an experiment was trained on.
    pub trained_on: usize,
    /// Expected number of good lumisections among the flagged, if a cut bounds it.
    pub false_discoveries: Option<Expected>,
    /// Lumisections above an experiment's own threshold, by verdict.
    pub above_threshold: PerVerdict<usize>,
    /// Number of stretches of flagged lumisections to review.
    pub to_review: usize,
    /// The reason if there are none.
    pub nothing_to_review: Option<String>,
    /// Numbers for the file of runs.
    pub run_flags: Option<RunFlags>,
    /// Numbers for the decisions.
    pub decisions: Option<Decided>,
    /// Comparison with a golden JSON.
    pub against: Option<Against>,
    /// Warnings.
    pub warnings: Vec<String>,
}

impl Summary {
    /// "12 good, 3 grey, … of 20 in 2 runs".
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
    /// For good lumisections.
    pub good: T,
    /// For grey lumisections.
    pub grey: T,
    /// For bad lumisections.
    pub bad: T,
    /// For lumisections that are not evaluated.
    pub not_evaluated: T,
}

impl PerVerdict<usize> {
    /// Counts lumisections.
    pub fn count(lumisections: &Verdicts) -> Self {
        let [good, grey, bad, not_evaluated] = counts(lumisections);
        Self { good, grey, bad, not_evaluated }
    }

    /// Counts lumisections above an experiment's own threshold.
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

    /// The sum over all verdicts.
    pub fn sum(&self) -> usize {
        self.good + self.grey + self.bad + self.not_evaluated
    }
}

/// Recorded luminosity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Luminosity {
    /// The quantity and the files that it is from, which define its unit.
    pub quantity: String,
    /// Sums by verdict.
    pub sum: PerVerdict<f64>,
    /// Number of lumisections with unknown luminosity.
    pub unknown: usize,
}

impl Luminosity {
    /// Sums the known luminosities.
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
    /// The cuts of each channel; the last channel determines the verdict.
    pub cuts: Vec<Cuts>,
    /// Number of its lumisections.
    pub lumisections: usize,
    /// Number of lumisections of other experiments that it lacks.
    pub missing: usize,
    /// Number of unreadable rows without run and LS, which are in no file.
    pub unreadable: usize,
    /// Number of further rows of the same lumisection; the worse verdict counts.
    pub duplicates: usize,
}

/// Expected number of good lumisections among the flagged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// The verdict of the flagged: grey or bad.
    pub verdict: Verdict,
    /// Number of lumisections with this verdict by score, or worse.
    pub flagged: usize,
    /// The bound on the expected share of good ones.
    pub rate: f64,
    /// The bound on the expected number of good ones.
    pub good: f64,
}

impl Expected {
    /// `None` unless the rule of a cut is a false discovery rate.
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

/// Numbers of lumisections affected by a file of runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunFlags {
    /// The file.
    pub file: String,
    /// In good and bad runs.
    pub settled: usize,
    /// In good runs, but grey or bad by score.
    pub overruled: usize,
    /// In grey runs, where scores decide.
    pub grey: usize,
    /// In runs that the file does not name, where scores decide too.
    pub unnamed: usize,
}

/// Numbers of lumisections affected by decisions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decided {
    /// The file.
    pub file: String,
    /// With a decision.
    pub settled: usize,
    /// With a verdict changed by the decision.
    pub changed: usize,
}

/// Lumisections by source.
pub fn by_source(lumisections: &Verdicts) -> BTreeMap<&'static str, usize> {
    let count = |source: Source| {
        (source.name(), lumisections.values().filter(|said| said.source == source).count())
    };
    Source::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
}

/// Reasons why lumisections are not evaluated, the most frequent first.
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

/// The reason why there is nothing to review; `None` if a lumisection is grey or bad.
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
