//! Scores of one channel, row by row.

use super::verdict::Verdict;
use std::sync::Arc;

/// What one channel says of every row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelScores {
    /// The channel; "combined" is all of them together.
    pub name: String,
    /// The reconstruction error; none where a row was not evaluated.
    pub scores: Vec<Option<f64>>,
    /// ln(score / mean-field error); empty for "combined", which is made of them.
    pub log_ratios: Vec<Option<f64>>,
    /// How far inside the one-class SVM's support the latent lies, negative outside; empty without
    /// an SVM.
    pub inside: Vec<Option<f64>>,
    /// The scores of each member of an ensemble, of which `scores` are the means; empty where there
    /// is one, and not kept in files.
    pub members: Vec<Vec<Option<f64>>>,
    /// Their standard deviation (ddof 1); empty without an ensemble.
    pub spread: Vec<Option<f64>>,
    /// The share of members whose own score is above their own threshold; empty without an
    /// ensemble.
    pub flagging: Vec<Option<f64>>,
    /// What each score is held against; none before it is.
    pub thresholds: Vec<Option<f64>>,
    /// What is said of a score that is above.
    pub why: Arc<str>,
    /// What is said of each row's score instead, where that is known.
    pub reasons: Vec<Option<Arc<str>>>,
}

impl ChannelScores {
    /// Whether the score of a row is strictly above its threshold.
    pub fn flagged(&self, row: usize) -> Option<bool> {
        Some(self.scores[row]? > self.thresholds[row]?)
    }

    /// What is said of a row.
    pub fn verdict(&self, row: usize) -> Verdict {
        match self.flagged(row) {
            Some(true) => Verdict::Bad,
            Some(false) => Verdict::Good,
            None => Verdict::NotEvaluated,
        }
    }
}
