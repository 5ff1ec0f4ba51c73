//! Computes the thresholds of all channels from the scores of one split.

use crate::{
    config::{
        ThresholdRule,
        threshold::{CalibrateOn, Threshold},
    },
    data::channels::COMBINED,
    error::Result,
    prepare::split::Split,
    score::{
        drift::Sample,
        scores::Scores,
        threshold::{self, Calibrated},
    },
};
use std::collections::BTreeSet;

/// The split whose scores a config calibrates on.
pub fn calibration_split(on: CalibrateOn) -> Split {
    match on {
        CalibrateOn::Train => Split::Train,
        CalibrateOn::Valid => Split::Valid,
        CalibrateOn::Scored => Split::Test,
    }
}

/// Description of the calibration rows. They are called good only if labels say so.
fn calibration_rows(what: &str, scores: &Scores, rows: &[usize]) -> String {
    let Some(set) = scores.labels.iter().position(|name| name == "good") else {
        return format!("{what} rows taken for good (no labels)");
    };
    match rows.iter().filter(|&&row| scores.rows[row].labels[set] == Some(true)).count() {
        good if good == rows.len() => format!("{what} rows labelled good"),
        good => format!("{what} rows, {good} of them labelled good"),
    }
}

/// Computes the thresholds of a config for each channel from the scores of one split.
pub fn calibrate(
    section: &Threshold,
    on: CalibrateOn,
    scores: &Scores,
    split: Split,
) -> Result<Vec<Calibrated>> {
    let of_split: Vec<usize> =
        scores.evaluated().filter(|&row| scores.rows[row].split == split).collect();
    // `lumisift calibrate` scores its files as test rows.
    let what = match on {
        CalibrateOn::Valid if split == Split::Test => "calibration",
        CalibrateOn::Valid => "validation",
        CalibrateOn::Train => "training",
        CalibrateOn::Scored => "scored",
    };
    let rows_are = calibration_rows(what, scores, &of_split);
    let files: Vec<String> = of_split
        .iter()
        .map(|&row| scores.rows[row].file.to_string())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut thresholds = vec![];
    for channel in &scores.channels {
        let runs = scores.of_split(&channel.scores, split);
        let slices: Vec<&[f64]> = runs.iter().map(Vec::as_slice).collect();
        let of_members: Vec<Vec<Vec<f64>>> =
            channel.members.iter().map(|member| scores.of_split(member, split)).collect();
        let rows = slices.iter().map(|run| run.len()).sum();
        // Combined scores are already computed from logarithms.
        let log = section.log && channel.name != COMBINED;
        let mut sample =
            if on == CalibrateOn::Scored { None } else { Sample::new(&runs, scores.events) };
        for threshold in &section.rules() {
            let fixed = matches!(threshold, ThresholdRule::Fixed { .. });
            let found = match on {
                CalibrateOn::Scored => vec![],
                _ if fixed => vec![],
                _ => {
                    let slices = |runs: &Vec<Vec<f64>>| {
                        threshold::value(
                            threshold,
                            log,
                            &runs.iter().map(Vec::as_slice).collect::<Vec<_>>(),
                        )
                    };
                    of_members.iter().map(slices).collect::<Result<Vec<_>>>()?
                }
            };
            let (value, rows, runs, rows_are, files) = match on {
                CalibrateOn::Scored if !fixed => (None, 0, 0, String::new(), vec![]),
                _ if fixed => {
                    (Some(threshold::value(threshold, log, &[])?), 0, 0, String::new(), vec![])
                }
                _ => (
                    Some(threshold::value(threshold, log, &slices)?),
                    rows,
                    slices.len(),
                    rows_are.clone(),
                    files.clone(),
                ),
            };
            let (channel, sample) = (channel.name.clone(), sample.take());
            thresholds.push(Calibrated {
                channel,
                threshold: *threshold,
                log,
                on,
                value,
                members: found,
                rows,
                runs,
                rows_are,
                files,
                sample,
            });
        }
    }
    Ok(thresholds)
}
