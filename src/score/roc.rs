//! ROC curves: how well scores separate bad from good. Bad is positive: the true positive rate is
//! the share of bad rows with at least a given score, the false positive rate that of good rows.
//! (With good as positive and the negated score, the area is the same.)

use crate::random;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The area under the ROC curve of one channel's scores for one label set on one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Auc {
    /// The channel.
    pub channel: String,
    /// Name of the label set.
    pub labels: String,
    /// The column or file of the label set.
    pub origin: String,
    /// The rows: a split, or all.
    pub split: String,
    /// Whether rows count by their weights.
    pub weighted: bool,
    /// Number of good rows.
    pub good: usize,
    /// Number of bad rows.
    pub bad: usize,
    /// The probability that a bad row scores higher than a good one; `None` if there is only one
    /// class.
    pub auc: Option<f64>,
    /// The mean of the precision over the bad rows in the order of their scores; `None` if there is
    /// only one class.
    pub average_precision: Option<f64>,
    /// The central 95 % interval of the areas of resampled data.
    pub interval: Option<(f64, f64)>,
    /// The resampled units, or the reason why there is no area.
    pub note: String,
    /// The efficiency for bad rows at given false positive rates; empty without an area.
    #[serde(default)]
    pub efficiencies: Vec<Efficiency>,
}

/// The share of bad rows above the score that a given share of good rows exceeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Efficiency {
    /// The maximum share of good rows flagged.
    pub background: f64,
    /// The score above which rows are flagged.
    pub threshold: f64,
    /// The share of bad rows above the threshold.
    pub efficiency: f64,
    /// Its 95 % interval (Wilson's); absent if rows are weighted.
    pub interval: Option<(f64, f64)>,
    /// Number of bad rows.
    pub bad: usize,
}

/// A labelled row with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Its score; higher is more anomalous.
    pub score: f64,
    /// Whether it is labelled good.
    pub good: bool,
    /// Its weight.
    pub weight: f64,
    /// Its run: runs are resampled as a whole.
    pub run: u32,
}

/// A point of the ROC curve: the rows with at least a given score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The score; infinite at the first point, which no row reaches.
    pub threshold: f64,
    /// Share of the good rows.
    pub false_positive_rate: f64,
    /// Share of the bad rows.
    pub true_positive_rate: f64,
}

/// Labelled rows in descending order of score.
#[derive(Clone, Debug)]
pub struct Ranking {
    rows: Vec<Judged>,
    /// End positions of groups of rows with equal score.
    ends: Vec<usize>,
}

/// Weight of the good and of the bad rows with at least a given score.
type Found = (f64, f64);

impl Ranking {
    /// Sorts rows. Rows of weight 0 are ignored.
    pub fn new(mut rows: Vec<Judged>) -> Self {
        rows.retain(|row| row.weight > 0.0);
        rows.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut end = 0;
        let ends = rows
            .chunk_by(|a, b| a.score == b.score)
            .map(|tied| {
                end += tied.len();
                end
            })
            .collect();
        Self { rows, ends }
    }

    /// Number of good and of bad rows.
    pub fn counts(&self) -> (usize, usize) {
        let good = self.rows.iter().filter(|row| row.good).count();
        (good, self.rows.len() - good)
    }

    /// Cumulative weights down to each score; a row counts `times(position)` times.
    fn found(&self, times: impl Fn(usize) -> f64) -> impl Iterator<Item = (usize, Found)> {
        let (mut start, mut found) = (0, (0.0, 0.0));
        self.ends.iter().map(move |&end| {
            for at in start..end {
                let row = &self.rows[at];
                let weight = row.weight * times(at);
                if row.good { found.0 += weight } else { found.1 += weight }
            }
            start = end;
            (end, found)
        })
    }

    fn area(&self, times: impl Fn(usize) -> f64) -> Option<f64> {
        let (mut area, mut before) = (0.0, (0.0, 0.0));
        for (_, found) in self.found(times) {
            area += (found.0 - before.0) * (found.1 + before.1) / 2.0;
            before = found;
        }
        (before.0 > 0.0 && before.1 > 0.0).then(|| area / (before.0 * before.1))
    }

