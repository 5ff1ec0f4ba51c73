//! What is usual for a channel's errors, and what several channels say together.

use crate::config::raw::Combine;
use serde::{Deserialize, Serialize};

/// What is usual for a channel: learned in training, kept in `channels.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// Mean score of the training rows, weighted as they are.
    pub error: f64,
    /// The same of always answering with the weighted mean of the training rows (the mean field).
    pub mean_field_error: f64,
    /// Mean of ln(score / mean-field error) over the calibration rows.
    pub log_mean: f64,
    /// Its standard deviation (ddof 0).
    pub log_std: f64,
    /// Mean error of each feature in the training rows, weighted as they are.
    pub feature_errors: Vec<f64>,
}

impl Usual {
    /// ln(score / mean-field error); none where there is no mean-field error, because all training rows are alike.
    pub fn log_ratio(&self, score: f64) -> Option<f64> {
        (self.mean_field_error > 0.0).then(|| (score.max(f64::MIN_POSITIVE) / self.mean_field_error).ln())
    }

    /// Notes mean and standard deviation of the calibration rows' scores.
    pub fn calibrate(&mut self, scores: impl Iterator<Item = f64>) {
        let logs: Vec<f64> = scores.filter_map(|score| self.log_ratio(score)).collect();
        let n = logs.len().max(1) as f64;
        self.log_mean = logs.iter().sum::<f64>() / n;
        self.log_std = (logs.iter().map(|log| (log - self.log_mean).powi(2)).sum::<f64>() / n).sqrt();
    }
}

/// One score of the ln(score / mean-field error) of a row's channels; none where no channel has one.
pub fn combine(how: Combine, channels: &[(&Usual, Option<f64>)]) -> Option<f64> {
    let ratios = channels.iter().filter_map(|(usual, ratio)| Some((usual, (*ratio)?)));
    let values: Vec<f64> = match how {
        Combine::Standardised => {
            ratios.filter(|(usual, _)| usual.log_std > 0.0).map(|(usual, ratio)| (ratio - usual.log_mean) / usual.log_std).collect()
        }
        Combine::Max | Combine::Mean | Combine::Sum => ratios.map(|(_, ratio)| ratio).collect(),
    };
    let sum = || values.iter().sum::<f64>();
    match how {
        _ if values.is_empty() => None,
        Combine::Standardised | Combine::Max => values.iter().copied().reduce(f64::max),
        Combine::Mean => Some(sum() / values.len() as f64),
        Combine::Sum => Some(sum()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(mean_field_error: f64, log_mean: f64, log_std: f64) -> Usual {
        Usual { error: 1.0, mean_field_error, log_mean, log_std, feature_errors: vec![] }
    }

    #[test]
    fn scores_are_held_against_the_mean_field() {
        assert!((usual(2.0, 0.0, 1.0).log_ratio(4.0).unwrap() - 2.0_f64.ln()).abs() < 1e-15);
        assert!(usual(2.0, 0.0, 1.0).log_ratio(0.0).unwrap().is_finite());
        assert_eq!(usual(0.0, 0.0, 1.0).log_ratio(4.0), None);
        let mut learned = usual(1.0, 0.0, 0.0);
        learned.calibrate([1.0_f64.exp(), 3.0_f64.exp()].into_iter());
        assert!((learned.log_mean - 2.0).abs() < 1e-12 && (learned.log_std - 1.0).abs() < 1e-12);
    }

    #[test]
    fn channels_are_combined() {
        let (a, b) = (usual(1.0, 0.0, 1.0), usual(1.0, -2.0, 0.5));
        let of = |how| combine(how, &[(&a, Some(1.0)), (&b, Some(-1.0))]);
        assert_eq!(of(Combine::Max), Some(1.0));
        assert_eq!(of(Combine::Mean), Some(0.0));
        assert_eq!(of(Combine::Sum), Some(0.0));
        assert_eq!(of(Combine::Standardised), Some(2.0), "b is two deviations above what is usual for it");
        assert_eq!(combine(Combine::Max, &[(&a, None)]), None);
        assert_eq!(combine(Combine::Standardised, &[(&a, Some(1.5)), (&b, None)]), Some(1.5));
    }
}
