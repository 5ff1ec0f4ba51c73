//! Combination of the opinions of several experiments on a lumisection.

use super::{
    cuts::{CalibratedCut, Cuts, Sample},
    verdicts::{Id, LumisectionVerdict, Opinion, Opinions, Source, Verdicts},
};
use crate::{
    config::certify::Certify,
    error::{Error, Result, suggestion},
    score::verdict::Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// The rule by which opinions are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Bad if at least this number of experiments say bad; grey if this number say grey or bad.
    Votes(usize),
    /// By the largest standardised score; its cuts are calibrated on the same rows.
    MaxScore,
}

impl Rule {
    /// Parses "any", "all", "2-of-3" or "max-score" for a number of experiments.
    pub fn parse(text: &str, experiments: usize) -> Result<Self> {
        let wrong = |near: String| {
            Error::input(format!(
                "--rule {text}{near}: expected any, all, K-of-{experiments} or max-score"
            ))
        };
        match text {
            "any" => Ok(Self::Votes(1)),
            "all" => Ok(Self::Votes(experiments)),
            "max-score" => Ok(Self::MaxScore),
            _ => {
                let Some((k, n)) = text.split_once("-of-") else {
                    return Err(wrong(suggestion(text, ["any", "all", "max-score"])));
                };
                match (
                    k.parse::<usize>(),
                    n.parse::<usize>().ok().or((n == "n").then_some(experiments)),
                ) {
                    (Ok(k), Some(n)) if (1..=n).contains(&k) && n == experiments => {
                        Ok(Self::Votes(k))
                    }
                    _ => Err(wrong(format!(
                        " with {experiments} experiment{}",
                        if experiments == 1 { "" } else { "s" }
                    ))),
                }
            }
        }
    }
}

/// Combines opinions by votes. `names` are the names of the experiments.
pub fn votes(needed: usize, names: &[String], opinions: Vec<Opinions>) -> Verdicts {
    by_lumisection(opinions, |opinions| {
        let says = |wanted: &[Verdict]| {
            opinions.iter().flatten().filter(|opinion| wanted.contains(&opinion.verdict)).count()
        };
        let missing: Vec<String> = missing(names, opinions);
        let verdict = match () {
            () if says(&[Verdict::Bad]) >= needed => Verdict::Bad,
            () if says(&[Verdict::Grey, Verdict::Bad]) >= needed => Verdict::Grey,
            // An experiment with an unmet rate cannot be outvoted to good.
            () if opinions.iter().flatten().any(|opinion| opinion.unmet) => Verdict::Grey,
            // A missing opinion might have been bad.
            () if !missing.is_empty() => Verdict::NotEvaluated,
            () => Verdict::Good,
        };
        // By cuts alone too few experiments would say so.
        let by_cut = opinions
            .iter()
            .flatten()
            .filter(|opinion| {
                !opinion.floored && matches!(opinion.verdict, Verdict::Grey | Verdict::Bad)
            })
            .count();
        let floored = verdict == Verdict::Grey && by_cut < needed;
        let reason = match verdict {
            Verdict::NotEvaluated => missing.join("; "),
            Verdict::Good => String::new(),
            _ => {
                let against = names
                    .iter()
                    .zip(opinions)
                    .filter_map(|(name, opinion)| Some((name, opinion.as_ref()?)));
                let against = against
                    .filter(|(_, opinion)| matches!(opinion.verdict, Verdict::Grey | Verdict::Bad));
                let reason = |opinion: &Opinion| match floored && opinion.unmet && !opinion.floored
                {
                    true => format!("{}, above the experiment's threshold", opinion.reason),
                    false => opinion.reason.to_string(),
                };
                against
                    .map(|(name, opinion)| named(names, name, &reason(opinion)))
                    .collect::<Vec<_>>()
                    .join("; ")
            }
        };
        // Combined p-value: the k-th smallest of n, times n / k (Rüger's rule, valid for any
        // dependence).
        let mut p_values: Vec<f64> =
            opinions.iter().flatten().filter_map(|opinion| opinion.p_value).collect();
        p_values.sort_by(f64::total_cmp);
        let p_value =
            p_values.get(needed - 1).map(|p| (p * names.len() as f64 / needed as f64).min(1.0));
        Joined { verdict, reason, p_value, floored }
    })
}

/// The combination of opinions.
struct Joined {
    verdict: Verdict,
    reason: String,
    p_value: Option<f64>,
    floored: bool,
}

/// "tracks: reason" with several experiments.
fn named(names: &[String], name: &str, reason: &str) -> String {
    if names.len() == 1 { reason.to_owned() } else { format!("{name}: {reason}") }
}

/// The reasons why experiments have no verdict on a lumisection.
fn missing(names: &[String], opinions: &[Option<Opinion>]) -> Vec<String> {
    let not = |(name, opinion): (&String, &Option<Opinion>)| match opinion {
        None => Some(format!("missing in {name}")),
        Some(opinion) if opinion.verdict == Verdict::NotEvaluated => {
            Some(named(names, name, &opinion.reason))
        }
        Some(_) => None,
    };
    names.iter().zip(opinions).filter_map(not).collect()
}

