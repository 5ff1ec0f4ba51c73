//! The two cuts on a score, each with its efficiency, purity and false-alarm rate on the
//! calibration rows.

use super::{
    conformal::{self, Reference},
    unmet::Unmet,
};
use crate::{
    config::{
        Cut,
        certify::Certify,
        certify::{Best, CertifyOn},
    },
    error::{Error, Result},
    prepare::split::Split,
    score::{
        channel_scores::ChannelScores,
        roc::{Z_95, wilson},
        row::ScoredRow,
        scores::Scores,
        verdict::Verdict,
    },
};
use serde::Serialize;

/// The calibration rows of cuts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Description of the rows.
    pub what: String,
    /// Files of good data given for calibration; empty for the experiment's own rows.
    pub files: Vec<String>,
    /// Scores of the good rows, run by run in the order of LS.
    pub good: Vec<Vec<f64>>,
    /// Scores of the bad rows, run by run.
    pub bad: Vec<Vec<f64>>,
}

/// Whether a row calibrates as good or bad; `None` if it does not.
pub fn calibrates(on: CertifyOn, row: &ScoredRow, good: Option<bool>) -> Option<bool> {
    match (on, row.split, good) {
        (CertifyOn::Valid, Split::Valid, good) => Some(good != Some(false)),
        (CertifyOn::Valid, Split::Unused, Some(false)) => Some(false),
        (CertifyOn::Test, Split::Test, good) => good,
        _ => None,
    }
}

/// Scores of the `wanted` rows of one channel, run by run.
pub fn by_run(
    scores: &Scores,
    channel: &ChannelScores,
    wanted: impl Fn(usize) -> bool,
) -> Vec<Vec<f64>> {
    let score = |row: &usize| channel.scores[*row].filter(|score| !score.is_nan());
    let of_run = |run: &Vec<usize>| -> Vec<f64> {
        run.iter().filter(|row| wanted(**row)).filter_map(score).collect()
    };
    scores.runs().iter().map(of_run).filter(|run| !run.is_empty()).collect()
}

/// A share of some rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RowShare {
    /// Number of counted rows.
    pub rows: usize,
    /// Number of all rows.
    pub of: usize,
    /// `rows` over `of`.
    pub share: f64,
    /// Its 95 % interval (Wilson's), for the number of independent rows.
    pub interval: (f64, f64),
}

impl RowShare {
    /// `None` without rows; `independent` is the number of rows that count as independent.
    fn new(rows: usize, of: usize, independent: f64) -> Option<Self> {
        let share = rows as f64 / of as f64;
        (of > 0).then(|| Self { rows, of, share, interval: wilson(share, independent, Z_95) })
    }
}

/// A cut with its performance on the calibration rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibratedCut {
    /// The minimum verdict of a lumisection above it: "grey" or "bad".
    pub above: Verdict,
    /// The rule that determines it.
    pub rule: Cut,
    /// Whether the config sets the rule.
    pub asked: bool,
    /// The score that lumisections must exceed; `None` if no lumisection can exceed it.
    pub score: Option<f64>,
    /// The rate of the rule, if the calibration rows cannot resolve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmet: Option<Unmet>,
    /// Good calibration rows above it.
    pub false_alarms: Option<RowShare>,
    /// Bad calibration rows above it.
    pub efficiency: Option<RowShare>,
    /// Bad rows among all calibration rows above it.
    pub purity: Option<RowShare>,
}

impl CalibratedCut {
    /// Whether a score is above it.
    pub fn exceeded(&self, score: f64) -> bool {
        self.score.is_some_and(|cut| score > cut)
    }
}

