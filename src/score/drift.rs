//! Drift: how new rows differ from the training and calibration rows. Compares inputs with the
//! ranges of the training rows, and the distribution of scores with the calibration scores.
//!
//! Rows of one run are correlated. A test that treats them as independent finds a difference
//! between any two runs. Here the number of rows is reduced to an effective number by the design
//! effect of cluster sampling, with the intraclass correlation of the scores over runs (over blocks
//! of neighbouring LSs if there is one run).

use crate::statistics::percentile;
use crate::{error::first_few, prepare::missing::MissingCells};
use serde::{Deserialize, Serialize};

/// Margin around the range of the training rows, as a share of that range: new rows always have new
/// extremes.
pub const MARGIN: f32 = 0.1;
/// Tolerated share of values outside.
const FEW_OUTSIDE: f64 = 0.01;
/// Tolerated share of values outside in units of the share in the calibration rows.
const TIMES_USUAL: f64 = 3.0;
/// Tolerated distance of two distributions of scores.
const NEAR: f64 = 0.2;
/// The critical distance of two large samples at the 1 % level, times √(nm / (n + m)): √(−½ ln(0.01
/// / 2)).
const ONE_PERCENT: f64 = 1.627_6;
/// Neighbouring LSs of a cluster if there is a single run.
const BLOCK: usize = 25;
/// Maximum number of scores stored for a sample.
const KEPT: usize = 201;
/// Smallest strong rank correlation of score and luminosity, and the minimum number of rows.
const STRONG: f64 = 0.5;
const ROWS_TO_TELL: usize = 50;

/// Whether an input is outside the range of the training rows. A range of one value has no margin.
pub fn is_outside(value: f32, (low, high): (f32, f32)) -> bool {
    let margin = MARGIN * (high - low);
    value < low - margin || value > high + margin
}

/// Summary of the calibration scores of a threshold, stored with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Scores at even ranks from the lowest to the highest.
    pub quantiles: Vec<f64>,
    /// Effective number of independent rows.
    pub effective: f64,
    /// Intraclass correlation of the scores.
    pub correlation: f64,
    /// Whether the correlation is over runs; else it is over blocks of neighbouring LSs, or rows
    /// are events and it is unknown.
    pub over_runs: bool,
}

impl Sample {
    /// The summary of the scores of some runs, each in the order of LS; `None` without scores.
    /// Events are treated as independent.
    pub fn new(runs: &[Vec<f64>], events: bool) -> Option<Self> {
        let over_runs = runs.len() > 1 && !events;
        let clusters = clusters(runs, over_runs);
        let scores = runs.concat();
        let correlation = if events { 0.0 } else { intraclass(&clusters) };
        let last = KEPT.min(scores.len()).checked_sub(1)?;
        let mut sorted = scores.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted[(i * (sorted.len() - 1)).checked_div(last).unwrap_or(0)];
        let effective = effective(clusters.iter().map(|cluster| cluster.len()), correlation);
        Some(Self { quantiles: (0..=last).map(at).collect(), effective, correlation, over_runs })
    }

    /// Compares the distribution of new scores, run by run, with this one; `None` without scores.
    pub fn held_against(&self, runs: &[Vec<f64>]) -> Option<Shift> {
        let scores = runs.concat();
        let median = percentile(&scores, 50.0)?;
        let effective = effective(
            clusters(runs, self.over_runs).iter().map(|cluster| cluster.len()),
            self.correlation,
        );
        Some(Shift {
            distance: distance(&self.quantiles, &scores),
            limit: NEAR.max(critical(self.effective, effective)),
            rows: scores.len(),
            effective,
            calibration_effective: self.effective,
            median,
            calibration_median: percentile(&self.quantiles, 50.0)?,
        })
    }
}

/// Difference between the distributions of new scores and calibration scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The Kolmogorov-Smirnov distance: the largest difference of the two cumulative distributions.
    pub distance: f64,
    /// The limit of the distance: 0.2, or the critical distance at the 1 % level if that is larger.
    pub limit: f64,
    /// Number of new rows.
    pub rows: usize,
    /// Effective number of independent new rows.
    pub effective: f64,
    /// Effective number of independent calibration rows.
    pub calibration_effective: f64,
    /// The median of the new scores.
    pub median: f64,
    /// The median of the calibration scores.
    pub calibration_median: f64,
}

