//! Summarises a histogram by seven numbers: five quantiles, the mean and the standard deviation
//! (ROOT's "RMS"). The first studies of certification by autoencoders summarised 39 distributions
//! of physics objects per lumisection in this way.

use serde::{Deserialize, Serialize};

/// The names of the seven numbers in order.
pub const NAMES: [&str; 7] = ["q10", "q30", "q50", "q70", "q90", "mean", "rms"];

/// The probabilities of the five quantiles.
const SHARES: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];

/// The seven numbers of bins between two edges. Entries are spread evenly over their bin; negative
/// counts are ignored. All 0 without entries.
pub fn of_bins(bins: &[f32], (low, high): (f64, f64)) -> [f64; 7] {
    let width = (high - low) / bins.len() as f64;
    let counts = || bins.iter().map(|count| f64::from(*count).max(0.0));
    let centres = || (0..bins.len()).map(|bin| low + (bin as f64 + 0.5) * width);
    let total: f64 = counts().sum();
    let mut numbers = [0.0; 7];
    if total <= 0.0 {
        return numbers;
    }
    let (mut bin, mut below, mut all) = (0, 0.0, counts());
    let mut count = all.next().unwrap_or(0.0);
    for (number, share) in numbers.iter_mut().zip(SHARES) {
        while below + count < share * total && bin + 1 < bins.len() {
            (below, bin) = (below + count, bin + 1);
            count = all.next().unwrap_or(0.0);
        }
        let part =
            if count > 0.0 { ((share * total - below) / count).clamp(0.0, 1.0) } else { 0.0 };
        *number = low + (bin as f64 + part) * width;
    }
    let mean = counts().zip(centres()).map(|(count, centre)| count * centre).sum::<f64>() / total;
    let variance =
        counts().zip(centres()).map(|(count, centre)| count * (centre - mean).powi(2)).sum::<f64>()
            / total;
    (numbers[5], numbers[6]) = (mean, variance.sqrt());
    numbers
}

/// The seven numbers of values; sorts them. Quantiles are interpolated linearly. All 0 without
/// values.
pub fn of_values(values: &mut [f64]) -> [f64; 7] {
    let mut numbers = [0.0; 7];
    if values.is_empty() {
        return numbers;
    }
    values.sort_unstable_by(f64::total_cmp);
    for (number, share) in numbers.iter_mut().zip(SHARES) {
        let place = share * (values.len() - 1) as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        *number = below + place.fract() * (above - below);
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance =
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (numbers[5], numbers[6]) = (mean, variance.sqrt());
    numbers
}

/// The unit of the seven numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Units of the axis of each histogram, from its file.
    Axis,
    /// Bins, counted from 0.
    Bins,
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Axis => "units of the axis",
            Self::Bins => "bins",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seven_numbers_of_bins() {
        // Evenly filled from 0 to 10.
        let numbers = of_bins(&[5.0; 10], (0.0, 10.0));
        for (found, expected) in numbers.iter().zip([1.0, 3.0, 5.0, 7.0, 9.0, 5.0, 8.25_f64.sqrt()])
        {
            assert!((found - expected).abs() < 1e-12, "{numbers:?}");
        }
        // All entries in one bin, with empty bins and a negative one.
        assert_eq!(
            of_bins(&[0.0, -3.0, 4.0, 0.0], (10.0, 18.0)),
            [14.2, 14.6, 15.0, 15.4, 15.8, 15.0, 0.0]
        );
        assert_eq!(of_bins(&[0.0; 4], (0.0, 1.0)), [0.0; 7]);
    }

    #[test]
    fn seven_numbers_of_values() {
        let mut values: Vec<f64> = (0..=10).rev().map(f64::from).collect();
        assert_eq!(of_values(&mut values), [1.0, 3.0, 5.0, 7.0, 9.0, 5.0, 10_f64.sqrt()]);
        assert_eq!(of_values(&mut []), [0.0; 7]);
    }

    proptest! {
        #[test]
        fn quantiles_rise_and_stay_on_the_axis(bins in prop::collection::vec(-2.0_f32..9.0, 1..40)) {
            let numbers = of_bins(&bins, (-1.0, 3.0));
            if bins.iter().any(|count| *count > 0.0) {
                prop_assert!(numbers[..5].is_sorted(), "{:?}", numbers);
                prop_assert!(numbers[..6].iter().all(|number| (-1.0 - 1e-9..=3.0 + 1e-9).contains(number)), "{:?}", numbers);
            }
        }

        #[test]
        fn fine_bins_tell_what_values_tell(seed in 0_u64..50) {
            let mut values: Vec<f64> = (0..400_u32).map(|i| ((f64::from(i) * 0.7 + seed as f64).sin() + 1.0) * 40.0).collect();
            let mut bins = vec![0.0; 800];
            values.iter().for_each(|value| bins[((value * 10.0) as usize).min(799)] += 1.0);
            for (binned, own) in of_bins(&bins, (0.0, 80.0)).iter().zip(of_values(&mut values)) {
                prop_assert!((binned - own).abs() < 0.6, "{} {}", binned, own);
            }
        }
    }
}