/// The cuts of one channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cuts {
    /// The channel.
    pub channel: String,
    /// Description of the calibration rows.
    pub sample: String,
    /// Files of the calibration rows, if they are not the experiment's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Number of good calibration rows.
    pub rows: usize,
    /// Number of their runs.
    pub runs: usize,
    /// Number of neighbouring LSs per block.
    pub block: usize,
    /// Number of blocks, that is of independent rows.
    pub blocks: usize,
    /// Number of bad calibration rows.
    pub bad_rows: usize,
    /// The cut above which a lumisection is at least grey.
    pub grey: CalibratedCut,
    /// The cut above which a lumisection is bad.
    pub bad: CalibratedCut,
    /// Scores of the good calibration rows.
    #[serde(skip)]
    pub reference: Reference,
}

/// Default false-alarm rates.
const USUAL: [(Verdict, f64); 2] = [(Verdict::Grey, 0.05), (Verdict::Bad, 0.01)];

impl Cuts {
    /// Computes the cuts of a channel. `judged` are the scores of the rows to judge.
    pub fn new(
        config: &Certify,
        block: Option<u32>,
        channel: &str,
        sample: &Sample,
        judged: &[f64],
    ) -> Result<Self> {
        let reference = Reference::new(&sample.good, block.map(|block| block as usize));
        let labelled = Labelled::new(sample, &reference);
        let find = |asked: Option<Cut>, (above, usual): (Verdict, f64)| -> Result<CalibratedCut> {
            // A default rate is at least the smallest that the rows can resolve.
            let rule = asked.unwrap_or(Cut::FalseAlarmRate(usual.max(reference.smallest())));
            let key = format!("certify.{} ({rule})", above.name());
            if reference.rows() == 0 && !matches!(rule, Cut::Score(_)) {
                return Err(Error::input(format!(
                    "{key}: there are no good rows to calibrate on among the {}; hold some out (split.valid), or name files of good data with --good",
                    sample.what
                )));
            }
            let few = |rate: f64| {
                let (needed, block) = (conformal::needed(rate), reference.block);
                let counted = match block {
                    1 => format!("needs at least {needed} good rows to calibrate on"),
                    _ => format!(
                        "needs at least {needed} good blocks to calibrate on, since {block} neighbouring LSs count as one (certify.block): some {} good rows",
                        needed * block
                    ),
                };
                let there = if block == 1 {
                    String::new()
                } else {
                    format!(" in {} blocks", reference.blocks)
                };
                Error::input(format!(
                    "{key}: {counted}; there are {} {}{there}",
                    reference.rows(),
                    sample.what
                ))
            };
            let mut unmet = (asked.is_none() && reference.smallest() > usual)
                .then(|| Unmet::new(usual, false, Some(conformal::needed(usual)), &reference));
            let score = match rule {
                Cut::Score(score) => Some(score),
                Cut::FalseAlarmRate(rate) => Some(reference.cut(rate).ok_or_else(|| few(rate))?),
                Cut::FalseDiscoveryRate(rate) => {
                    let p_values: Vec<f64> =
                        judged.iter().map(|score| reference.p_value(*score)).collect();
                    let score = conformal::benjamini_hochberg(&p_values, rate)
                        .and_then(|p| reference.cut(p));
                    if score.is_none() && !judged.is_empty() {
                        // With this number of blocks the p-values of the highest scores would be
                        // small enough.
                        let highest =
                            p_values.iter().filter(|p| **p <= reference.smallest()).count() as f64
                                / judged.len() as f64;
                        let needed = (highest > 0.0).then(|| conformal::needed(rate * highest));
                        unmet = Some(Unmet::new(rate, true, needed, &reference));
                    }
                    score
                }
                Cut::Efficiency(_) | Cut::Purity(_) | Cut::Best(_) => {
                    Some(labelled.cut(rule, &key, &sample.what)?)
                }
            };
            Ok(labelled.bought(CalibratedCut {
                above,
                rule,
                asked: asked.is_some(),
                score,
                unmet,
                false_alarms: None,
                efficiency: None,
                purity: None,
            }))
        };
        let (mut grey, bad) = (find(*config.grey, USUAL[0])?, find(*config.bad, USUAL[1])?);
        // Scores above the bad cut are bad even if the grey cut would be higher.
        if let (Some(low), Some(high)) = (grey.score, bad.score)
            && low > high
        {
            grey = labelled.bought(CalibratedCut { score: bad.score, ..grey });
        }
        Ok(Self {
            channel: channel.to_owned(),
            sample: sample.what.clone(),
            files: sample.files.clone(),
            rows: reference.rows(),
            runs: reference.runs,
            block: reference.block,
            blocks: reference.blocks,
            bad_rows: labelled.bad.len(),
            grey,
            bad,
            reference,
        })
    }