    /// Pairwise wins of units: the area of resampled units is computed from them, not from rows.
    fn pairs(&self, unit: &[usize], units: usize) -> Pairs {
        let mut pairs = Pairs {
            units,
            wins: vec![0.0; units * units],
            good: vec![0.0; units],
            bad: vec![0.0; units],
        };
        self.rows
            .iter()
            .zip(unit)
            .filter(|(row, _)| row.good)
            .for_each(|(row, &unit)| pairs.good[unit] += row.weight);
        // Weight of good rows with lower scores, unit by unit.
        let mut below = pairs.good.clone();
        let mut start = 0;
        for &end in &self.ends {
            let tied = || (start..end).map(|at| (&self.rows[at], unit[at]));
            tied()
                .filter(|(row, _)| row.good)
                .for_each(|(row, unit)| below[unit] -= row.weight / 2.0);
            for (row, unit) in tied().filter(|(row, _)| !row.good) {
                pairs.bad[unit] += row.weight;
                let wins = &mut pairs.wins[unit * units..(unit + 1) * units];
                wins.iter_mut().zip(&below).for_each(|(wins, below)| *wins += row.weight * below);
            }
            tied()
                .filter(|(row, _)| row.good)
                .for_each(|(row, unit)| below[unit] -= row.weight / 2.0);
            start = end;
        }
        pairs
    }

    /// The area under the curve: the share of (bad, good) pairs in which the bad row scores higher,
    /// ties counting half. `None` if a class is missing.
    pub fn auc(&self) -> Option<f64> {
        self.area(|_| 1.0)
    }

    /// The sum of precision × rise of the true positive rate from each score to the next lower one.
    /// `None` without both classes.
    pub fn average_precision(&self) -> Option<f64> {
        let (good, bad) = self.found(|_| 1.0).last()?.1;
        let (mut sum, mut before) = (0.0, 0.0);
        for (_, found) in self.found(|_| 1.0) {
            sum += (found.1 - before) * found.1 / (found.0 + found.1);
            before = found.1;
        }
        (good > 0.0 && bad > 0.0).then(|| sum / bad)
    }

    /// The share of bad rows strictly above the lowest score that at most a share `background` of
    /// good rows exceeds. `None` without both classes.
    pub fn efficiency(&self, background: f64) -> Option<Efficiency> {
        let (good, bad) = self.found(|_| 1.0).last()?.1;
        if good <= 0.0 || bad <= 0.0 {
            return None;
        }
        let (mut start, mut above) = (0, (0.0, 0.0));
        for (end, found) in self.found(|_| 1.0) {
            if found.0 / good > background {
                break;
            }
            (start, above) = (end, found);
        }
        // Only the rows found so far are above the next lower score.
        let threshold = self.rows.get(start).or(self.rows.last())?.score;
        let bad_rows = || self.rows.iter().filter(|row| !row.good);
        let (found, all) =
            (self.rows[..start].iter().filter(|row| !row.good).count(), bad_rows().count());
        let even = self.rows.iter().all(|row| row.weight == 1.0);
        let interval =
            rate_with_interval(found, all).filter(|_| even).map(|(_, low, high)| (low, high));
        Some(Efficiency { background, threshold, efficiency: above.1 / bad, interval, bad: all })
    }

    /// The curve, without points inside straight segments. Empty without both classes.
    pub fn curve(&self) -> Vec<Point> {
        let Some((_, (good, bad))) = self.found(|_| 1.0).last() else { return vec![] };
        if good <= 0.0 || bad <= 0.0 {
            return vec![];
        }
        let mut points = vec![Point {
            threshold: f64::INFINITY,
            false_positive_rate: 0.0,
            true_positive_rate: 0.0,
        }];
        points.extend(self.found(|_| 1.0).map(|(end, found)| Point {
            threshold: self.rows[end - 1].score,
            false_positive_rate: found.0 / good,
            true_positive_rate: found.1 / bad,
        }));
        let straight = |a: &Point, b: &Point, c: &Point| {
            let same = |get: fn(&Point) -> f64| get(a) == get(b) && get(b) == get(c);
            same(|point| point.false_positive_rate) || same(|point| point.true_positive_rate)
        };
        let keep: Vec<bool> = (0..points.len())
            .map(|i| {
                i == 0
                    || i + 1 == points.len()
                    || !straight(&points[i - 1], &points[i], &points[i + 1])
            })
            .collect();
        let mut keep = keep.into_iter();
        points.retain(|_| keep.next() == Some(true));
        points
    }

