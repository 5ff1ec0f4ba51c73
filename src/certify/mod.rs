//! From scores to verdicts: each lumisection is good, grey, bad or not evaluated, and nothing that
//! is not evaluated becomes good.
//!
//! 1. [`cuts`] and [`conformal`]: where the two cuts lie, what they buy, how seldom good rows score
//!    so high; [`unmet`]: rates that the calibration rows cannot tell;
//! 2. [`judge`]: what one experiment says of each lumisection;
//! 3. [`join`]: what several say together;
//! 4. [`decisions`]: what people (or another model) say of runs and of lumisections, which wins;
//!    [`notes`]: how it stays in the review list;
//! 5. [`outputs`] and [`review`]: the files;
//! 6. [`summary`] and [`against`]: what it came to, and how it compares with a golden JSON.

pub mod against;
pub mod conformal;
pub mod cuts;
pub mod decisions;
pub mod join;
pub mod judge;
pub mod notes;
pub mod outputs;
pub mod review;
pub mod summary;
pub mod unmet;

use crate::score::verdict::Verdict;
use serde::Serialize;
use std::collections::BTreeMap;

/// Run and LS.
pub type Id = (u32, u32);

/// What is said of a lumisection in the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Lumisection {
    /// Good, grey, bad or not evaluated.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub source: Source,
    /// The score that decided, where there is one.
    pub score: Option<f64>,
    /// How seldom good lumisections score so high.
    pub p_value: Option<f64>,
    /// The experiment whose score that is, an index; none where they were not asked.
    pub experiment: Option<usize>,
    /// The channels that score high, the least usual first.
    pub channels: Vec<String>,
    /// What each experiment says; none where it lacks the lumisection.
    pub opinions: Vec<Option<judge::Opinion>>,
    /// Its recorded luminosity, where it is known.
    pub luminosity: Option<f64>,
    /// Whether it is grey only because it is above an experiment's threshold, since the rate that
    /// was to be met could not be.
    pub floored: bool,
}

/// All lumisections, in order.
pub type Lumisections = BTreeMap<Id, Lumisection>;

/// Who a verdict is from.
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
pub fn ranges(lumisections: &Lumisections, wanted: Verdict) -> BTreeMap<u32, Vec<(u32, u32)>> {
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

/// How many there are of each verdict, in the order of [`Verdict::ALL`].
pub fn counts(lumisections: &Lumisections) -> [usize; 4] {
    Verdict::ALL.map(|verdict| lumisections.values().filter(|said| said.verdict == verdict).count())
}
