//! Scores of one channel, row by row.

use super::verdict::Verdict;
use std::sync::Arc;

/// Scores of one channel for every row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelScores {
    /// The channel; "combined" combines all channels.
    pub name: String,
    /// The reconstruction error; `None` for a row that was not evaluated.
    pub scores: Vec<Option<f64>>,
    /// ln(score / mean-field error); empty for "combined", which is computed from them.
    pub log_ratios: Vec<Option<f64>>,
    /// Decision value of the one-class SVM for the latent, negative outside its support; empty
    /// without an SVM.
    pub inside: Vec<Option<f64>>,
    /// The scores of each member of an ensemble; `scores` are their means. Empty for a single
    /// model. Not stored in files.
    pub members: Vec<Vec<Option<f64>>>,
    /// Standard deviation of the members' scores (ddof 1); empty without an ensemble.
    pub spread: Vec<Option<f64>>,
    /// The share of members whose score is above their own threshold; empty without an ensemble.
    pub flagging: Vec<Option<f64>>,
    /// The threshold of each score; `None` before flagging.
    pub thresholds: Vec<Option<f64>>,
    /// The reason reported for a score above its threshold.
    pub why: Arc<str>,
    /// The reason of each row instead of `why`, if known.
    pub reasons: Vec<Option<Arc<str>>>,
}

impl ChannelScores {
    /// Whether the score of a row is strictly above its threshold.
    pub fn flagged(&self, row: usize) -> Option<bool> {
        Some(self.scores[row]? > self.thresholds[row]?)
    }

    /// The verdict on a row.
    pub fn verdict(&self, row: usize) -> Verdict {
        match self.flagged(row) {
            Some(true) => Verdict::Bad,
            Some(false) => Verdict::Good,
            None => Verdict::NotEvaluated,
        }
    }
}
