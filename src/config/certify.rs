//! `[certify]`: rules for verdicts from scores.

use super::{
    check::{Checker, section as section_of},
    keys::{Key, choice, section},
};
use serde::{Deserialize, Serialize};
use toml::Table;

section! {
    /// How scores become verdicts: good up to the grey cut, bad above the bad cut, grey between
    /// them. Read by `lumisift certify`, where every one of these keys may still be set.
    Certify {
        /// Above this cut a lumisection is at least grey. Default: { false_alarm_rate = 0.05 }, or
        /// the smallest rate above it that the calibration rows can tell.
        #[serde(skip_serializing_if = "Key::is_unset")]
        grey: Key<Option<CutRule>, Option<Cut>> = Key::default(),
        /// Above this cut it is bad. Default: { false_alarm_rate = 0.01 }, or the smallest rate
        /// above it that the calibration rows can tell.
        #[serde(skip_serializing_if = "Key::is_unset")]
        bad: Key<Option<CutRule>, Option<Cut>> = Key::default(),
        on: CertifyOn = CertifyOn::Valid,
        /// So many neighbouring LSs of a run count as one where rows are counted, since they are
        /// not independent; a shorter run counts as one. Default: as many as the calibration scores
        /// are correlated over.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        block: Option<u32> = None,
        /// Quantities of OMS, HLT or brilcalc files, or "weight", in which a lumisection must lie
        /// within the range of the training rows: ["pileup"]. Outside, and where it is unknown, it
        /// is not evaluated.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        within: Vec<String> = vec![],
        /// What a run's score in the file of --runs says of it: good up to the first number, bad
        /// above the second, grey between them: [0.2, 0.8]. A higher score is worse.
        #[serde(skip_serializing_if = "Key::is_unset")]
        run_scores: Key<Vec<f64>, Option<(f64, f64)>> = Key::default(),
    }
}

impl Certify {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

section! {
    /// Where a cut lies. One of these keys.
    CutRule {
        /// At most this share of good lumisections lies above it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        false_alarm_rate: Option<f64> = None,
        /// Of all lumisections above it at most this share is expected to be good (Benjamini and
        /// Hochberg's procedure on the p-values of all that are judged).
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        false_discovery_rate: Option<f64> = None,
        /// The highest cut above which at least this share of the rows labelled bad lies.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        efficiency: Option<f64> = None,
        /// The lowest cut above which at least this share of the labelled rows is bad.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        purity: Option<f64> = None,
        /// The cut at which a figure of the labelled rows is largest.
        #[serde(skip_serializing_if = "Option::is_none")]
        best: Option<Best> = None,
        /// This score.
        #[serde(skip_serializing_if = "Option::is_none")]
        score: Option<f64> = None,
    }
}

choice! {
    /// A figure of a cut.
    Best {
        /// The harmonic mean of purity and efficiency.
        F1 = "f1",
        /// Youden's index: efficiency less false-alarm rate.
        Youden = "youden",
    }
}

choice! {
    /// The rows that cuts are calibrated on. None of them was trained on.
    CertifyOn {
        /// Good rows of the validation split; the bad ones, where a cut needs them, are those that
        /// are labelled bad in the runs for training and validation, which are set aside.
        Valid = "valid",
        /// Rows of the test split that are labelled good or bad.
        Test = "test",
    }
}

/// The rule of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// At most this share of good rows is above it.
    FalseAlarmRate(f64),
    /// At most this share of the rows above it is expected to be good.
    FalseDiscoveryRate(f64),
    /// At least this share of bad rows is above it.
    Efficiency(f64),
    /// At least this share of the rows above it is bad.
    Purity(f64),
    /// The cut that maximises a figure.
    Best(Best),
    /// This score.
    Score(f64),
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Four digits.
        let percent = |share: f64| {
            let scale = 10_f64.powi(1 - share.log10().floor() as i32);
            format!("{} %", (100.0 * share * scale).round() / scale)
        };
        match self {
            Self::FalseAlarmRate(rate) => write!(f, "{} false alarms", percent(*rate)),
            Self::FalseDiscoveryRate(rate) => write!(f, "{} false discoveries", percent(*rate)),
            Self::Efficiency(share) => write!(f, "{} efficiency", percent(*share)),
            Self::Purity(share) => write!(f, "{} purity", percent(*share)),
            Self::Best(Best::F1) => f.write_str("the best F1"),
            Self::Best(Best::Youden) => f.write_str("the best Youden index"),
            Self::Score(score) => write!(f, "score {score}"),
        }
    }
}