/// The union of the lumisections of all experiments, each with its combined verdict.
fn by_lumisection(opinions: Vec<Opinions>, say: impl Fn(&[Option<Opinion>]) -> Joined) -> Verdicts {
    let ids: BTreeSet<Id> = opinions.iter().flat_map(|opinions| opinions.keys().copied()).collect();
    let mut opinions = opinions;
    let one = |id: Id| {
        let opinions: Vec<Option<Opinion>> =
            opinions.iter_mut().map(|opinions| opinions.remove(&id)).collect();
        let Joined { verdict, reason, p_value, floored } = say(&opinions);
        // The experiment with the smallest p-value.
        let evaluated = opinions
            .iter()
            .enumerate()
            .filter_map(|(at, opinion)| Some((at, opinion.as_ref()?.p_value?)));
        let experiment = evaluated.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at);
        let worst = experiment.and_then(|at| opinions[at].as_ref());
        let source =
            if verdict == Verdict::NotEvaluated { Source::Selection } else { Source::Autoencoder };
        let (score, channels) = (
            worst.and_then(|worst| worst.score),
            worst.map(|worst| worst.channels.clone()).unwrap_or_default(),
        );
        (
            id,
            LumisectionVerdict {
                verdict,
                reason,
                source,
                score,
                p_value,
                experiment,
                channels,
                opinions,
                luminosity: None,
                floored,
            },
        )
    };
    ids.into_iter().map(one).collect()
}

/// Standardisation of the scores of an experiment: logarithms (or scores that already are
/// logarithms) minus their mean, divided by their standard deviation, in the good calibration rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standard {
    log: bool,
    mean: f64,
    deviation: f64,
}

impl Standard {
    /// Fits on the scores of good rows; with `log` on their logarithms.
    pub fn new(log: bool, good: &[f64]) -> Result<Self> {
        let mut standard = Self { log, mean: 0.0, deviation: 1.0 };
        let numbers: Vec<f64> = good.iter().map(|score| standard.of(*score)).collect();
        let n = numbers.len() as f64;
        standard.mean = numbers.iter().sum::<f64>() / n;
        standard.deviation =
            (numbers.iter().map(|number| (number - standard.mean).powi(2)).sum::<f64>()
                / (n - 1.0))
                .sqrt();
        if standard.deviation > 0.0 && standard.deviation.is_finite() {
            Ok(standard)
        } else {
            Err(Error::input(format!(
                "--rule max-score: the scores of {} calibration rows have no spread; expected more rows",
                good.len()
            )))
        }
    }

    /// A standardised score.
    pub fn of(&self, score: f64) -> f64 {
        let number = if self.log { score.max(f64::MIN_POSITIVE).ln() } else { score };
        (number - self.mean) / self.deviation
    }
}

/// A calibration row: its lumisection, its score and whether it is good.
pub type Calibration = (Id, f64, bool);

