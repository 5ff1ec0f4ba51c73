//! Verdicts on lumisections: of one experiment ([`Opinion`]) and final ([`LumisectionVerdict`]).

use crate::{prepare::split::Split, score::verdict::Verdict};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// Run and LS.
pub type Id = (u32, u32);

/// The opinion of one experiment on a lumisection.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// Good, grey, bad or not evaluated.
    pub verdict: Verdict,
    /// The reason of the verdict.
    pub reason: Arc<str>,
    /// The score, if it is evaluated.
    pub score: Option<f64>,
    /// Whether the score is above the experiment's own threshold.
    pub flagged: bool,
    /// Whether it is flagged and the rate of the cuts could not be resolved. The lumisection is
    /// then at least grey, whatever the other experiments say.
    pub unmet: bool,
    /// Whether it is grey only because of `unmet`.
    pub floored: bool,
    /// The p-value of the score among good lumisections.
    pub p_value: Option<f64>,
    /// With several channels, those above their own grey cut, the smallest p-value first; if there
    /// are none, the one with the smallest p-value.
    pub channels: Vec<String>,
    /// The split of the row.
    pub split: Split,
    /// The position of the row among the scores.
    pub row: usize,
}

/// Opinions by lumisection.
pub type Opinions = BTreeMap<Id, Opinion>;

/// The final verdict on a lumisection.
#[derive(Clone, Debug, PartialEq)]
pub struct LumisectionVerdict {
    /// Good, grey, bad or not evaluated.
    pub verdict: Verdict,
    /// The reason of the verdict.
    pub reason: String,
    /// The source of the verdict.
    pub source: Source,
    /// The score that decided, if any.
    pub score: Option<f64>,
    /// The p-value of the score among good lumisections.
    pub p_value: Option<f64>,
    /// Index of the experiment of the score; `None` if no score decided.
    pub experiment: Option<usize>,
    /// The channels with high scores, the smallest p-value first.
    pub channels: Vec<String>,
    /// The opinion of each experiment; `None` if it lacks the lumisection.
    pub opinions: Vec<Option<Opinion>>,
    /// Its recorded luminosity, if known.
    pub luminosity: Option<f64>,
    /// Whether it is grey only because it is above an experiment's threshold while the rate of the
    /// cuts could not be resolved.
    pub floored: bool,
}

/// The verdicts on all lumisections, in order.
pub type Verdicts = BTreeMap<Id, LumisectionVerdict>;

/// The source of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Source {
    /// The scores.
    #[serde(rename = "autoencoder")]
    Autoencoder,
    /// The selection of rows, before there were scores.
    #[serde(rename = "selection")]
    Selection,
    /// The file of runs.
    #[serde(rename = "run")]
    Run,
    /// A person's decision.
    #[serde(rename = "decision")]
    Decision,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 4] = [Self::Autoencoder, Self::Selection, Self::Run, Self::Decision];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autoencoder => "autoencoder",
            Self::Selection => "selection",
            Self::Run => "run",
            Self::Decision => "decision",
        }
    }
}

/// Ranges of neighbouring lumisections of one verdict, by run.
pub fn ranges(lumisections: &Verdicts, wanted: Verdict) -> BTreeMap<u32, Vec<(u32, u32)>> {
    let mut ranges: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
    for ((run, ls), _) in lumisections.iter().filter(|(_, said)| said.verdict == wanted) {
        let of_run = ranges.entry(*run).or_default();
        match of_run.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*ls) => *last = *ls,
            _ => of_run.push((*ls, *ls)),
        }
    }
    ranges
}

/// The number of lumisections of each verdict, in the order of [`Verdict::ALL`].
pub fn counts(lumisections: &Verdicts) -> [usize; 4] {
    Verdict::ALL.map(|verdict| lumisections.values().filter(|said| said.verdict == verdict).count())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A verdict from scores, for tests.
    pub fn said(verdict: Verdict) -> LumisectionVerdict {
        LumisectionVerdict {
            verdict,
            reason: String::new(),
            source: Source::Autoencoder,
            score: None,
            p_value: None,
            experiment: None,
            channels: vec![],
            opinions: vec![],
            luminosity: None,
            floored: false,
        }
    }

    /// The same with a reason and a score.
    pub fn scored(verdict: Verdict, score: f64) -> LumisectionVerdict {
        let reason = "because".into();
        LumisectionVerdict { reason, score: Some(score), p_value: Some(0.5), ..said(verdict) }
    }

    /// The same for several lumisections.
    pub fn all_said(verdicts: &[(Id, Verdict)]) -> Verdicts {
        verdicts.iter().map(|(id, verdict)| (*id, said(*verdict))).collect()
    }

    /// A CSV file.
    pub fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }
}