/// Inputs of a channel outside the ranges of the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outside {
    /// The channel.
    pub channel: String,
    /// Share of all values (rows times inputs), compared before the first scaling step with fitted
    /// parameters.
    pub share: f64,
    /// The same in the calibration rows.
    pub usual: f64,
    /// The inputs with the most rows outside, with the share of rows.
    pub worst: Vec<(String, f64)>,
}

/// Inputs that are constant in the training rows and differ in others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Whether the scaling hides the difference from the scores.
    pub blind: bool,
    /// The inputs, with the number of rows in which they differ.
    pub inputs: Vec<(String, usize)>,
}

impl Moved {
    /// The text of the warning.
    pub fn warning(&self) -> String {
        let named: Vec<String> = self
            .inputs
            .iter()
            .map(|(name, rows)| {
                format!("{name} in {rows} {}", if *rows == 1 { "row" } else { "rows" })
            })
            .collect();
        let what = format!(
            "inputs that are constant in the training rows change now: {}",
            first_few(named.iter().map(String::as_str))
        );
        match self.blind {
            true => format!(
                "{what}; scores do not see it (scale.constant = \"zero\"): look at these rows, or train with scale.constant = \"floor\""
            ),
            false => format!("{what}; check that this is expected"),
        }
    }
}

/// Differences between new rows and training rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Inputs, channel by channel; empty if a folder of an earlier version has no ranges.
    pub inputs: Vec<Outside>,
    /// Inputs that are constant in training and change now, if the scores could miss that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<Moved>,
    /// Scores of the channel that determines the verdict.
    pub scores: Option<Shift>,
    /// Inputs that are missing notably more often than in training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingCells>,
}

impl Drift {
    /// The texts of the warnings.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.inputs.iter().filter_map(Outside::warning).collect();
        warnings.extend(self.missing_warning());
        warnings.extend(self.scores.as_ref().and_then(Shift::warning));
        if !warnings.is_empty() {
            warnings.push("flags of data unlike the training data are doubtful: recompute the thresholds with `lumisift calibrate` on good data of this kind; if inputs are outside, better train again".into());
        }
        warnings.extend(self.moved.iter().map(Moved::warning));
        warnings
    }

    /// A warning if inputs are missing that were present in training.
    fn missing_warning(&self) -> Option<String> {
        /// Number of inputs named.
        const MOST: usize = 5;
        let named: Vec<String> =
            self.missing.iter().take(MOST).map(MissingCells::beside_training).collect();
        let more = if self.missing.len() > MOST {
            format!("; and {} more", self.missing.len() - MOST)
        } else {
            String::new()
        };
        (!named.is_empty()).then(|| {
            format!(
                "{}{more}: scores use the remaining inputs; find out why these are missing",
                named.join("; ")
            )
        })
    }
}

impl Outside {
    fn warning(&self) -> Option<String> {
        let name =
            |(name, share): &(String, f64)| format!("{name} ({:.0} % of rows)", 100.0 * share);
        (self.share > FEW_OUTSIDE + TIMES_USUAL * self.usual).then(|| {
            format!(
                "channel {}: {:.1} % of the inputs are outside the ranges of the training rows ({:.1} % in the calibration rows), most of all {}",
                self.channel,
                100.0 * self.share,
                100.0 * self.usual,
                self.worst.iter().map(name).collect::<Vec<_>>().join(", ")
            )
        })
    }
}

impl Shift {
    fn warning(&self) -> Option<String> {
        let how = if self.median > self.calibration_median { "higher" } else { "lower" };
        (self.distance > self.limit).then(|| {
            format!(
                "scores are {how} than the calibration scores: median {:.4e} instead of {:.4e}, Kolmogorov-Smirnov distance {:.2} (limit {:.2} for {} rows, worth {:.0} independent ones, and {:.0} independent calibration rows)",
                self.median, self.calibration_median, self.distance, self.limit, self.rows, self.effective, self.calibration_effective
            )
        })
    }
}

/// Correlation of a quantity with the scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// The quantity.
    pub name: String,
    /// Number of rows with a known value.
    pub rows: usize,
    /// Description of those rows, such as "test rows labelled good"; empty in folders of earlier
    /// versions.
    #[serde(default)]
    pub sample: String,
    /// Spearman's rank correlation with the score.
    pub correlation: f64,
}

impl Beside {
    /// From pairs of score and quantity, NaN if unknown. `None` if one of them is constant.
    pub fn new(name: &str, sample: &str, pairs: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let (scores, quantities): (Vec<f64>, Vec<f64>) =
            pairs.filter(|(score, quantity)| score.is_finite() && quantity.is_finite()).unzip();
        Some(Self {
            name: name.into(),
            rows: scores.len(),
            sample: sample.into(),
            correlation: spearman(&scores, &quantities)?,
        })
    }