/// Combines experiments by the largest of their standardised scores. Its cuts are calibrated on the
/// rows that all of them calibrate on.
pub fn max_score(
    (config, block): (&Certify, Option<u32>),
    names: &[String],
    standards: &[Standard],
    calibration: &[Vec<Calibration>],
    opinions: Vec<Opinions>,
) -> Result<(Cuts, Verdicts)> {
    let mut largest: BTreeMap<Id, (usize, f64, bool)> = BTreeMap::new();
    for (rows, standard) in calibration.iter().zip(standards) {
        for (id, score, good) in rows {
            let entry = largest.entry(*id).or_insert((0, f64::NEG_INFINITY, true));
            *entry = (entry.0 + 1, entry.1.max(standard.of(*score)), entry.2 && *good);
        }
    }
    let of = |wanted: bool| {
        let mut runs: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for ((run, _), (_, score, _)) in
            largest.iter().filter(|(_, (count, _, good))| *count == names.len() && *good == wanted)
        {
            runs.entry(*run).or_default().push(*score);
        }
        runs.into_values().collect::<Vec<_>>()
    };
    let sample = Sample {
        what: "rows that all experiments calibrate on".into(),
        files: vec![],
        good: of(true),
        bad: of(false),
    };
    let joint = |opinions: &[Option<Opinion>]| -> Option<f64> {
        let scores = opinions
            .iter()
            .zip(standards)
            .map(|(opinion, standard)| Some(standard.of(opinion.as_ref()?.score?)));
        scores.collect::<Option<Vec<f64>>>()?.into_iter().max_by(f64::total_cmp)
    };
    let ids: BTreeSet<Id> = opinions.iter().flat_map(|opinions| opinions.keys().copied()).collect();
    let judged: Vec<f64> = ids
        .iter()
        .filter_map(|id| {
            joint(&opinions.iter().map(|opinions| opinions.get(id).cloned()).collect::<Vec<_>>())
        })
        .collect();
    let cuts = Cuts::new(config, block, "max-score", &sample, &judged)?;
    let mut lumisections = by_lumisection(opinions, |opinions| match joint(opinions) {
        None => Joined {
            verdict: Verdict::NotEvaluated,
            reason: missing(names, opinions).join("; "),
            p_value: None,
            floored: false,
        },
        Some(score) => {
            let verdict = cuts.verdict(score);
            let flagging = names
                .iter()
                .zip(opinions)
                .filter(|(_, opinion)| opinion.as_ref().is_some_and(|opinion| opinion.flagged));
            let flagging: Vec<&str> = flagging.map(|(name, _)| name.as_str()).collect();
            let unmet = cuts.unmet().filter(|_| verdict == Verdict::Good && !flagging.is_empty());
            let above = |cut: &CalibratedCut| {
                format!("largest score above {:.6} ({})", cut.score.unwrap_or(f64::NAN), cut.rule)
            };
            let reason = match (verdict, unmet) {
                (_, Some((_, unmet))) => format!(
                    "above the experiment's threshold in {}; {}",
                    flagging.join(", "),
                    unmet.describe()
                ),
                (Verdict::Bad, _) => above(&cuts.bad),
                (Verdict::Grey, _) => above(&cuts.grey),
                _ => String::new(),
            };
            let verdict = if unmet.is_some() { Verdict::Grey } else { verdict };
            Joined {
                verdict,
                reason,
                p_value: Some(cuts.reference.p_value(score)),
                floored: unmet.is_some(),
            }
        }
    });
    for said in lumisections.values_mut() {
        if let Some(score) = joint(&said.opinions) {
            said.score = Some(score);
        }
    }
    Ok((cuts, lumisections))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::split::Split;

    fn opinion(verdict: Verdict, p_value: f64) -> Opinion {
        let score = (verdict != Verdict::NotEvaluated).then_some(1.0 / p_value);
        let reason = if verdict == Verdict::NotEvaluated { "empty" } else { "high" };
        Opinion {
            verdict,
            reason: reason.into(),
            score,
            flagged: false,
            unmet: false,
            floored: false,
            p_value: score.map(|_| p_value),
            channels: vec![],
            split: Split::Test,
            row: 0,
        }
    }

    #[test]
    fn rules_are_read() {
        assert_eq!(Rule::parse("any", 3).unwrap(), Rule::Votes(1));
        assert_eq!(Rule::parse("all", 3).unwrap(), Rule::Votes(3));
        assert_eq!(Rule::parse("2-of-3", 3).unwrap(), Rule::Votes(2));
        assert_eq!(Rule::parse("2-of-n", 3).unwrap(), Rule::Votes(2));
        assert_eq!(Rule::parse("max-score", 3).unwrap(), Rule::MaxScore);
        for text in ["4-of-3", "0-of-3", "2-of-4", "x-of-3", "none"] {
            assert_eq!(Rule::parse(text, 3).unwrap_err().exit_code(), 2, "{text}");
        }
        assert!(
            Rule::parse("max-scor", 2)
                .unwrap_err()
                .to_string()
                .contains("did you mean \"max-score\"?")
        );
    }

    #[test]
    fn as_many_must_say_so_and_who_is_missing_is_never_good() {
        use Verdict::{Bad, Good, Grey, NotEvaluated};
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let say = |needed: usize, said: [Option<Verdict>; 3]| {
            let of = |verdict: Option<Verdict>| {
                verdict
                    .map(|verdict| ((1, 1), opinion(verdict, 0.5)))
                    .into_iter()
                    .collect::<Opinions>()
            };
            let lumisections = votes(needed, &names, said.map(of).to_vec());
            let said = lumisections[&(1, 1)].clone();
            (said.verdict, said.reason)
        };
        assert_eq!(say(1, [Some(Good), Some(Grey), Some(Bad)]), (Bad, "b: high; c: high".into()));
        assert_eq!(say(2, [Some(Good), Some(Grey), Some(Bad)]).0, Grey);
        assert_eq!(say(3, [Some(Good), Some(Grey), Some(Bad)]).0, Good);
        assert_eq!(say(1, [Some(Good), None, Some(Good)]), (NotEvaluated, "missing in b".into()));
        assert_eq!(say(1, [Some(NotEvaluated), None, Some(Bad)]).0, Bad);
        assert_eq!(
            say(3, [Some(NotEvaluated), None, Some(Bad)]),
            (NotEvaluated, "a: empty; missing in b".into())
        );
        assert_eq!(say(1, [Some(Good); 3]), (Good, String::new()));
    }

    #[test]
    fn p_values_are_combined() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let opinions = [0.01, 0.2, 0.04]
            .map(|p| Opinions::from([((1, 1), opinion(Verdict::Good, p))]))
            .to_vec();
        let p = |needed: usize| votes(needed, &names, opinions.clone())[&(1, 1)].p_value.unwrap();
        assert!(
            (p(1) - 0.03).abs() < 1e-12
                && (p(2) - 0.06).abs() < 1e-12
                && (p(3) - 0.2).abs() < 1e-12
        );
        assert_eq!(votes(1, &names, opinions)[&(1, 1)].experiment, Some(0));
    }
}