/// The keys of a cut.
const CUTS: [&str; 6] =
    ["false_alarm_rate", "false_discovery_rate", "efficiency", "purity", "best", "score"];

impl Certify {
    /// Keeps only the keys of a cut that are in the highest layer.
    pub(super) fn overridden(checker: &Checker, table: &mut Table) {
        for key in ["certify.grey", "certify.bad"] {
            let Some(rule) = section_of(table, key) else { continue };
            let of_name = |name: &str| format!("{key}.{name}");
            rule.retain(|name, _| {
                !CUTS
                    .iter()
                    .any(|above| checker.document.overrides(&of_name(above), &of_name(name)))
            });
        }
    }

    pub(super) fn check(&mut self, checker: &mut Checker) {
        for (key, cut) in [("certify.grey", &mut self.grey), ("certify.bad", &mut self.bad)] {
            cut.meaning = cut.written.as_ref().and_then(|rule| rule.check(checker, key));
        }
        if let (Some(Cut::Score(grey)), Some(Cut::Score(bad))) = (*self.grey, *self.bad)
            && grey > bad
        {
            checker.fault(
                "certify.grey.score",
                format!("{grey} is above certify.bad's {bad}; expected grey below bad"),
            );
        }
        self.run_scores.meaning = match self.run_scores.written[..] {
            [] => None,
            [good, bad] if good <= bad => Some((good, bad)),
            _ => {
                checker.fault(
                    "certify.run_scores",
                    "expected two numbers, the first not above the second: [0.2, 0.8]",
                );
                None
            }
        };
    }
}

impl CutRule {
    /// The rule from the only key of a cut.
    fn check(&self, checker: &mut Checker, key: &str) -> Option<Cut> {
        let cuts = [
            self.false_alarm_rate.map(Cut::FalseAlarmRate),
            self.false_discovery_rate.map(Cut::FalseDiscoveryRate),
            self.efficiency.map(Cut::Efficiency),
            self.purity.map(Cut::Purity),
            self.best.map(Cut::Best),
            self.score.map(Cut::Score),
        ];
        let mut cuts = cuts.into_iter().flatten();
        let names = CUTS.join(", ");
        let fault = match (cuts.next(), cuts.next()) {
            (Some(cut), None) => return Some(cut),
            (None, _) => format!("does not specify the cut; expected one of {names}"),
            (Some(first), Some(second)) => {
                format!("asks for {first} and for {second}; expected one of {names}")
            }
        };
        checker.fault(key, fault);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        Document, Experiment,
        tests::{DATA, check},
    };
    use std::path::Path;

    #[test]
    fn a_cut_lies_where_one_key_says() {
        let experiment =
            check(&format!("{DATA}[certify]\ngrey = {{false_alarm_rate = 0.05}}\nbad = {{best = \"f1\"}}\nrun_scores = [0.2, 0.8]")).unwrap();
        assert_eq!(
            (*experiment.certify.grey, *experiment.certify.bad),
            (Some(Cut::FalseAlarmRate(0.05)), Some(Cut::Best(Best::F1)))
        );
        assert_eq!(check(&experiment.to_toml().unwrap()).unwrap(), experiment);
        let mut document = Document::parse(
            &format!("{DATA}[certify]\nbad = {{efficiency = 0.5}}"),
            Path::new("a.toml"),
        )
        .unwrap();
        document.add_arguments(&["certify.bad={score = 3}".into()]).unwrap();
        let experiment = Experiment::check(&document, "a").unwrap();
        assert_eq!(
            *experiment.certify.bad,
            Some(Cut::Score(3.0)),
            "a later layer overrides an earlier one"
        );
        assert_eq!(check(&experiment.to_toml().unwrap()).unwrap().certify, experiment.certify);
        for (text, part) in [
            ("bad = {}", "certify.bad: does not specify the cut"),
            ("bad = {score = 1.0, purity = 0.5}", "asks for 50 % purity and for score 1"),
            (
                "bad = {score = 1.0}\ngrey = {score = 2.0}",
                "certify.grey.score: 2 is above certify.bad's 1",
            ),
            ("run_scores = [2.0, 1.0]", "certify.run_scores: expected two numbers"),
            ("bad = {false_alarm_rate = 1.0}", "less than 1"),
        ] {
            let error = check(&format!("{DATA}[certify]\n{text}")).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
