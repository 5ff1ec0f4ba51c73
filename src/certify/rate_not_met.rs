//! Rates that cannot be resolved with too few calibration rows. The experiment's own threshold is
//! then an upper limit of good: no lumisection above it is good.

use super::{
    cuts::Cuts,
    unmet::{Unmet, percent},
    verdicts::{LumisectionVerdict, Source, Verdicts},
};
use crate::{score::verdict::Verdict, text::count};
use serde::Serialize;

/// A rate that could not be met, and its consequence for the verdicts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateNotMet {
    /// A one-line description.
    pub text: String,
    /// The experiment, if there are several with their own cuts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// The cut: "grey" or "bad".
    pub cut: Verdict,
    /// The rate and the requirements to resolve it.
    #[serde(flatten)]
    pub unmet: Unmet,
    /// Number of independent blocks.
    pub blocks: usize,
    /// Number of neighbouring LSs per block.
    pub block: usize,
    /// Number of lumisections that are grey only because they are above the experiment's threshold.
    pub grey: usize,
}

impl RateNotMet {
    /// The unmet rate of `cuts`, if any; `experiment` is the experiment of the cuts if there are
    /// several.
    pub fn new(
        cuts: &Cuts,
        experiment: Option<(usize, &str)>,
        lumisections: &Verdicts,
    ) -> Option<Self> {
        let (cut, unmet) = cuts.unmet()?;
        let of_it = |said: &LumisectionVerdict| {
            experiment.is_none_or(|(at, _)| {
                said.opinions.get(at).and_then(Option::as_ref).is_some_and(|opinion| opinion.unmet)
            })
        };
        let grey = lumisections
            .values()
            .filter(|said| said.floored && said.source == Source::Autoencoder && of_it(said))
            .count();
        let what = if unmet.discoveries {
            unmet.describe()
        } else {
            format!(
                "too few independent good lumisections to tell a rate of {}",
                percent(unmet.rate)
            )
        };
        let there = format!("{} of {}", count(cuts.blocks, "block"), count(cuts.block, "LS"));
        let others = if cuts.blocks == cuts.runs { " of other runs" } else { "" };
        let enough = match (unmet.needed, unmet.more_lumisections) {
            (Some(needed), Some(more)) => {
                format!("{there}, {needed} needed, about {more} more good LSs{others}")
            }
            _ => format!("no lumisection scores above all {} {}", cuts.rows, cuts.sample),
        };
        let floor = match grey {
            0 => "no other lumisection is above the experiment's threshold".to_owned(),
            1 => "1 lumisection above the experiment's threshold is grey".to_owned(),
            grey => format!("{grey} lumisections above the experiment's threshold are grey"),
        };
        let experiment = experiment.map(|(_, name)| name.to_owned());
        let of = experiment.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        let text = format!("{of}{what}: {enough}; {floor}");
        Some(Self { text, experiment, cut, unmet, blocks: cuts.blocks, block: cuts.block, grey })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        certify::{
            cuts::Sample,
            join, judge,
            verdicts::{Id, Opinion, ranges},
        },
        config::{Cut, Key, certify::Certify},
        prepare::split::Split,
        score::{channel_scores::ChannelScores, row::ScoredRow, scores::Scores},
    };
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A row to judge: its lumisection, its score, and whether it is evaluated.
    type Judged = (Id, Option<f64>, bool);

    fn scores(rows: &[Judged], threshold: f64) -> Scores {
        let row = |((run, ls), _, rejected): &Judged| ScoredRow {
            split: Split::Test,
            file: "a.csv".into(),
            run: Some(*run),
            ls: Some(*ls),
            weight: None,
            rejected: rejected.then(|| "empty".into()),
            class: None,
            labels: [].into(),
        };
        let numbers: Vec<Option<f64>> =
            rows.iter().map(|(_, score, rejected)| score.filter(|_| !rejected)).collect();
        let thresholds = numbers.iter().map(|score| score.map(|_| threshold)).collect();
        let channel = ChannelScores {
            name: "all".into(),
            scores: numbers,
            thresholds,
            ..ChannelScores::default()
        };
        Scores {
            rows: rows.iter().map(row).collect(),
            channels: vec![channel],
            ..Scores::default()
        }
    }

    fn judged() -> impl Strategy<Value = Vec<Judged>> {
        let score = prop_oneof![8 => (0_u8..60).prop_map(|score| Some(f64::from(score))), 1 => Just(None), 1 => Just(Some(f64::NAN))];
        prop::collection::vec((((1_u32..3), (1_u32..12)), score, prop::bool::weighted(0.1)), 0..40)
    }

    /// Good calibration scores run by run, LSs per block, the threshold, the rows to judge.
    fn experiment() -> impl Strategy<Value = (Vec<Vec<f64>>, usize, f64, Vec<Judged>)> {
        let good = prop::collection::vec(
            prop::collection::vec((0_u8..50).prop_map(f64::from), 1..60),
            1..4,
        );
        (good, 1_usize..30, (10_u8..50).prop_map(f64::from), judged())
    }