    /// A warning if the scores correlate strongly with the quantity.
    pub fn warning(&self) -> Option<String> {
        (self.correlation.abs() >= STRONG && self.rows >= ROWS_TO_TELL).then(|| {
            format!(
                "the score correlates with {} (rank correlation {:+.2} over {} {}): a high score may reflect that, not a defect; remove it with data.add_inputs, scale.divide_by or scale.kind = \"unit-area\"",
                self.name, self.correlation, self.rows, self.sample
            )
        })
    }
}

/// Runs, or blocks of neighbouring rows in each run.
fn clusters(runs: &[Vec<f64>], over_runs: bool) -> Vec<&[f64]> {
    if over_runs {
        runs.iter().map(Vec::as_slice).collect()
    } else {
        runs.iter().flat_map(|run| run.chunks(BLOCK)).collect()
    }
}

/// Effective number of independent rows of clusters of these sizes, for a mean over all rows.
fn effective(sizes: impl Iterator<Item = usize>, correlation: f64) -> f64 {
    let (mut rows, mut squares) = (0.0, 0.0);
    for size in sizes {
        rows += size as f64;
        squares += (size as f64).powi(2);
    }
    rows * rows / (correlation * squares + (1.0 - correlation) * rows)
}

/// Intraclass correlation of the ranks of clustered numbers, by analysis of variance; 0 for a
/// single cluster.
fn intraclass(clusters: &[&[f64]]) -> f64 {
    let ranks = ranks(&clusters.concat());
    let (n, k) = (ranks.len() as f64, clusters.len() as f64);
    let mean = ranks.iter().sum::<f64>() / n;
    let (mut between, mut within, mut squares, mut at) = (0.0, 0.0, 0.0, 0);
    for cluster in clusters {
        let (own, size) = (&ranks[at..at + cluster.len()], cluster.len() as f64);
        let own_mean = own.iter().sum::<f64>() / size;
        between += size * (own_mean - mean).powi(2);
        within += own.iter().map(|rank| (rank - own_mean).powi(2)).sum::<f64>();
        squares += size * size;
        at += cluster.len();
    }
    let (between, within, size) =
        (between / (k - 1.0), within / (n - k), (n - squares / n) / (k - 1.0));
    let correlation = (between - within) / (between + (size - 1.0) * within);
    if correlation.is_finite() { correlation.clamp(0.0, 1.0) } else { 0.0 }
}

/// Ranks from 1; ties get the mean of their ranks.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
    let mut ranks = vec![0.0; numbers.len()];
    for equal in order.chunk_by(|&a, &b| numbers[a] == numbers[b]) {
        // All numbers before them are smaller.
        let before = equal[0];
        let first =
            order.partition_point(|&at| numbers[at].total_cmp(&numbers[before]).is_lt()) as f64;
        let rank = first + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|&at| ranks[at] = rank);
    }
    ranks
}

/// Spearman's rank correlation; `None` if one side is constant.
fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let correlation = product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt();
    correlation.is_finite().then_some(correlation)
}

/// The critical distance at the 1 % level of samples of `n` and `m` independent rows, by Stephens'
/// formula, which is also valid for small samples; above 1 if they are too small.
fn critical(n: f64, m: f64) -> f64 {
    let root = (n * m / (n + m)).sqrt();
    ONE_PERCENT / (root + 0.12 + 0.11 / root)
}

