//! The outcome of a sensitivity study.

use super::inject::Size;
use crate::score::{roc::rate_with_interval, threshold::Calibrated};
use serde::Serialize;

/// A share of rows with Wilson's 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The channel that flags.
    pub channel: String,
    /// Flagged rows.
    pub flagged: usize,
    /// All of them.
    pub rows: usize,
    /// Their share; none without rows.
    pub share: Option<f64>,
    /// The interval.
    pub interval: Option<(f64, f64)>,
}

impl Share {
    pub(super) fn new(channel: &str, flagged: usize, rows: usize) -> Self {
        let found = rate_with_interval(flagged, rows);
        // Rounding must not leave a share outside.
        let interval = found.map(|(share, low, high)| (low.min(share), high.max(share)));
        Self { channel: channel.into(), flagged, rows, share: found.map(|found| found.0), interval }
    }
}

/// What was found of a size and strength.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The size.
    #[serde(flatten)]
    pub size: Size,
    /// What the contents were multiplied by.
    pub strength: f64,
    /// In how many channels.
    pub channels: usize,
    /// Rows that are flagged by the channel that judges.
    pub efficiency: Share,
    /// With patterns: the mean overlap (intersection over union) of each injected area with the
    /// region on its side that matches it best; 0 where there is none.
    pub iou: Option<f64>,
    /// Where there are several channels, those flagged by each, of the rows in which the defect is
    /// in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_channel: Vec<Share>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The experiment.
    pub name: String,
    /// Its folder; where it was trained for this, relative to the folder of this file.
    pub experiment: String,
    /// What wrote it.
    pub version: String,
    /// What the score is, in words.
    pub score: String,
    /// The thresholds of changed and unchanged rows.
    pub thresholds: Vec<Calibrated>,
    /// The source of all chance.
    pub seed: u64,
    /// What was tried.
    pub settings: Settings,
    /// "bins", or "bins (x × y)".
    pub unit: String,
    /// The good rows that are held out, in words.
    pub sample: String,
    /// Of these, the share that is flagged as it is, by each channel, the one that judges last.
    pub false_alarms: Vec<Share>,
    /// Rows that defects were injected into: none of them is flagged as it is.
    pub rows: usize,
    /// What was found, size by size.
    pub points: Vec<Point>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

impl Outcome {
    /// The share of good rows that is flagged as it is.
    pub fn false_alarm(&self) -> Option<&Share> {
        self.false_alarms.last()
    }
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Sizes of the defects.
    pub sizes: Vec<Size>,
    /// What contents are multiplied by.
    pub strengths: Vec<f64>,
    /// Rows that each point is tried on, where so many are there.
    pub rows: usize,
    /// In how many channels a defect is.
    pub channels: usize,
    /// Whether contents are drawn anew as counts.
    pub poisson: bool,
}