    /// The central 95 % interval of the areas of resampled data, and the resampled units: whole
    /// runs, because neighbouring lumisections are nearly equal; with fewer than five runs single
    /// rows. Without an area, the reason.
    pub fn interval(&self, seed: u64) -> (Option<(f64, f64)>, String) {
        if self.auc().is_none() {
            let class = match self.rows.first() {
                None => "no rows with labels",
                Some(row) if row.good => "no bad rows",
                Some(_) => "no good rows",
            };
            return (None, format!("no area: {class}"));
        }
        let (areas, what) = self.resampled(seed);
        (middle(areas), format!("95 % interval from {RESAMPLES} resamplings of {what}"))
    }

    /// The central 95 % interval of the difference between this area and that of the same rows with
    /// other scores, resampled identically. `None` without an area. Rows must be of five runs or
    /// more.
    pub fn lead(&self, other: &Self, seed: u64) -> Option<(f64, f64)> {
        self.auc().zip(other.auc())?;
        let (own, others) = (self.resampled(seed).0, other.resampled(seed).0);
        middle(own.into_iter().zip(others).map(|(own, other)| Some(own? - other?)).collect())
    }

    /// The areas of resampled data, `None` if a class is missing, and the resampled units.
    fn resampled(&self, seed: u64) -> (Vec<Option<f64>>, String) {
        let mut number: BTreeMap<u32, usize> = self.rows.iter().map(|row| (row.run, 0)).collect();
        number.values_mut().enumerate().for_each(|(at, number)| *number = at);
        let by_run = number.len() >= FEWEST_RUNS;
        let unit: Vec<usize> = if by_run {
            self.rows.iter().map(|row| number[&row.run]).collect()
        } else {
            (0..self.rows.len()).collect()
        };
        let units = if by_run { number.len() } else { self.rows.len() };
        let pairs = (units * units <= self.rows.len()).then(|| self.pairs(&unit, units));
        let area = |i: u64| {
            let mut chance = random::generator(seed, "bootstrap", i);
            let mut times = vec![0.0; units];
            (0..units).for_each(|_| times[chance.random_range(0..units)] += 1.0);
            match &pairs {
                Some(pairs) => pairs.area(&times),
                None => self.area(|at| times[unit[at]]),
            }
        };
        let what = if by_run {
            format!("{units} runs")
        } else {
            format!("{units} rows (too few runs to resample those)")
        };
        ((0..RESAMPLES).into_par_iter().map(area).collect(), what)
    }
}

/// The central 95 % interval of numbers.
fn middle(numbers: Vec<Option<f64>>) -> Option<(f64, f64)> {
    let mut numbers: Vec<f64> = numbers.into_iter().flatten().collect();
    numbers.sort_by(f64::total_cmp);
    let at = |p| crate::statistics::percentile(&numbers, p);
    at(2.5).zip(at(97.5))
}

/// Pairs of bad and good rows, unit by unit.
struct Pairs {
    units: usize,
    /// Weight of the pairs in which the bad row scores higher, ties counting half, `[units of the
    /// bad, units of the good]`.
    wins: Vec<f64>,
    /// Weight of the good, and of the bad rows, `[units]`.
    good: Vec<f64>,
    bad: Vec<f64>,
}

impl Pairs {
    /// The area if each unit is taken `times` times.
    fn area(&self, times: &[f64]) -> Option<f64> {
        let dot = |a: &[f64]| a.iter().zip(times).map(|(a, times)| a * times).sum::<f64>();
        let taken =
            self.wins.chunks_exact(self.units).zip(times).filter(|(_, times)| **times > 0.0);
        let wins: f64 = taken.map(|(wins, times)| times * dot(wins)).sum();
        let all = dot(&self.good) * dot(&self.bad);
        (all > 0.0).then(|| wins / all)
    }
}

