//! The error baseline of a channel, and the combination of several channels.

use super::ranges::Range;
use crate::config::score::Combine;
use serde::{Deserialize, Serialize};

/// The error baseline of a channel: fitted after training, stored in `channels.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBaseline {
    /// Weighted mean score of the training rows.
    pub error: f64,
    /// Weighted mean score of predicting the weighted mean of the training rows (the mean field).
    pub mean_field_error: f64,
    /// Mean of ln(score / mean-field error) over the calibration rows.
    pub log_mean: f64,
    /// Standard deviation (ddof 0) of ln(score / mean-field error) over the calibration rows.
    pub log_std: f64,
    /// Weighted mean error of each feature in the training rows.
    pub feature_errors: Vec<f64>,
    /// Variance of the reconstructions of the training rows as a share of that of their inputs: 0
    /// if every row has the same reconstruction. Absent in folders of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub varies: Option<f64>,
    /// Lowest and highest value of each input in the training rows, before the first scaling step
    /// with fitted parameters; empty in folders of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unscaled: Vec<Range>,
    /// Share of the inputs of the calibration rows outside those ranges.
    #[serde(default)]
    pub outside: f64,
}

/// Lower limit of the ratio of score and reference error, because the logarithm of 0 is infinite.
pub const SMALLEST: f64 = 1e-12;

/// Lower limit of the standard deviation of log scores, for calibration scores that hardly differ.
const LEAST_SPREAD: f64 = 1e-3;

impl ErrorBaseline {
    /// The reference error of scores: the mean-field error. If it is 0 because all training rows
    /// are equal, the autoencoder's own error; if that is 0 too, 1.
    pub fn reference_error(&self) -> f64 {
        [self.mean_field_error, self.error].into_iter().find(|error| *error > 0.0).unwrap_or(1.0)
    }

    /// ln(score / mean-field error).
    pub fn log_ratio(&self, score: f64) -> f64 {
        (score / self.reference_error()).max(SMALLEST).ln()
    }

    /// The divisor of log ratios for standardised channels.
    pub fn log_scale(&self) -> f64 {
        self.log_std.max(LEAST_SPREAD)
    }

    /// Sets mean and standard deviation from the finite scores of the calibration rows.
    pub fn calibrate(&mut self, scores: impl Iterator<Item = f64>) {
        let logs: Vec<f64> =
            scores.map(|score| self.log_ratio(score)).filter(|log| log.is_finite()).collect();
        let n = logs.len().max(1) as f64;
        self.log_mean = logs.iter().sum::<f64>() / n;
        self.log_std =
            (logs.iter().map(|log| (log - self.log_mean).powi(2)).sum::<f64>() / n).sqrt();
    }
}

/// Combines a row's ln(score / mean-field error) of its channels to one score; `None` without
/// channels.
pub fn combine(how: Combine, channels: &[(&ErrorBaseline, f64)]) -> Option<f64> {
    let values = channels.iter().map(|(baseline, ratio)| match how {
        Combine::Standardised => (ratio - baseline.log_mean) / baseline.log_scale(),
        Combine::Max | Combine::Mean | Combine::Sum => *ratio,
    });
    match how {
        Combine::Standardised | Combine::Max => values.reduce(f64::max),
        Combine::Mean | Combine::Sum => {
            let sum = values.reduce(|a, b| a + b)?;
            Some(if how == Combine::Mean { sum / channels.len() as f64 } else { sum })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(mean_field_error: f64, log_mean: f64, log_std: f64) -> ErrorBaseline {
        ErrorBaseline {
            error: 0.5,
            mean_field_error,
            log_mean,
            log_std,
            feature_errors: vec![],
            varies: None,
            unscaled: vec![],
            outside: 0.0,
        }
    }

    #[test]
    fn scores_are_held_against_the_mean_field() {
        assert!((usual(2.0, 0.0, 1.0).log_ratio(4.0) - 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!(usual(2.0, 0.0, 1.0).log_ratio(0.0), 1e-12_f64.ln());
        assert_eq!(
            usual(0.0, 0.0, 1.0).log_ratio(1.0),
            2.0_f64.ln(),
            "without a mean-field error the autoencoder's own error is used"
        );
        let mut learned = usual(1.0, 0.0, 0.0);
        learned.calibrate([1.0_f64.exp(), 3.0_f64.exp()].into_iter());
        assert!((learned.log_mean - 2.0).abs() < 1e-12 && (learned.log_std - 1.0).abs() < 1e-12);
    }

    #[test]
    fn channels_are_combined() {
        let (a, b) = (usual(1.0, 0.0, 1.0), usual(1.0, -2.0, 0.5));
        let of = |how| combine(how, &[(&a, 1.0), (&b, -1.0)]);
        assert_eq!(of(Combine::Max), Some(1.0));
        assert_eq!(of(Combine::Mean), Some(0.0));
        assert_eq!(of(Combine::Sum), Some(0.0));
        assert_eq!(of(Combine::Standardised), Some(2.0), "b is two deviations above its mean");
        assert_eq!(combine(Combine::Max, &[]), None);
    }

    #[test]
    fn a_channel_that_never_changed_counts_when_it_does() {
        let mut constant = usual(0.0, 0.0, 0.0);
        constant.calibrate([0.5, 0.5, 0.5].into_iter());
        assert_eq!(
            combine(Combine::Standardised, &[(&constant, constant.log_ratio(0.5))]),
            Some(0.0)
        );
        assert!(
            combine(Combine::Standardised, &[(&constant, constant.log_ratio(5.0))]).unwrap()
                > 1000.0
        );
    }
}
