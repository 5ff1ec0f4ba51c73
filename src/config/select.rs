//! `[select]`: the rows to evaluate.

use super::{
    check::Checker,
    expression::Expression,
    keys::{Key, Scalar, choice, section},
};
use std::{collections::BTreeMap, path::PathBuf};

section! {
    /// Which rows are evaluated at all. The others keep the first reason against them, in the order
    /// of these keys.
    Select {
        /// Only these runs: numbers, or ranges such as "297050-297180".
        #[serde(skip_serializing_if = "Key::is_unset")]
        runs: Key<Vec<Scalar>, Vec<(u32, u32)>> = Key::default(),
        /// Only these LSs of a run, inclusive: { "297050" = [[1, 100], [120, 130]] }. Other runs
        /// are not touched.
        #[serde(skip_serializing_if = "Key::is_unset")]
        lumisections: Key<BTreeMap<String, Vec<Vec<i64>>>, LumiRanges> = Key::default(),
        /// Only the LSs that this golden or DCS JSON (or list of `run ls` lines) names.
        #[serde(skip_serializing_if = "Key::is_unset")]
        golden: Key<Option<String>, Option<PathBuf>> = Key::default(),
        /// Conditions that all must hold: ["beams_stable", "pileup > 25", "HLT_ZeroBias_v* > 5",
        /// "entries >= 1000"]. Names are run, ls, entries, those of OMS, HLT and brilcalc files,
        /// and columns.
        #[serde(rename = "where", skip_serializing_if = "Key::is_unset")]
        conditions: Key<Vec<String>, Vec<Expression>> = Key::default(),
        unknown: UnknownRows = UnknownRows::Reject,
        drop_empty: DropEmpty = DropEmpty::All,
        /// Only rows whose weight is not 0.
        nonzero_weight: bool = false,
        /// At most so many rows of each run, drawn by the seed.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        per_run: Option<u32> = None,
    }
}

choice! {
    /// What becomes of a row for which a condition is neither met nor broken, because something in
    /// it is not known.
    UnknownRows {
        /// It is not evaluated, with the reason "unknown in OMS" (or HLT, or the column).
        Reject = "reject",
        /// It stays.
        Keep = "keep",
    }
}

choice! {
    /// Which empty lumisections are not evaluated.
    DropEmpty {
        /// Wherever they stand in the run.
        All = "all",
        /// Only those before the first filled one of a run.
        Leading = "leading",
        /// None: an empty histogram is scored like any other.
        None = "none",
    }
}

/// Ranges of LSs for some runs, inclusive.
pub type LumiRanges = BTreeMap<u32, Vec<(u32, u32)>>;

/// Parses a run or a range of runs.
fn run_range(runs: &Scalar) -> Option<(u32, u32)> {
    match runs {
        Scalar::Number(run) if run.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(run) => {
            Some((*run as u32, *run as u32))
        }
        Scalar::Number(_) => None,
        Scalar::Text(text) => {
            let (first, last) = text.split_once(['-', '–']).unwrap_or((text, text));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some((first, last))
        }
    }
}

/// Parses a range of LSs, `[first, last]`.
fn lumi_range(range: &[i64]) -> Option<(u32, u32)> {
    match *range {
        [first, last] if first >= 0 && last >= first && last <= i64::from(u32::MAX) => {
            Some((first as u32, last as u32))
        }
        _ => None,
    }
}

impl Select {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        self.runs.meaning.clear();
        for (i, runs) in self.runs.written.iter().enumerate() {
            match run_range(runs) {
                Some(range) => self.runs.meaning.push(range),
                None => checker.fault(
                    &format!("select.runs[{i}]"),
                    "expected a run number, or a range such as \"297050-297180\"",
                ),
            }
        }
        self.lumisections.meaning.clear();
        for (run, ranges) in &self.lumisections.written {
            let key = format!("select.lumisections.{run}");
            match (
                run.parse(),
                ranges.iter().map(|range| lumi_range(range)).collect::<Option<Vec<_>>>(),
            ) {
                (Ok(number), Some(ranges)) => {
                    if self.lumisections.meaning.insert(number, ranges).is_some() {
                        checker.fault(&key, format!("run {number} is there twice"));
                    }
                }
                _ => checker.fault(
                    &key,
                    "expected a run number and ranges [first, last], first not above last",
                ),
            }
        }
        checker.path("select.golden", &mut self.golden);
        checker.expressions("select.where", &mut self.conditions);
    }
}
