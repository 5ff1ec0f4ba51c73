//! Distribution-free p-values of scores relative to good lumisections, counted in blocks of
//! neighbours.
//!
//! The p-value of a score is (1 + K · share) / (K + 1), where share is the share of calibration
//! rows with at least this score and K the number of blocks. With blocks of one row it is the usual
//! conformal p-value (1 + number at least as high) / (n + 1): among good rows that are exchangeable
//! with the calibration rows, at most a share p has a p-value of p or less, for any distribution.
//! Neighbouring lumisections are not exchangeable with those of other times, but blocks of them
//! are. The rank of a row is then averaged over the rows of each block (hierarchical conformal
//! prediction of Lee, Barber and Willett with blocks of equal length).

/// The scores of held-out good rows, and the number of them that count as independent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// Scores, ascending.
    scores: Vec<f64>,
    /// Number of runs.
    pub runs: usize,
    /// Number of LSs per block.
    pub block: usize,
    /// Number of blocks.
    pub blocks: usize,
}

impl Reference {
    /// From the scores of some runs, each in the order of LS, with blocks of this length, by
    /// default the correlation length. Blocks do not cross runs; a shorter run is one block.
    pub fn new(runs: &[Vec<f64>], block: Option<usize>) -> Self {
        let block = block.unwrap_or_else(|| correlated_over(runs)).max(1);
        let mut scores = runs.concat();
        scores.sort_by(f64::total_cmp);
        Self {
            scores,
            runs: runs.len(),
            block,
            blocks: runs.iter().map(|run| run.len().div_ceil(block)).sum(),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.scores.len()
    }

    /// The scores, ascending.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The share of the rows with at least this score.
    fn share_from(&self, score: f64) -> f64 {
        let below = self.scores.partition_point(|other| *other < score);
        (self.rows() - below) as f64 / self.rows().max(1) as f64
    }

    /// The share of the rows with a strictly higher score.
    pub fn share_above(&self, score: f64) -> f64 {
        let up_to = self.scores.partition_point(|other| *other <= score);
        (self.rows() - up_to) as f64 / self.rows().max(1) as f64
    }

    /// The p-value of a score; 1 without good rows.
    pub fn p_value(&self, score: f64) -> f64 {
        let blocks = self.blocks as f64;
        (1.0 + blocks * self.share_from(score)) / (blocks + 1.0)
    }

    /// The smallest possible p-value.
    pub fn smallest(&self) -> f64 {
        1.0 / (self.blocks as f64 + 1.0)
    }

    /// The score such that exactly the scores above it have p-values up to `rate`; `None` if no
    /// p-value is that small.
    pub fn cut(&self, rate: f64) -> Option<f64> {
        if self.smallest() > rate {
            return None;
        }
        // p-values decrease with the score: the first row with a small enough p-value follows the
        // cut.
        let at = self.scores.partition_point(|score| self.p_value(*score) > rate);
        at.checked_sub(1).map(|at| self.scores[at])
    }
}

/// Number of blocks that a rate requires: the smallest p-value of n blocks is 1 / (n + 1).
pub fn needed(rate: f64) -> usize {
    // 1 / 0.001 can be slightly more than 1000 after rounding.
    ((1.0 / rate - 1e-9).ceil() as usize).saturating_sub(1)
}

/// Minimum number of pairs of neighbours for the estimate of a correlation.
const FEWEST_PAIRS: usize = 30;

/// The share of the rows that count as high-scoring.
const TAIL: f64 = 0.1;

/// Number of neighbouring rows over which high scores are correlated: 1 + 2 Σ ρₖ. Here ρₖ is the
/// correlation, for two rows k apart in one run, of being among the highest tenth of scores; the
/// sum ends at the first ρₖ that is compatible with 0. This number of rows counts as one
/// independent row.
pub fn correlated_over(runs: &[Vec<f64>]) -> usize {
    let mut sorted = runs.concat();
    sorted.sort_by(f64::total_cmp);
    let Some(usual) = sorted.get(((1.0 - TAIL) * sorted.len() as f64) as usize).copied() else {
        return 1;
    };
    let above = sorted.iter().filter(|score| **score > usual).count();
    let share = above as f64 / sorted.len() as f64;
    let variance = share * (1.0 - share);
    if variance == 0.0 {
        return 1;
    }
    let high: Vec<Vec<f64>> = runs
        .iter()
        .map(|run| run.iter().map(|score| f64::from(u8::from(*score > usual)) - share).collect())
        .collect();
    let longest = runs.iter().map(Vec::len).max().unwrap_or(0);
    let mut over = 1.0;
    for lag in 1..longest {
        let pairs = || high.iter().flat_map(|run| run.iter().zip(run.iter().skip(lag)));
        let count = pairs().count();
        let correlation = pairs().map(|(a, b)| a * b).sum::<f64>() / count.max(1) as f64 / variance;
        if count < FEWEST_PAIRS || correlation <= 2.0 / (count as f64).sqrt() {
            break;
        }
        over += 2.0 * correlation;
    }
    over.round() as usize
}

/// Benjamini and Hochberg's procedure: the largest rejected p-value such that at most a share
/// `rate` of the rejected rows is expected to be good; `None` if none can be rejected.
pub fn benjamini_hochberg(p_values: &[f64], rate: f64) -> Option<f64> {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let all = sorted.len() as f64;
    sorted
        .iter()
        .enumerate()
        .rev()
        .find(|(at, p)| **p <= rate * (at + 1) as f64 / all)
        .map(|(_, p)| *p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use proptest::prelude::*;
    use rand::RngExt;

    #[test]
    fn p_values_are_ranks_among_the_good() {
        let reference = Reference::new(&[vec![1.0, 2.0], vec![3.0, 4.0]], Some(1));
        assert_eq!(
            [0.5, 1.0, 2.5, 4.0, 9.0].map(|score| reference.p_value(score)),
            [1.0, 1.0, 0.6, 0.4, 0.2]
        );
        assert_eq!((reference.rows(), reference.runs, reference.blocks), (4, 2, 4));
        assert_eq!(reference.cut(0.2), Some(4.0));
        assert_eq!(reference.cut(0.4), Some(3.0));
        assert_eq!(reference.cut(0.19), None, "four rows cannot resolve such a small rate");
        let blocks = Reference::new(&[vec![1.0, 2.0], vec![3.0, 4.0]], Some(2));
        assert_eq!([2.5, 4.0, 9.0].map(|score| blocks.p_value(score)), [2.0 / 3.0, 0.5, 1.0 / 3.0]);
        assert_eq!(Reference::new(&[], None).p_value(7.0), 1.0);
    }

    #[test]
    fn a_rate_needs_so_many() {
        assert_eq!([0.5, 0.05, 0.01, 0.001, 0.3].map(needed), [1, 19, 99, 999, 3]);
        for rate in [0.5, 0.05, 0.01, 0.001, 0.3, 0.0123] {
            let of =
                |n: usize| Reference::new(&[(0..n).map(|i| i as f64).collect()], Some(1)).cut(rate);
            assert!(of(needed(rate)).is_some() && of(needed(rate) - 1).is_none(), "{rate}");
        }
    }

    /// An autoregressive series of normal numbers with coefficient `memory`.
    fn series(n: usize, memory: f64, seed: u64) -> Vec<f64> {
        let mut chance = random::generator(seed, "series", 0);
        let mut value = 0.0;
        let mut next = |_| {
            let new: f64 = (0..12).map(|_| chance.random_range(-0.5..0.5)).sum();
            value = memory * value + (1.0 - memory * memory).sqrt() * new;
            value
        };
        for i in 0..100 {
            next(i);
        }
        (0..n).map(next).collect()
    }

    #[test]
    fn neighbours_that_are_alike_count_as_one() {
        assert!((1..=2).contains(&correlated_over(&[series(4000, 0.0, 1)])));
        // Scores are correlated over (1 + 0.8) / (1 − 0.8) = 9 rows, high ones over fewer.
        let over = correlated_over(&[series(8000, 0.8, 2), series(8000, 0.8, 3)]);
        assert!((4..=8).contains(&over), "{over}");
        assert_eq!(correlated_over(&[vec![1.0; 50]]), 1);
        assert_eq!(correlated_over(&[vec![], vec![3.0]]), 1);
        assert_eq!(correlated_over(&[]), 1);
        // Scores that change only from run to run count as one row per run.
        let runs: Vec<Vec<f64>> = series(40, 0.0, 4).iter().map(|level| vec![*level; 30]).collect();
        let over = correlated_over(&runs);
        assert!(over >= 25, "{over}");
    }

    #[test]
    fn flags_come_at_the_rate_that_is_asked_for() {
        for (memory, block) in [(0.0, 1), (0.7, 6)] {
            for rate in [0.01, 0.05] {
                let (mut flagged, mut all) = (0, 0);
                for seed in 0..20 {
                    let reference = Reference::new(&[series(4000, memory, 2 * seed)], Some(block));
                    let judged = series(4000, memory, 2 * seed + 1);
                    flagged +=
                        judged.iter().filter(|score| reference.p_value(**score) <= rate).count();
                    all += judged.len();
                }
                let share = flagged as f64 / all as f64;
                // Calibration and judged rows vary alike; 99 % for the four together.
                let half = 3.023 * (2.0 * rate * (1.0 - rate) * block as f64 / all as f64).sqrt();
                assert!(
                    (share - rate).abs() < half,
                    "{share} where {rate} is asked for, memory {memory}"
                );
            }
        }
    }

    #[test]
    fn the_share_of_false_discoveries_is_bounded() {
        // Example of Benjamini and Hochberg (1995), table 1: four of fifteen are rejected at 5 %.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        assert_eq!(benjamini_hochberg(&p, 0.05), Some(0.0095));
        assert_eq!(benjamini_hochberg(&p[4..], 0.01), None);
        assert_eq!(benjamini_hochberg(&[], 0.05), None);
        let mut shares = vec![];
        for seed in 0..50 {
            let reference = Reference::new(&[series(2000, 0.0, 1000 + seed)], Some(1));
            let (good, bad) = (series(400, 0.0, 2000 + seed), series(40, 0.0, 3000 + seed));
            let p_values: Vec<f64> = good
                .iter()
                .copied()
                .chain(bad.iter().map(|score| score + 4.5))
                .map(|score| reference.p_value(score))
                .collect();
            let p = benjamini_hochberg(&p_values, 0.1).unwrap_or(0.0);
            let flagged = |p_values: &[f64]| p_values.iter().filter(|other| **other <= p).count();
            shares.push(flagged(&p_values[..400]) as f64 / flagged(&p_values).max(1) as f64);
        }
        let mean = shares.iter().sum::<f64>() / 50.0;
        assert!((0.05..0.12).contains(&mean), "{mean}: at most 0.1, and not by flagging nothing");
    }

    proptest! {
        #[test]
        fn above_the_cut_and_nowhere_else_p_values_are_small(
            runs in prop::collection::vec(prop::collection::vec((0_u8..40).prop_map(f64::from), 1..30), 1..8), rate in 0.01_f64..0.6, block in 1_usize..6,
        ) {
            let reference = Reference::new(&runs, Some(block));
            for score in (0..82).map(|half| f64::from(half) / 2.0) {
                match reference.cut(rate) {
                    Some(cut) => prop_assert_eq!(score > cut, reference.p_value(score) <= rate),
                    None => prop_assert!(reference.p_value(score) > rate),
                }
            }
        }
    }
}