    /// The verdict on a score.
    pub fn verdict(&self, score: f64) -> Verdict {
        match () {
            () if self.bad.exceeded(score) => Verdict::Bad,
            () if self.grey.exceeded(score) => Verdict::Grey,
            () => Verdict::Good,
        }
    }

    /// The rate that cannot be resolved, and its cut; of two, the one that needs more blocks.
    pub fn unmet(&self) -> Option<(Verdict, Unmet)> {
        let cuts =
            [&self.grey, &self.bad].into_iter().filter_map(|cut| Some((cut.above, cut.unmet?)));
        cuts.max_by_key(|(_, unmet)| unmet.needed.unwrap_or(usize::MAX))
    }

    /// A warning about the cuts.
    pub fn warning(&self) -> Option<String> {
        let same = self.grey.score == self.bad.score && self.grey.rule != self.bad.rule;
        same.then(|| {
            format!(
                "nothing is grey: certify.grey ({}) is not below certify.bad ({}); lower it",
                self.grey.rule, self.bad.rule
            )
        })
    }
}

/// Labelled rows by score.
struct Labelled<'a> {
    /// Scores of the bad rows, ascending.
    bad: Vec<f64>,
    /// Number of bad rows that count as independent.
    bad_blocks: usize,
    good: &'a Reference,
}

/// Numbers of rows above a score.
#[derive(Clone, Copy)]
struct Above {
    good: usize,
    bad: usize,
}

impl<'a> Labelled<'a> {
    fn new(sample: &Sample, good: &'a Reference) -> Self {
        let mut bad = sample.bad.concat();
        bad.sort_by(f64::total_cmp);
        Self {
            bad_blocks: sample.bad.iter().map(|run| run.len().div_ceil(good.block)).sum(),
            bad,
            good,
        }
    }

    fn above(&self, score: f64) -> Above {
        let good = (self.good.share_above(score) * self.good.rows() as f64).round() as usize;
        Above { good, bad: self.bad.len() - self.bad.partition_point(|other| *other <= score) }
    }

    fn cut(&self, rule: Cut, key: &str, what: &str) -> Result<f64> {
        let all = self.bad.len();
        if all == 0 {
            return Err(Error::input(format!(
                "{key}: there are no rows labelled bad to calibrate on among the {what}; certify.on = \"test\" takes the test rows, false_alarm_rate needs none"
            )));
        }
        if let Cut::Efficiency(share) = rule
            && self.bad_blocks < conformal::needed(1.0 - share)
        {
            return Err(Error::input(format!(
                "{key}: needs at least {} independent bad rows to calibrate on; there are {all} in {} blocks of {} LSs",
                conformal::needed(1.0 - share),
                self.bad_blocks,
                self.good.block
            )));
        }
        // All rows are above a cut just below the lowest score.
        let lowest = self
            .good
            .scores()
            .first()
            .into_iter()
            .chain(self.bad.first())
            .copied()
            .fold(f64::INFINITY, f64::min);
        let mut cuts: Vec<f64> = self
            .good
            .scores()
            .iter()
            .chain(&self.bad)
            .copied()
            .chain([lowest.next_down()])
            .collect();
        cuts.sort_by(f64::total_cmp);
        cuts.dedup();
        let figure = |cut: f64| {
            let Above { good, bad } = self.above(cut);
            let (efficiency, purity) =
                (bad as f64 / all as f64, bad as f64 / (good + bad).max(1) as f64);
            match rule {
                Cut::Efficiency(_) => efficiency,
                Cut::Purity(_) => purity,
                Cut::Best(Best::F1) => 2.0 * bad as f64 / (all + good + bad) as f64,
                _ => efficiency - self.good.share_above(cut),
            }
        };
        let found = match rule {
            Cut::Efficiency(share) => cuts.iter().rev().find(|cut| figure(**cut) >= share),
            Cut::Purity(share) => cuts.iter().find(|cut| figure(**cut) >= share),
            // The higher cut of ties.
            _ => cuts.iter().max_by(|a, b| figure(**a).total_cmp(&figure(**b))),
        };
        found.copied().ok_or_else(|| {
            Error::input(format!(
                "{key}: no cut on the {what} reaches that purity; expected a lower one"
            ))
        })
    }