    proptest! {
        #[test]
        fn what_is_flagged_is_not_good_where_a_rate_is_not_met(
            experiments in prop::collection::vec(experiment(), 1..4), needed in 1_usize..4, discoveries in prop::bool::ANY, largest in prop::bool::ANY,
        ) {
            let needed = needed.min(experiments.len());
            let config = Certify { bad: Key::of(None, discoveries.then_some(Cut::FalseDiscoveryRate(0.1))), ..Certify::default() };
            let names: Vec<String> = (0..experiments.len()).map(|at| format!("e{at}")).collect();
            let (mut all_cuts, mut all_opinions, mut flagged, mut not_known) = (vec![], vec![], vec![], vec![]);
            for (good, block, threshold, rows) in &experiments {
                let sample = Sample { what: "rows".into(), files: vec![], good: good.clone(), bad: vec![] };
                let scores = scores(rows, *threshold);
                let evaluated: Vec<f64> = scores.channels[0].scores.iter().flatten().copied().filter(|score| !score.is_nan()).collect();
                let cuts = Cuts::new(&config, Some(*block as u32), "all", &sample, &evaluated).unwrap();
                let ids: Vec<Option<Id>> = rows.iter().map(|(id, _, _)| Some(*id)).collect();
                flagged.push((0..rows.len()).filter(|row| scores.channels[0].flagged(*row) == Some(true)).map(|row| rows[row].0).collect::<BTreeSet<Id>>());
                let (opinions, _) = judge::opinions(std::slice::from_ref(&cuts), &scores, &ids, &vec![None; rows.len()]);
                let unknown = |opinion: &Opinion| opinion.score.is_none();
                not_known.push(opinions.iter().filter(|(_, opinion)| unknown(opinion)).map(|(id, _)| *id).collect::<BTreeSet<Id>>());
                all_opinions.push(opinions);
                all_cuts.push(cuts);
            }
            let unmet: Vec<bool> = all_cuts.iter().map(|cuts| cuts.unmet().is_some()).collect();
            let present: Vec<BTreeSet<Id>> = all_opinions.iter().map(|opinions| opinions.keys().copied().collect()).collect();
            let all: BTreeSet<Id> = present.iter().flatten().copied().collect();
            let (joint_unmet, lumisections) = if largest {
                let rows = |(good, ..): &(Vec<Vec<f64>>, usize, f64, Vec<Judged>)| {
                    good.iter().zip(0..).flat_map(|(run, at)| run.iter().zip(0..).map(move |(score, ls)| ((at, ls), *score, true))).collect::<Vec<_>>()
                };
                let calibration: Vec<Vec<join::Calibration>> = experiments.iter().map(rows).collect();
                let standards: Result<Vec<_>, _> = calibration.iter().map(|rows| join::Standard::new(false, &rows.iter().map(|row| row.1).collect::<Vec<_>>())).collect();
                let Ok(standards) = standards else { return Ok(()) };
                let Ok((cuts, lumisections)) = join::max_score((&config, Some(experiments[0].1 as u32)), &names, &standards, &calibration, all_opinions) else { return Ok(()) };
                (Some(cuts.unmet().is_some()), lumisections)
            } else {
                (None, join::votes(needed, &names, all_opinions))
            };
            // Each lumisection is in one of the four files.
            let listed: Vec<Id> = Verdict::ALL
                .iter()
                .flat_map(|verdict| ranges(&lumisections, *verdict))
                .flat_map(|(run, ranges): (u32, Vec<(u32, u32)>)| ranges.into_iter().flat_map(move |(first, last)| (first..=last).map(move |ls| (run, ls))))
                .collect();
            prop_assert_eq!(listed.len(), all.len());
            prop_assert_eq!(listed.into_iter().collect::<BTreeSet<Id>>(), all);
            for (id, said) in lumisections.iter().filter(|(_, said)| said.verdict == Verdict::Good) {
                for at in 0..experiments.len() {
                    prop_assert!(!(joint_unmet.unwrap_or(unmet[at]) && flagged[at].contains(id)), "{:?} is flagged by {}", id, at);
                    prop_assert!(present[at].contains(id) && !not_known[at].contains(id), "{:?} is not known to {}", id, at);
                }
                prop_assert!(!said.floored);
            }
            for (id, said) in lumisections.iter().filter(|(_, said)| said.floored) {
                prop_assert!(said.verdict == Verdict::Grey && flagged.iter().any(|flagged| flagged.contains(id)), "{:?}", id);
                prop_assert!(said.reason.contains("above the experiment's threshold"), "{}", said.reason);
            }
        }
    }

    #[test]
    fn the_line_says_what_would_do() {
        let sample = |rows: u32| Sample {
            what: "validation rows".into(),
            files: vec![],
            good: vec![(0..rows).map(f64::from).collect(); 2],
            bad: vec![],
        };
        let line = |rows: u32, block: u32, judged: &[Judged]| {
            let cuts =
                Cuts::new(&Certify::default(), Some(block), "all", &sample(rows), &[]).unwrap();
            let scores = scores(judged, 90.0);
            let ids: Vec<Option<Id>> = judged.iter().map(|(id, _, _)| Some(*id)).collect();
            let (opinions, _) = judge::opinions(
                std::slice::from_ref(&cuts),
                &scores,
                &ids,
                &vec![None; judged.len()],
            );
            RateNotMet::new(&cuts, None, &join::votes(1, &["a".into()], vec![opinions]))
                .map(|rate| rate.text)
        };
        let judged =
            [((1, 1), Some(95.0), false), ((1, 2), Some(95.0), false), ((1, 3), Some(3.0), false)];
        assert_eq!(
            line(100, 50, &judged).unwrap(),
            "too few independent good lumisections to tell a rate of 1 %: 4 blocks of 50 LSs, 99 needed, about 4750 more good LSs; \
             2 lumisections above the experiment's threshold are grey"
        );
        // Each run shorter than a block counts as one block: more runs are needed, not longer ones.
        assert!(line(100, 300, &judged).unwrap().contains(
            "2 blocks of 300 LSs, 99 needed, about 9700 more good LSs of other runs; 2 lumi"
        ));
        assert_eq!(line(100, 1, &judged), None);
    }
}