const RESAMPLES: u64 = 1000;
/// With fewer runs, single rows are resampled.
pub const FEWEST_RUNS: usize = 5;

/// A rate with its 95 % interval (Wilson's): `successes` of `trials`.
pub fn rate_with_interval(successes: usize, trials: usize) -> Option<(f64, f64, f64)> {
    let rate = successes as f64 / trials as f64;
    (trials > 0).then(|| wilson(rate, trials as f64, Z_95)).map(|(low, high)| (rate, low, high))
}

/// 95 % of a normal distribution is within this number of standard deviations of the mean.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Wilson's interval of a rate from `n` independent trials; `z` standard deviations to each side.
pub fn wilson(rate: f64, n: f64, z: f64) -> (f64, f64) {
    let centre = (rate + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranking(rows: &[(f64, bool)]) -> Ranking {
        Ranking::new(
            rows.iter().map(|&(score, good)| Judged { score, good, weight: 1.0, run: 0 }).collect(),
        )
    }

    fn auc(rows: &[(f64, bool)]) -> Option<f64> {
        ranking(rows).auc()
    }

    #[test]
    fn areas() {
        let rows = |scores: &[(f64, u8)]| {
            scores.iter().map(|&(score, good)| (score, good == 1)).collect::<Vec<_>>()
        };
        assert_eq!(auc(&rows(&[(0.1, 1), (0.2, 1), (0.3, 0)])), Some(1.0));
        assert_eq!(auc(&rows(&[(0.1, 0), (0.2, 1)])), Some(0.0));
        assert_eq!(auc(&rows(&[(0.1, 0), (0.1, 1)])), Some(0.5));
        assert_eq!(
            auc(&rows(&[(0.1, 1), (0.4, 1), (0.35, 0), (0.8, 0)])),
            Some(0.75),
            "scikit-learn's example"
        );
        assert_eq!(auc(&rows(&[(0.1, 1)])), None);
        assert_eq!(auc(&[]), None);
    }

    #[test]
    fn curves_and_precision() {
        // scikit-learn's example: y = [0, 0, 1, 1], scores = [0.1, 0.4, 0.35, 0.8], 1 being bad
        // here.
        let ranking = ranking(&[(0.1, true), (0.4, true), (0.35, false), (0.8, false)]);
        let points: Vec<(f64, f64, f64)> = ranking
            .curve()
            .iter()
            .map(|point| (point.threshold, point.false_positive_rate, point.true_positive_rate))
            .collect();
        assert_eq!(
            points,
            [
                (f64::INFINITY, 0.0, 0.0),
                (0.8, 0.0, 0.5),
                (0.4, 0.5, 0.5),
                (0.35, 0.5, 1.0),
                (0.1, 1.0, 1.0)
            ]
        );
        assert!((ranking.average_precision().unwrap() - 0.833_333_333_333_333_3).abs() < 1e-15);
    }

    #[test]
    fn the_bad_are_found_at_a_given_share_of_the_good() {
        let rows: Vec<(f64, bool)> = (0..100)
            .map(|i| (f64::from(i), true))
            .chain([(99.5, false), (97.5, false), (50.0, false), (99.0, false)])
            .collect();
        let ranking = ranking(&rows);
        let at = |background: f64| {
            ranking.efficiency(background).map(|found| (found.threshold, found.efficiency)).unwrap()
        };
        assert_eq!(at(0.001), (99.0, 0.25), "a tie with a good row is not above it");
        assert_eq!(at(0.02), (97.0, 0.75));
        assert_eq!(at(0.025), (97.0, 0.75));
        assert_eq!(at(0.99), (0.0, 1.0));
        assert_eq!(
            ranking.efficiency(0.02).unwrap().interval,
            rate_with_interval(3, 4).map(|(_, low, high)| (low, high))
        );
        assert_eq!(self::ranking(&[(0.1, true)]).efficiency(0.1), None);
    }

    #[test]
    fn one_class_has_no_area_and_says_why() {
        let one = ranking(&[(0.1, true)]);
        assert_eq!(
            (one.auc(), one.average_precision(), one.curve(), one.interval(1)),
            (None, None, vec![], (None, "no area: no bad rows".into()))
        );
        assert_eq!(ranking(&[]).interval(1).1, "no area: no rows with labels");
    }

    #[test]
    fn scores_that_tell_more_lead() {
        let rows = |noise: f64| {
            let row = |at: u32| {
                let good = !at.is_multiple_of(4);
                let score =
                    f64::from(u8::from(!good)) + noise * f64::from(at * 7919 % 1000) / 1000.0;
                Judged { score, good, weight: 1.0, run: at % 12 }
            };
            Ranking::new((0..600).map(row).collect())
        };
        let (clear, blurred) = (rows(0.5), rows(4.0));
        let (low, high) = clear.lead(&blurred, 1).unwrap();
        let lead = clear.auc().unwrap() - blurred.auc().unwrap();
        assert!(0.0 < low && low < lead && lead < high, "{low} {lead} {high}");
        assert_eq!(clear.lead(&clear, 1), Some((0.0, 0.0)));
        let none = Ranking::new(vec![]);
        assert_eq!(none.lead(&none, 1), None);
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
        fn areas_of_resampled_runs_are_the_same_by_runs_and_by_rows(rows in prop::collection::vec((0_u8..9, any::<bool>(), 1_u8..4, 0_u32..3), 1..40), times in prop::collection::vec(0_u8..3, 3)) {
            let rows = rows.iter().map(|&(score, good, weight, run)| Judged { score: f64::from(score), good, weight: f64::from(weight), run });
            let ranking = Ranking::new(rows.collect());
            let unit: Vec<usize> = ranking.rows.iter().map(|row| row.run as usize).collect();
            let times: Vec<f64> = times.into_iter().map(f64::from).collect();
            match (ranking.pairs(&unit, 3).area(&times), ranking.area(|at| times[unit[at]])) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-12),
                (a, b) => prop_assert!(a.is_none() && b.is_none()),
            }
        }

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
        fn a_weight_counts_like_so_many_rows(rows in prop::collection::vec((0_u8..9, any::<bool>(), 0_u8..4), 1..40)) {
            let judged = |&(score, good, weight): &(u8, bool, u8)| Judged { score: f64::from(score), good, weight: f64::from(weight), run: 0 };
            let weighted = Ranking::new(rows.iter().map(judged).collect());
            let repeated = Ranking::new(rows.iter().flat_map(|row| vec![Judged { weight: 1.0, ..judged(row) }; row.2.into()]).collect());
            match (weighted.auc().zip(weighted.average_precision()), repeated.auc().zip(repeated.average_precision())) {
                (Some(a), Some(b)) => prop_assert!((a.0 - b.0).abs() < 1e-12 && (a.1 - b.1).abs() < 1e-12),
                (a, b) => prop_assert!(a.is_none() && b.is_none()),
            }
            // The area is that under the curve, straight pieces left out or not.
            let under: f64 = weighted.curve().windows(2).map(|pair| (pair[1].false_positive_rate - pair[0].false_positive_rate) * (pair[1].true_positive_rate + pair[0].true_positive_rate) / 2.0).sum();
            prop_assert!((weighted.auc().unwrap_or(0.0) - under).abs() < 1e-12);
        }

        #[test]
        fn the_interval_holds_the_area(rows in prop::collection::vec(prop::collection::vec((0.0_f64..1.0, any::<bool>()), 1..5), 5..12)) {
            let rows = rows.iter().enumerate().flat_map(|(run, rows)| rows.iter().map(move |&(score, good)| Judged { score, good, weight: 1.0, run: run as u32 }));
            let ranking = Ranking::new(rows.collect());
            if let (Some(area), (Some((low, high)), _)) = (ranking.auc(), ranking.interval(3)) {
                prop_assert!(low <= area + 0.2 && high >= area - 0.2 && low <= high);
            }
        }
    }
}