    /// Adds the performance of a cut.
    fn bought(&self, cut: CalibratedCut) -> CalibratedCut {
        let Above { good, bad } = self.above(cut.score.unwrap_or(f64::INFINITY));
        let blocks = self.good.blocks as f64;
        // The rows above the cut have the same share of independent rows as all rows.
        let independent =
            (blocks + self.bad_blocks as f64) / (self.good.rows() + self.bad.len()).max(1) as f64;
        let labelled = !self.bad.is_empty();
        CalibratedCut {
            false_alarms: RowShare::new(good, self.good.rows(), blocks),
            efficiency: RowShare::new(bad, self.bad.len(), self.bad_blocks as f64),
            purity: RowShare::new(bad, good + bad, ((good + bad) as f64 * independent).max(1.0))
                .filter(|_| labelled),
            ..cut
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;

    fn sample(good: u32, bad: &[f64]) -> Sample {
        Sample {
            what: "validation rows".into(),
            files: vec![],
            good: vec![(1..=good).map(f64::from).collect()],
            bad: vec![bad.to_vec()],
        }
    }

    fn cuts(grey: Cut, bad: Cut, sample: &Sample, judged: &[f64]) -> Result<Cuts> {
        Cuts::new(
            &Certify {
                grey: Key::of(None, Some(grey)),
                bad: Key::of(None, Some(bad)),
                ..Certify::default()
            },
            Some(1),
            "all",
            sample,
            judged,
        )
    }

    #[test]
    fn three_regions() {
        let cuts =
            cuts(Cut::FalseAlarmRate(0.05), Cut::FalseAlarmRate(0.01), &sample(199, &[]), &[])
                .unwrap();
        assert_eq!((cuts.grey.score, cuts.bad.score), (Some(190.0), Some(198.0)));
        assert_eq!(
            [190.0, 190.5, 198.0, 198.5].map(|score| cuts.verdict(score)),
            [Verdict::Good, Verdict::Grey, Verdict::Grey, Verdict::Bad]
        );
        let alarms = cuts.bad.false_alarms.unwrap();
        assert_eq!((alarms.rows, alarms.of), (1, 199));
        assert_eq!((cuts.bad.efficiency, cuts.bad.purity), (None, None), "nothing is bad here");
    }

    #[test]
    fn too_few_rows_are_refused_with_the_number_needed_unless_nobody_asked() {
        let message = |rate: f64| {
            cuts(Cut::FalseAlarmRate(rate), Cut::FalseAlarmRate(rate), &sample(500, &[]), &[])
                .unwrap_err()
                .to_string()
        };
        assert!(
            message(0.001)
                .contains("certify.grey (0.1 % false alarms): needs at least 999 good rows"),
            "{}",
            message(0.001)
        );
        let usual =
            Cuts::new(&Certify::default(), Some(10), "all", &sample(500, &[]), &[]).unwrap();
        assert_eq!(
            (usual.grey.rule, usual.bad.rule),
            (Cut::FalseAlarmRate(0.05), Cut::FalseAlarmRate(1.0 / 51.0))
        );
        assert_eq!((usual.grey.unmet, usual.warning()), (None, None));
        let (above, unmet) = usual.unmet().unwrap();
        assert_eq!(
            (above, unmet.rate, unmet.needed, unmet.more_lumisections),
            (Verdict::Bad, 0.01, Some(99), Some(490))
        );
        let none = Cuts::new(&Certify::default(), None, "all", &Sample::default(), &[])
            .unwrap_err()
            .to_string();
        assert!(none.contains("no good rows to calibrate on"), "{none}");
    }

    #[test]
    fn labelled_rows_say_where_a_cut_buys_what_is_asked() {
        let sample = sample(100, &[50.0, 95.5, 99.5, 150.0, 200.0]);
        let at = |cut: Cut| cuts(Cut::Score(0.0), cut, &sample, &[]).map(|cuts| cuts.bad);
        let cut = at(Cut::Efficiency(0.5)).unwrap();
        assert_eq!(cut.score, Some(99.0), "the highest with three of five above it");
        assert_eq!(
            (cut.efficiency.unwrap().rows, cut.purity.unwrap().of, cut.false_alarms.unwrap().rows),
            (3, 4, 1)
        );
        assert_eq!(
            at(Cut::Purity(0.5)).unwrap().score,
            Some(97.0),
            "three bad and three good are above"
        );
        assert_eq!(at(Cut::Purity(1.0)).unwrap().score, Some(100.0));
        assert_eq!(at(Cut::Best(Best::F1)).unwrap().score, Some(99.0));
        assert_eq!(at(Cut::Best(Best::Youden)).unwrap().score, Some(95.0));
        assert!(
            at(Cut::Efficiency(0.9))
                .unwrap_err()
                .to_string()
                .contains("needs at least 9 independent bad rows")
        );
        let none = cuts(Cut::Score(0.0), Cut::Best(Best::F1), &self::sample(9, &[]), &[])
            .unwrap_err()
            .to_string();
        assert!(none.contains("no rows labelled bad"), "{none}");
        let crossed = cuts(Cut::Score(199.0), Cut::Purity(1.0), &sample, &[]).unwrap();
        assert_eq!((crossed.grey.score, crossed.bad.score), (Some(100.0), Some(100.0)));
        assert!(
            crossed.warning().unwrap().starts_with("nothing is grey: certify.grey (score 199)"),
            "{:?}",
            crossed.warning()
        );
    }

    #[test]
    fn false_discoveries_are_bounded_on_what_is_judged() {
        let mut judged: Vec<f64> = (0..95).map(f64::from).collect();
        assert_eq!(
            cuts(Cut::Score(0.0), Cut::FalseDiscoveryRate(0.1), &sample(999, &[]), &judged)
                .unwrap()
                .bad
                .score,
            None
        );
        let nothing =
            cuts(Cut::Score(0.0), Cut::FalseDiscoveryRate(0.1), &sample(999, &[]), &judged)
                .unwrap();
        assert_eq!(
            nothing.unmet().unwrap().1.needed,
            None,
            "no score is above those of all good rows"
        );
        // One in a hundred is above: it needs a p-value of 0.001.
        let few = |rows: u32| {
            cuts(
                Cut::Score(0.0),
                Cut::FalseDiscoveryRate(0.1),
                &sample(rows, &[]),
                &[&vec![0.0; 99][..], &[2000.0]].concat(),
            )
            .unwrap()
        };
        let unmet = few(500).unmet().unwrap().1;
        assert_eq!(
            (unmet.discoveries, unmet.needed, unmet.more_lumisections),
            (true, Some(999), Some(499))
        );
        assert_eq!((few(999).bad.score, few(999).unmet()), (Some(999.0), None));
        judged.extend([2000.0; 5]);
        let cuts = cuts(Cut::Score(0.0), Cut::FalseDiscoveryRate(0.1), &sample(999, &[]), &judged)
            .unwrap();
        assert_eq!(judged.iter().filter(|score| cuts.bad.exceeded(**score)).count(), 5);
    }
}
