//! `[threshold]`: the threshold of scores.

use super::{
    check::Checker,
    keys::{choice, section},
};
use serde::{Deserialize, Serialize};

section! {
    /// Where a score becomes a flag: strictly above the threshold.
    Threshold {
        kind: ThresholdKind = ThresholdKind::Percentile,
        /// percentile: of the calibration scores, linearly interpolated. Default 99.5.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0, max = 100.0))]
        percentile: Option<f64> = None => ["percentile"],
        /// percentile: take it of the moving average over so many LSs of a run. Default 1, the
        /// scores themselves.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        smooth: Option<u32> = None => ["percentile"],
        /// fixed: the threshold.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<f64> = None => ["fixed"],
        /// mean-std: how many standard deviations above the mean. Default 3.
        #[serde(skip_serializing_if = "Option::is_none")]
        k: Option<f64> = None => ["mean-std"],
        /// mean-std: divide by n − ddof. Default 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = 1))]
        ddof: Option<u32> = None => ["mean-std"],
        on: CalibrateOn = CalibrateOn::Valid,
        /// percentile, mean-std: take it of ln(score), and e to the power of that.
        log: bool = false,
        /// percentile: further thresholds to report beside the first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        also: Vec<Percentile> = vec![] => ["percentile"],
    }
}

choice! {
    /// How the threshold is found.
    ThresholdKind {
        /// A percentile of the calibration scores.
        Percentile = "percentile",
        /// A number given in the config.
        Fixed = "fixed",
        /// Mean plus k standard deviations of the calibration scores.
        MeanStd = "mean-std",
    }
}

choice! {
    /// Which scores the threshold is calibrated on.
    CalibrateOn {
        /// Held-out good rows: the validation split.
        Valid = "valid",
        /// The training rows.
        Train = "train",
        /// Each scored run by itself, its rows of each split apart (as the notebooks on METSig and
        /// on events do): it then always flags something.
        Scored = "scored",
    }
}

section! {
    /// A percentile of the scores, or of their moving average.
    Percentile {
        #[schemars(range(min = 0.0, max = 100.0))]
        percentile: f64 = 99.5,
        /// Moving average over so many LSs.
        #[schemars(range(min = 1))]
        smooth: u32 = 1,
    }
}

/// The rule that computes a threshold from calibration scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ThresholdRule {
    /// A linearly interpolated percentile of the moving average over `smooth` LSs.
    Percentile {
        /// 0 to 100.
        percentile: f64,
        /// Window of the moving average; 1 for the scores themselves.
        smooth: u32,
    },
    /// A given number.
    Fixed {
        /// The threshold. (`value` in the same object is the computed value.)
        #[serde(rename = "at")]
        value: f64,
    },
    /// Mean plus k standard deviations.
    MeanStd {
        /// Number of standard deviations.
        k: f64,
        /// The variance is divided by n − ddof.
        ddof: u32,
    },
}

impl std::fmt::Display for ThresholdRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percentile { percentile, smooth: 1 } => {
                write!(f, "{percentile}th percentile of the score")
            }
            Self::Percentile { percentile, smooth } => write!(
                f,
                "{percentile}th percentile of the score's moving average over {smooth} LSs"
            ),
            Self::Fixed { value } => write!(f, "fixed at {value}"),
            Self::MeanStd { k, ddof } => write!(f, "mean + {k} standard deviations (ddof {ddof})"),
        }
    }
}

impl Threshold {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        if self.kind == ThresholdKind::Fixed {
            if self.log {
                checker.fault("threshold.log", "has no meaning with kind = \"fixed\"");
            }
            if self.value.is_none() {
                checker.fault("threshold.value", "missing; kind = \"fixed\" needs the threshold");
            }
        }
        self.fill();
    }

    /// Fills in the defaults of the chosen kind.
    fn fill(&mut self) {
        match self.kind {
            ThresholdKind::Percentile => {
                self.percentile.get_or_insert(99.5);
                self.smooth.get_or_insert(1);
            }
            ThresholdKind::Fixed => {}
            ThresholdKind::MeanStd => {
                self.k.get_or_insert(3.0);
                self.ddof.get_or_insert(1);
            }
        }
    }

    /// The thresholds to report, the one that flags first.
    pub fn rules(&self) -> Vec<ThresholdRule> {
        let mut own = self.clone();
        own.fill();
        match own.kind {
            ThresholdKind::Percentile => {
                let first = Percentile {
                    percentile: own.percentile.unwrap_or_default(),
                    smooth: own.smooth.unwrap_or_default(),
                };
                std::iter::once(&first)
                    .chain(&own.also)
                    .map(|&Percentile { percentile, smooth }| ThresholdRule::Percentile {
                        percentile,
                        smooth,
                    })
                    .collect()
            }
            ThresholdKind::Fixed => {
                vec![ThresholdRule::Fixed { value: own.value.unwrap_or_default() }]
            }
            ThresholdKind::MeanStd => vec![ThresholdRule::MeanStd {
                k: own.k.unwrap_or_default(),
                ddof: own.ddof.unwrap_or_default(),
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Experiment, tests::DATA};
    use std::path::Path;

    #[test]
    fn who_overrides_a_kind_need_not_know_what_was_set_for_another() {
        let mut document = Document::parse(
            &format!("{DATA}[threshold]\nkind = \"percentile\"\npercentile = 99.0\nsmooth = 3"),
            Path::new("a.toml"),
        )
        .unwrap();
        document
            .add_arguments(&["threshold.kind=mean-std".into(), "threshold.k=2".into()])
            .unwrap();
        let experiment = Experiment::check(&document, "a").unwrap();
        assert_eq!(experiment.threshold.rules(), [ThresholdRule::MeanStd { k: 2.0, ddof: 1 }]);
        document.add_arguments(&["threshold.value=3".into()]).unwrap();
        assert!(
            Experiment::check(&document, "a")
                .unwrap_err()
                .to_string()
                .contains("threshold.value: has no meaning")
        );
    }
}
