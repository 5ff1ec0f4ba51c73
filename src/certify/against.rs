//! The comparison of verdicts with a golden JSON, by lumisection and by luminosity.

use super::verdicts::Verdicts;
use crate::{
    data::{lumi::golden_json::LumisectionSet, lumisections::Lumisection},
    score::verdict::Verdict,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The comparison of verdicts with a golden JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// The golden JSON.
    pub file: String,
    /// The quantity of the luminosities, if they are known.
    pub luminosity: Option<String>,
    /// Counts for each verdict.
    pub verdicts: Vec<AgainstVerdict>,
    /// Number of lumisections in it that are not judged; `None` if it names whole runs.
    pub not_judged: Option<u64>,
    /// The runs that differ, those with most differing lumisections first.
    pub runs: Vec<RunDifference>,
}

/// The lumisections of one verdict: those in the golden JSON, and the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AgainstVerdict {
    /// The verdict here.
    pub verdict: Verdict,
    /// Number of lumisections in the golden JSON.
    pub golden: usize,
    /// Number of other lumisections.
    pub other: usize,
    /// Known recorded luminosity of those in the golden JSON.
    pub golden_luminosity: f64,
    /// Known recorded luminosity of the others.
    pub other_luminosity: f64,
}

/// Differences between the verdicts of a run and a golden JSON. Ranges are inclusive.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunDifference {
    /// The run.
    pub run: u32,
    /// Good here, but not in the golden JSON.
    pub good_here: Vec<(u32, u32)>,
    /// In the golden JSON, but grey here.
    pub grey_here: Vec<(u32, u32)>,
    /// In the golden JSON, but bad here.
    pub bad_here: Vec<(u32, u32)>,
    /// In the golden JSON, but not evaluated here.
    pub not_evaluated_here: Vec<(u32, u32)>,
}

impl RunDifference {
    /// Number of lumisections.
    pub fn count(&self) -> u32 {
        let ranges = [&self.good_here, &self.grey_here, &self.bad_here, &self.not_evaluated_here];
        ranges.into_iter().flatten().map(|(first, last)| last - first + 1).sum()
    }
}

impl Against {
    /// Compares verdicts with a golden JSON; `luminosity` is the name of the quantity.
    pub fn new(
        file: String,
        golden: &LumisectionSet,
        lumisections: &Verdicts,
        luminosity: Option<String>,
    ) -> Self {
        let mut verdicts = Verdict::ALL.map(|verdict| AgainstVerdict {
            verdict,
            golden: 0,
            other: 0,
            golden_luminosity: 0.0,
            other_luminosity: 0.0,
        });
        let mut runs: BTreeMap<u32, RunDifference> = BTreeMap::new();
        let mut named = 0;
        for ((run, ls), said) in lumisections {
            let is_named = golden.contains(Lumisection { run: Some(*run), ls: *ls });
            named += u64::from(is_named);
            let line = &mut verdicts[said.verdict as usize];
            let (count, sum) = if is_named {
                (&mut line.golden, &mut line.golden_luminosity)
            } else {
                (&mut line.other, &mut line.other_luminosity)
            };
            *count += 1;
            *sum += said.luminosity.unwrap_or(0.0);
            if is_named == (said.verdict == Verdict::Good) {
                continue;
            }
            let difference = runs
                .entry(*run)
                .or_insert_with(|| RunDifference { run: *run, ..RunDifference::default() });
            let ranges = match said.verdict {
                Verdict::Good => &mut difference.good_here,
                Verdict::Grey if is_named => &mut difference.grey_here,
                Verdict::Bad if is_named => &mut difference.bad_here,
                Verdict::NotEvaluated if is_named => &mut difference.not_evaluated_here,
                // Neither good here nor in the golden JSON.
                _ => continue,
            };
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*ls) => *last = *ls,
                _ => ranges.push((*ls, *ls)),
            }
        }
        let mut runs: Vec<RunDifference> =
            runs.into_values().filter(|run| run.count() > 0).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.count()));
        Self {
            file,
            luminosity,
            verdicts: verdicts.to_vec(),
            not_judged: golden.count().map(|all| all - named),
            runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify;

    #[test]
    fn lumisections_and_their_luminosity_are_counted() {
        let verdicts = [
            Verdict::Good,
            Verdict::Good,
            Verdict::Grey,
            Verdict::Bad,
            Verdict::Bad,
            Verdict::NotEvaluated,
            Verdict::Good,
        ];
        let one = |(i, verdict): (usize, &Verdict)| {
            let said = certify::verdicts::LumisectionVerdict {
                verdict: *verdict,
                reason: String::new(),
                source: certify::verdicts::Source::Autoencoder,
                score: None,
                p_value: None,
                experiment: None,
                channels: vec![],
                opinions: vec![],
                luminosity: Some(10.0 + i as f64),
                floored: false,
            };
            ((5, i as u32 + 1), said)
        };
        let lumisections = verdicts.iter().enumerate().map(one).collect();
        let golden = LumisectionSet::from_ranges(&BTreeMap::from([
            (5, vec![(1, 4), (6, 6)]),
            (9, vec![(1, 2)]),
        ]));
        let against =
            Against::new("g.json".into(), &golden, &lumisections, Some("recorded".into()));
        let counts: Vec<(usize, usize, f64, f64)> = against
            .verdicts
            .iter()
            .map(|line| (line.golden, line.other, line.golden_luminosity, line.other_luminosity))
            .collect();
        assert_eq!(
            counts,
            [(2, 1, 21.0, 16.0), (1, 0, 12.0, 0.0), (1, 1, 13.0, 14.0), (1, 0, 15.0, 0.0)]
        );
        assert_eq!(against.not_judged, Some(2));
        let run = &against.runs[0];
        assert_eq!((run.run, run.count()), (5, 4));
        assert_eq!(
            (run.good_here.as_slice(), run.grey_here.as_slice()),
            (&[(7, 7)][..], &[(3, 3)][..])
        );
        assert_eq!(
            (run.bad_here.as_slice(), run.not_evaluated_here.as_slice()),
            (&[(4, 4)][..], &[(6, 6)][..])
        );
    }
}
