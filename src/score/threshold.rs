//! Thresholds of scores and their calibration: `thresholds.json`.

use super::drift::Sample;
use crate::statistics::percentile;
use crate::{
    config::{ThresholdRule, threshold::CalibrateOn},
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};

/// A threshold and its calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// The channel it applies to.
    pub channel: String,
    /// The rule that it was computed with.
    #[serde(flatten)]
    pub threshold: ThresholdRule,
    /// Whether it was computed on ln(score).
    #[serde(default)]
    pub log: bool,
    /// The rows it was calibrated on.
    pub on: CalibrateOn,
    /// The threshold; `None` if each scored run gets its own.
    pub value: Option<f64>,
    /// The thresholds of the members of an ensemble, from their own scores; empty for a single
    /// member or a fixed threshold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<f64>,
    /// Number of calibration rows.
    pub rows: usize,
    /// Number of runs of those rows.
    pub runs: usize,
    /// Description of those rows, such as "validation rows labelled good"; empty in folders of
    /// earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rows_are: String,
    /// The files of those rows.
    pub files: Vec<String>,
    /// The distribution of their scores; only for the first threshold of each channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

impl Calibrated {
    /// Description of the rule.
    pub fn describe(&self) -> String {
        describe(&self.threshold, self.log)
    }

    /// Description of the calibration rows.
    pub fn sample(&self) -> &str {
        match self.on {
            _ if !self.rows_are.is_empty() => &self.rows_are,
            CalibrateOn::Valid => "validation rows",
            CalibrateOn::Train => "training rows",
            CalibrateOn::Scored => "rows of the scored run",
        }
    }

    /// The same without the distribution of the scores.
    pub fn brief(&self) -> Self {
        Self { sample: None, ..self.clone() }
    }

    /// The threshold for the scores of one run, in the order of LS.
    pub fn for_run(&self, scores: &[f64]) -> Result<f64> {
        match self.value {
            Some(value) => Ok(value),
            None => value(&self.threshold, self.log, &[scores]),
        }
    }

    /// The same for the scores of one member of an ensemble.
    pub fn for_member(&self, member: usize, scores: &[f64]) -> Result<f64> {
        self.members.get(member).map_or_else(|| self.for_run(scores), |value| Ok(*value))
    }

    /// A warning if there are too few rows for the percentile.
    pub fn warning(&self) -> Option<String> {
        let ThresholdRule::Percentile { percentile, .. } = self.threshold else { return None };
        let above = self.rows as f64 * (1.0 - percentile / 100.0);
        (self.value.is_some() && above < 1.0).then(|| {
            format!(
                "the {percentile}th percentile of {} calibration rows is little more than the largest of them: use more rows or a lower percentile",
                self.rows
            )
        })
    }
}

/// Description of a threshold rule; with `log`, on ln(score).
pub fn describe(threshold: &ThresholdRule, log: bool) -> String {
    let text = threshold.to_string();
    match (log, threshold) {
        (false, _) | (true, ThresholdRule::Fixed { .. }) => text,
        (true, ThresholdRule::Percentile { .. }) => text.replace("the score", "ln(score)"),
        (true, ThresholdRule::MeanStd { .. }) => text + " of ln(score)",
    }
}