/// The Kolmogorov-Smirnov distance between two samples.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let sorted = |numbers: &[f64]| {
        let mut numbers = numbers.to_vec();
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let (a, b) = (sorted(a), sorted(b));
    let share = |numbers: &[f64], at: f64| {
        numbers.partition_point(|number| *number <= at) as f64 / numbers.len() as f64
    };
    a.iter().chain(&b).map(|&at| (share(&a, at) - share(&b, at)).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use proptest::prelude::*;
    use rand::RngExt;

    /// Runs of correlated rows: each run has its own shift of this size.
    fn runs(seed: u64, runs: usize, rows: usize, shift: f64) -> Vec<Vec<f64>> {
        let mut chance = random::generator(seed, "drift", 0);
        let mut normal = || (0..12).map(|_| chance.random_range(0.0..1.0)).sum::<f64>() - 6.0;
        (0..runs)
            .map(|_| {
                let own = shift * normal();
                (0..rows).map(|_| own + normal()).collect()
            })
            .collect()
    }

    #[test]
    fn figures_are_those_of_scipy() {
        // scipy.stats.ks_2samp([1, 2, 3, 4], [2, 3, 4, 5, 6]), spearmanr([1, 2, 2, 5, 7], [3, 1, 4,
        // 4, 9])
        assert!((distance(&[4.0, 1.0, 3.0, 2.0], &[2.0, 3.0, 4.0, 5.0, 6.0]) - 0.4).abs() < 1e-12);
        assert_eq!(ranks(&[1.0, 2.0, 2.0, 5.0, 7.0]), [1.0, 2.5, 2.5, 4.0, 5.0]);
        assert!(
            (spearman(&[1.0, 2.0, 2.0, 5.0, 7.0], &[3.0, 1.0, 4.0, 4.0, 9.0]).unwrap()
                - 0.763_157_894_736_842_1)
                .abs()
                < 1e-12
        );
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        // scipy.stats.ks_2samp(method="exact") rejects on the 1 % level from a distance of 0.34 on
        // for 50 rows each, 0.55 for 20, 1 for 5.
        let near = |rows: f64, exact: f64, step: f64| {
            (exact - 2.0 * step..exact).contains(&critical(rows, rows))
        };
        assert!(
            near(50.0, 0.34, 0.02)
                && near(20.0, 0.55, 0.05)
                && near(5.0, 1.0, 0.2)
                && critical(1.0, 1e6) > 1.0
        );
    }

    #[test]
    fn rows_of_runs_that_differ_are_worth_little_more_than_their_runs() {
        let alike = Sample::new(&runs(1, 20, 100, 0.0), false).unwrap();
        let unlike = Sample::new(&runs(2, 20, 100, 2.0), false).unwrap();
        assert!(alike.effective > 1000.0 && alike.correlation < 0.02, "{alike:?}");
        // Four fifths of the variance are between runs.
        assert!(
            (0.6..0.95).contains(&unlike.correlation) && (20.0..35.0).contains(&unlike.effective),
            "{unlike:?}"
        );
        let events = Sample::new(&runs(2, 20, 100, 2.0), true).unwrap();
        assert_eq!((events.effective.round(), events.correlation), (2000.0, 0.0));
        assert_eq!(Sample::new(&[], false), None);
        assert_eq!(Sample::new(&[vec![3.0]], false).unwrap().quantiles, [3.0]);
    }

    #[test]
    fn runs_like_the_calibration_are_no_shift_and_moved_ones_are() {
        let mut false_alarms = 0;
        for seed in 0..200 {
            let sample = Sample::new(&runs(seed, 15, 60, 1.0), false).unwrap();
            let like =
                sample.held_against(&runs(1000 + seed, 1 + seed as usize % 6, 60, 1.0)).unwrap();
            false_alarms += usize::from(like.warning().is_some());
            let moved: Vec<Vec<f64>> = runs(2000 + seed, 10, 60, 1.0)
                .into_iter()
                .map(|run| run.into_iter().map(|score| score + 4.0).collect())
                .collect();
            let moved = sample.held_against(&moved).unwrap();
            assert!(moved.warning().unwrap().starts_with("scores are higher"), "{moved:?}");
        }
        assert!(false_alarms <= 8, "{false_alarms} of 200");
    }

    #[test]
    fn what_is_outside_the_range_by_a_margin_is_told_with_its_names() {
        assert!(
            !is_outside(1.09, (0.0, 1.0))
                && is_outside(1.11, (0.0, 1.0))
                && is_outside(-0.11, (0.0, 1.0))
        );
        assert!(
            is_outside(0.1, (0.0, 0.0)) && !is_outside(0.0, (0.0, 0.0)),
            "a constant input that changes is outside"
        );
        let mut outside = Outside {
            channel: "all".into(),
            share: 0.05,
            usual: 0.01,
            worst: vec![("bin_3".into(), 0.8)],
        };
        assert!(outside.warning().unwrap().contains("most of all bin_3 (80 % of rows)"));
        outside.usual = 0.02;
        assert_eq!(outside.warning(), None);
    }

    proptest! {
        #[test]
        fn what_is_kept_of_a_sample_is_as_near_to_it_as_its_ranks(numbers in prop::collection::vec(-1e3_f64..1e3, 1..2000)) {
            let kept = Sample::new(std::slice::from_ref(&numbers), true).unwrap().quantiles;
            prop_assert!(kept.len() <= KEPT && distance(&kept, &numbers) <= 1.0 / kept.len() as f64 + 1e-9);
        }
    }
}
