//! Verdicts on lumisections: of one experiment ([`Opinion`]) and of all that decide
//! ([`LumisectionVerdict`]).

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
    /// Why.
    pub reason: Arc<str>,
    /// Its score, where it is evaluated.
    pub score: Option<f64>,
    /// Whether that is above the experiment's own threshold.
    pub flagged: bool,
    /// Whether it is, while the rate of the cuts could not be resolved: then the lumisection is at
    /// least grey, whatever the other experiments say.
    pub unmet: bool,
    /// Whether that alone makes it grey.
    pub floored: bool,
    /// The p-value of the score among good lumisections.
    pub p_value: Option<f64>,
    /// Of several channels those above their own grey cut, the least usual first; the least usual
    /// one where none is.
    pub channels: Vec<String>,
    /// The split of the row.
    pub split: Split,
    /// Its position among the scores.
    pub row: usize,
}

/// Opinions by lumisection.
pub type Opinions = BTreeMap<Id, Opinion>;

/// The final verdict on a lumisection.
#[derive(Clone, Debug, PartialEq)]
pub struct LumisectionVerdict {
    /// Good, grey, bad or not evaluated.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// The source of the verdict.
    pub source: Source,
    /// The score that decided, where there is one.
    pub score: Option<f64>,
    /// The p-value of the score among good lumisections.
    pub p_value: Option<f64>,
    /// The experiment whose score that is, an index; none where they were not asked.
    pub experiment: Option<usize>,
    /// The channels that score high, the least usual first.
    pub channels: Vec<String>,
    /// The opinion of each experiment; none where it lacks the lumisection.
    pub opinions: Vec<Option<Opinion>>,
    /// Its recorded luminosity, where it is known.
    pub luminosity: Option<f64>,
    /// Whether it is grey only because it is above an experiment's threshold, since the rate
    /// of the cuts could not be resolved.
    pub floored: bool,
}

/// All lumisections, in order.
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
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Autoencoder, Self::Selection, Self::Run, Self::Decision];

    /// The word in files.
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

    /// What the scores say of a lumisection, as tests need it.
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

    /// The same of one with a reason and a score.
    pub fn scored(verdict: Verdict, score: f64) -> LumisectionVerdict {
        let reason = "because".into();
        LumisectionVerdict { reason, score: Some(score), p_value: Some(0.5), ..said(verdict) }
    }

    /// The same of several.
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