/// The threshold for the scores of some runs, each in the order of LS. A moving average never
/// crosses runs. With `log` it is computed on ln(score) and converted back.
pub fn value(threshold: &ThresholdRule, log: bool, runs: &[&[f64]]) -> Result<f64> {
    if log && !matches!(threshold, ThresholdRule::Fixed { .. }) {
        let logs: Vec<Vec<f64>> = runs
            .iter()
            .map(|scores| scores.iter().map(|score| score.max(f64::MIN_POSITIVE).ln()).collect())
            .collect();
        return Ok(
            value(threshold, false, &logs.iter().map(Vec::as_slice).collect::<Vec<_>>())?.exp()
        );
    }
    let rows: usize = runs.iter().map(|scores| scores.len()).sum();
    let few = |needed: String| {
        Error::input(format!(
            "threshold: {rows} calibration rows in {} runs; {threshold} needs {needed}",
            runs.len()
        ))
    };
    match *threshold {
        ThresholdRule::Fixed { value } => Ok(value),
        ThresholdRule::Percentile { percentile: p, smooth } => {
            let smoothed: Vec<f64> =
                runs.iter().flat_map(|scores| moving_average(scores, smooth as usize)).collect();
            percentile(&smoothed, p).ok_or_else(|| few(format!("a run of at least {smooth} LSs")))
        }
        ThresholdRule::MeanStd { k, ddof } => {
            let scores = runs.concat();
            let divisor = scores.len() as f64 - f64::from(ddof);
            if divisor <= 0.0 {
                return Err(few(format!("at least {} rows", ddof + 1)));
            }
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / divisor;
            Ok(mean + k * variance.sqrt())
        }
    }
}

/// Means over `window` neighbours, only the valid part: `scores.len() − window + 1` values.
pub fn moving_average(scores: &[f64], window: usize) -> Vec<f64> {
    if window <= 1 {
        return scores.to_vec();
    }
    scores.windows(window).map(|part| part.iter().sum::<f64>() / window as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_of_each_kind_is_read_again() {
        for threshold in [
            ThresholdRule::Percentile { percentile: 99.5, smooth: 3 },
            ThresholdRule::Fixed { value: 0.25 },
            ThresholdRule::MeanStd { k: 3.0, ddof: 1 },
        ] {
            let calibrated = Calibrated {
                channel: "all".into(),
                threshold,
                log: false,
                on: CalibrateOn::Valid,
                value: Some(0.25),
                members: vec![],
                rows: 7,
                runs: 1,
                rows_are: "validation rows labelled good".into(),
                files: vec![],
                sample: Sample::new(&[vec![0.1, 0.2], vec![0.3]], false),
            };
            assert_eq!(
                serde_json::from_str::<Calibrated>(&serde_json::to_string(&calibrated).unwrap())
                    .unwrap(),
                calibrated
            );
        }
    }

    #[test]
    fn moving_averages_stay_within_a_run() {
        assert_eq!(moving_average(&[1.0, 2.0, 6.0], 2), [1.5, 4.0]);
        assert_eq!(moving_average(&[1.0], 2), Vec::<f64>::new());
        let threshold = ThresholdRule::Percentile { percentile: 100.0, smooth: 2 };
        assert_eq!(value(&threshold, false, &[&[0.0, 0.0, 9.0], &[9.0, 0.0]]).unwrap(), 4.5);
        assert!(value(&threshold, false, &[&[1.0], &[2.0]]).is_err());
    }

    #[test]
    fn mean_and_standard_deviation() {
        let scores: [f64; 4] = [1.0, 2.0, 3.0, 4.0];
        let at = |ddof| value(&ThresholdRule::MeanStd { k: 2.0, ddof }, false, &[&scores]).unwrap();
        assert!((at(1) - (2.5 + 2.0 * (5.0_f64 / 3.0).sqrt())).abs() < 1e-12);
        assert!((at(0) - (2.5 + 2.0 * 1.25_f64.sqrt())).abs() < 1e-12);
        assert!(value(&ThresholdRule::MeanStd { k: 2.0, ddof: 1 }, false, &[&[1.0]]).is_err());
    }

    #[test]
    fn a_threshold_may_be_found_on_logarithms() {
        let median = ThresholdRule::Percentile { percentile: 50.0, smooth: 1 };
        assert!((value(&median, true, &[&[1.0, 100.0]]).unwrap() - 10.0).abs() < 1e-12);
        assert_eq!(value(&median, true, &[&[0.0, 2.0, 3.0]]).unwrap(), 2.0_f64.ln().exp());
    }

    proptest! {
        #[test]
        fn a_percentile_lies_between_the_extremes(values in prop::collection::vec(-1e3_f64..1e3, 1..50), p in 0.0_f64..=100.0) {
            let found = percentile(&values, p).unwrap();
            let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
            prop_assert!((low..=high).contains(&found));
        }
    }
}
