//! How well scores tell bad from good.

use crate::random;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The area under the ROC curve of one label set on one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Auc {
    /// Name of the label set.
    pub labels: String,
    /// The column or file it comes from.
    pub origin: String,
    /// The split it was taken on.
    pub split: String,
    /// Rows that are good.
    pub good: usize,
    /// Rows that are bad.
    pub bad: usize,
    /// The probability that a bad row scores higher than a good one; `None` where there is only one class.
    pub auc: Option<f64>,
    /// The middle 95 % of the areas of resampled data.
    pub interval: Option<(f64, f64)>,
    /// What was resampled, or why there is no area.
    pub note: String,
}

/// The area under the ROC curve: the share of (bad, good) pairs in which the bad row scores higher, ties counting half.
/// `None` where one of the classes is missing.
pub fn auc(rows: &[(f64, bool)]) -> Option<f64> {
    let mut sorted: Vec<(f64, bool)> = rows.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bad = rows.iter().filter(|(_, good)| !good).count() as f64;
    let good = rows.len() as f64 - bad;
    if bad == 0.0 || good == 0.0 {
        return None;
    }
    let (mut wins, mut good_below) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let tied_good = tied.iter().filter(|(_, good)| *good).count() as f64;
        wins += (tied.len() as f64 - tied_good) * (good_below + tied_good / 2.0);
        good_below += tied_good;
    }
    Some(wins / (bad * good))
}

const RESAMPLES: u64 = 1000;

/// The area with its bootstrap interval. `runs` hold (score, good) of each run: whole runs are resampled, since neighbouring
/// lumisections are nearly equal; with fewer than five runs single rows are, and the note says so.
pub fn auc_with_interval(runs: &[Vec<(f64, bool)>], seed: u64) -> (Option<f64>, Option<(f64, f64)>, String) {
    let rows = runs.concat();
    let Some(area) = auc(&rows) else {
        let class = if rows.is_empty() {
            "no rows with labels"
        } else if rows[0].1 {
            "no bad rows"
        } else {
            "no good rows"
        };
        return (None, None, format!("no area: {class}"));
    };
    let by_run = runs.len() >= 5;
    let mut areas: Vec<f64> = (0..RESAMPLES)
        .filter_map(|i| {
            let mut chance = random::generator(seed, "bootstrap", i);
            let sample: Vec<(f64, bool)> = if by_run {
                (0..runs.len()).flat_map(|_| runs[chance.random_range(0..runs.len())].iter().copied()).collect()
            } else {
                (0..rows.len()).map(|_| rows[chance.random_range(0..rows.len())]).collect()
            };
            auc(&sample)
        })
        .collect();
    areas.sort_by(f64::total_cmp);
    let at = |p| super::threshold::percentile(&areas, p);
    let what = if by_run { format!("{} runs", runs.len()) } else { format!("{} rows (too few runs to resample those)", rows.len()) };
    (Some(area), at(2.5).zip(at(97.5)), format!("95 % interval from {RESAMPLES} resamplings of {what}"))
}

/// A rate with its 95 % interval (Wilson's): `successes` of `trials`.
pub fn rate_with_interval(successes: usize, trials: usize) -> Option<(f64, f64, f64)> {
    if trials == 0 {
        return None;
    }
    let (n, z) = (trials as f64, 1.959_963_984_540_054_f64);
    let rate = successes as f64 / n;
    let centre = (rate + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    Some((rate, (centre - half).max(0.0), (centre + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn areas() {
        let rows = |scores: &[(f64, u8)]| scores.iter().map(|&(score, good)| (score, good == 1)).collect::<Vec<_>>();
        assert_eq!(auc(&rows(&[(0.1, 1), (0.2, 1), (0.3, 0)])), Some(1.0));
        assert_eq!(auc(&rows(&[(0.1, 0), (0.2, 1)])), Some(0.0));
        assert_eq!(auc(&rows(&[(0.1, 0), (0.1, 1)])), Some(0.5));
        assert_eq!(auc(&rows(&[(0.1, 1), (0.4, 1), (0.35, 0), (0.8, 0)])), Some(0.75), "scikit-learn's example");
        assert_eq!(auc(&rows(&[(0.1, 1)])), None);
    }

    #[test]
    fn one_class_has_no_area_and_says_why() {
        let (area, interval, note) = auc_with_interval(&[vec![(0.1, true)]], 1);
        assert_eq!((area, interval, note.as_str()), (None, None, "no area: no bad rows"));
    }

    #[test]
    fn rates_have_wilsons_interval() {
        let (rate, low, high) = rate_with_interval(5, 100).unwrap();
        assert_eq!(rate, 0.05);
        assert!((low - 0.0215).abs() < 1e-4 && (high - 0.1118).abs() < 1e-4, "{low} {high}");
        assert_eq!(rate_with_interval(0, 0), None);
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_won(rows in prop::collection::vec((0_u8..9, any::<bool>()), 1..40)) {
            let rows: Vec<(f64, bool)> = rows.into_iter().map(|(score, good)| (f64::from(score), good)).collect();
            let (mut wins, mut pairs) = (0.0, 0.0);
            for (bad, _) in rows.iter().filter(|row| !row.1) {
                for (good, _) in rows.iter().filter(|row| row.1) {
                    wins += if bad > good { 1.0 } else if bad == good { 0.5 } else { 0.0 };
                    pairs += 1.0;
                }
            }
            match auc(&rows) {
                None => prop_assert_eq!(pairs, 0.0),
                Some(area) => prop_assert!((area - wins / pairs).abs() < 1e-12),
            }
        }

        #[test]
        fn the_interval_holds_the_area(rows in prop::collection::vec(prop::collection::vec((0.0_f64..1.0, any::<bool>()), 1..5), 5..12)) {
            if let (Some(area), Some((low, high)), _) = auc_with_interval(&rows, 3) {
                prop_assert!(low <= area + 0.2 && high >= area - 0.2 && low <= high);
            }
        }
    }
}
