//! The main figures as PNG pictures, for slides and logs.

mod areas;
pub mod axes;
pub mod canvas;
mod maps;
mod runs;
mod training;

use super::{figures::Report, maps::Maps, runs::RunFigures};
use crate::{
    config::Experiment,
    error::{Error, Result},
    palette::{self, SOFT},
    score::scores::Scores,
    train::history::HistoryLine,
};
use canvas::{Area, Canvas, Mark, Style};
use std::collections::BTreeMap;

/// Width and height in pixels.
pub const SIZE: (usize, usize) = (1600, 900);
/// Runs with pictures of their own: those with most flags.
const MOST_RUNS: usize = 12;
/// Maximum number of curves with distinct colours.
const MOST_CURVES: usize = palette::SERIES;
/// Channels with a histogram in one picture.
const MOST_PANELS: usize = 12;

/// What pictures are made of.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The figures as numbers.
    pub report: &'a Report,
    /// The flagged scores.
    pub scores: &'a Scores,
    /// All epochs.
    pub history: &'a [HistoryLine],
    /// Maps, where the data can still be read and are maps.
    pub maps: Option<&'a Maps>,
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The file's name.
    pub name: String,
    /// The file.
    pub png: Vec<u8>,
}

/// All pictures there are numbers for.
pub fn pictures(figures: Figures<'_>) -> Result<Vec<Picture>> {
    let mut canvases: Vec<(String, Canvas)> = vec![];
    let mut add = |name: &str, canvas: Option<Canvas>| {
        canvases.extend(canvas.map(|canvas| (name.to_owned(), canvas)))
    };
    add("losses", figures.losses());
    add("errors", figures.errors());
    add("roc", figures.roc());
    add("auc", figures.areas());
    add("components", figures.components());
    let mut runs: Vec<&RunFigures> = figures.report.runs.iter().collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.flags()));
    for run in runs.into_iter().take(MOST_RUNS) {
        let name = file_name(&run.name);
        add(&format!("scores-{name}"), figures.run_scores(run));
        add(&format!("sum-{name}"), figures.run_sum(run));
        add(&format!("regions-{name}"), figures.run_regions(run));
    }
    canvases.extend(figures.worst_maps());
    let mut taken = BTreeMap::new();
    let picture = |(name, canvas): (String, Canvas)| {
        let times = taken.entry(name.clone()).and_modify(|times| *times += 1).or_insert(1);
        let name = if *times > 1 { format!("{name}-{times}.png") } else { format!("{name}.png") };
        Ok(Picture {
            png: canvas.to_png().map_err(|error| Error::failed(format!("{name}: {error}")))?,
            name,
        })
    };
    canvases.into_iter().map(picture).collect()
}

/// A run's name (a number, or a file's path) as a part of a file's name.
fn file_name(run: &str) -> String {
    run.chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect()
}

/// A picture with its title and what is said below that.
pub(crate) fn titled(title: &str, told: &str) -> Canvas {
    let mut canvas = Canvas::new(SIZE.0, SIZE.1);
    let room = SIZE.0 as f64 - 80.0;
    let bold = Style { bold: true, ..Style::of(32.0) };
    canvas.text((40.0, 42.0), &bold.fit(title, room), bold);
    let plain = Style::of(20.0).colour(SOFT);
    canvas.text((40.0, 84.0), &plain.fit(told, room), plain);
    canvas
}

/// Where the one panel of a picture lies.
pub(crate) const WHOLE: Area =
    Area { left: 150.0, top: 160.0, right: SIZE.0 as f64 - 40.0, bottom: SIZE.1 as f64 - 90.0 };

/// What is what, below the title; returns where the picture itself may begin.
pub(crate) fn legend(canvas: &mut Canvas, entries: &[(Mark, String)]) -> f64 {
    canvas.legend(Area { left: 40.0, top: 108.0, ..WHOLE }, entries) + 16.0
}

/// Values without the gaps between neighbours that are not one apart.
fn pieces(points: &[(u32, f64)]) -> impl Iterator<Item = Vec<(f64, f64)>> {
    points
        .chunk_by(|a, b| b.0 == a.0.saturating_add(1))
        .map(|piece| piece.iter().map(|(x, y)| (f64::from(*x), *y)).collect())
}

impl Figures<'_> {
    /// "test rows" or "all rows".
    fn rows(&self) -> String {
        format!("{} rows", self.report.on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::palette::{FLAGGED, GOOD, INPUT, OUTPUT, PAPER, THRESHOLD, TRAIN, VALID};
    use crate::{
        prepare::split::Split,
        score::{channel_scores::ChannelScores, row::ScoredRow},
        train::Epoch,
    };
    use serde_json::json;
    use std::collections::BTreeSet;
    use std::io::Read;

    fn report(log_cut: f64, runs: serde_json::Value) -> Report {
        let channel = json!({
            "name": "all", "features": 4, "shape": "4 → 2 → 4", "parameters": 22, "errors": "mean",
            "training": {"loss": "mse", "epochs": 3, "kept_epoch": 2, "stopped": "all epochs done", "train_loss": 0.1, "valid_loss": null,
                "best_valid_loss": null, "seconds": 1.0},
            "mean_field_error": {"sum": 1.0, "mean": 0.25}, "ae_error": {"sum": 0.5, "mean": 0.125}, "log_cut": log_cut, "bad": null, "svm": null,
            "log_ratios": {"quantity": "ln(score / mean-field error)", "low": -1.0, "high": -1.0,
                "groups": [{"name": "all", "rows": 1, "shares": [1.0, 0.0]}, {"name": "bad", "rows": 0, "shares": [0.0, 0.0]}]},
        });
        serde_json::from_value(json!({
            "name": "made", "version": "0", "device": "cpu", "seed": 1, "score": "mse", "on": "test", "channels": [channel],
            "data": {"element": null, "bins": 4, "shape": {"y": 1, "x": 4}, "features": false, "events": false, "flow_bins": false,
                "train": 1, "valid": 1, "test": 1, "unused": 0, "not_evaluated": []},
            "thresholds": [{"channel": "all", "kind": "percentile", "percentile": 99.0, "smooth": 1, "log": false, "on": "valid", "value": 1.0,
                "rows": 10, "runs": 1, "files": []}],
            "false_alarms": null, "auc": [], "worst": [], "runs": runs, "warnings": [],
        }))
        .unwrap()
    }

    fn scores(values: &[(u32, f64)], threshold: f64) -> Scores {
        let row = |ls: u32| ScoredRow {
            split: Split::Test,
            file: "a/b.csv".into(),
            run: None,
            ls: Some(ls),
            weight: None,
            rejected: None,
            class: None,
            labels: [].into(),
        };
        let channel = ChannelScores {
            name: "all".into(),
            scores: values.iter().map(|(_, score)| Some(*score)).collect(),
            thresholds: values.iter().map(|_| Some(threshold)).collect(),
            ..ChannelScores::default()
        };
        Scores {
            rows: values.iter().map(|(ls, _)| row(*ls)).collect(),
            channels: vec![channel],
            ..Scores::default()
        }
    }

    fn run(name: &str, flagged: &[u32], sums: Option<[[f64; 4]; 2]>) -> serde_json::Value {
        json!({"name": name, "run": null, "ls": [1, 5], "evaluated": 5, "not_evaluated": 0, "gaps": 0, "sum": sums.map(|sums| sums[0]),
            "flagged": [{"threshold": "p99", "value": 1.0, "ls": flagged, "sum_without": sums.map(|sums| sums[1])}]})
    }

    fn drawn(report: &Report, scores: &Scores, history: &[HistoryLine]) -> Vec<Picture> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("made.toml");
        std::fs::write(&path, "data.train = [\"a.csv\"]").unwrap();
        let experiment = Experiment::load(&path, &[]).unwrap();
        pictures(Figures { experiment: &experiment, report, scores, history, maps: None }).unwrap()
    }

    fn names(pictures: &[Picture]) -> Vec<&str> {
        pictures.iter().map(|picture| picture.name.as_str()).collect()
    }

    /// Colours of a picture, read back from its file.
    fn colours(png: &[u8]) -> BTreeSet<Vec<u8>> {
        assert_eq!(&png[..16], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((number(16), number(20)), SIZE);
        let mut lines = vec![];
        flate2::read::ZlibDecoder::new(&png[41..41 + number(33)]).read_to_end(&mut lines).unwrap();
        assert_eq!(lines.len(), SIZE.1 * (SIZE.0 * 3 + 1));
        let mut above = vec![0_u8; SIZE.0 * 3];
        let mut colours = BTreeSet::new();
        for line in lines.chunks_exact(SIZE.0 * 3 + 1) {
            assert_eq!(line[0], 2);
            above
                .iter_mut()
                .zip(&line[1..])
                .for_each(|(value, difference)| *value = value.wrapping_add(*difference));
            colours.extend(above.chunks_exact(3).map(<[u8]>::to_vec));
        }
        colours
    }

    #[test]
    fn pictures_are_whole_and_show_what_they_name() {
        let sums = Some([[10.0, 100.0, 0.0, 5.0], [9.0, 60.0, 0.0, 0.0]]);
        let report = report(0.5, json!([run("a/b.csv", &[5], sums)]));
        let epoch = |epoch: u32| Epoch {
            epoch,
            train_loss: 1.0 / f64::from(epoch),
            valid_loss: Some(0.5),
            learning_rate: 0.1,
            seconds: 1.0,
            penalty: None,
        };
        let history: Vec<HistoryLine> = (1..=3)
            .map(|at| HistoryLine { channel: "all".into(), member: 0, epoch: epoch(at) })
            .collect();
        let pictures =
            drawn(&report, &scores(&[(1, 0.1), (2, 0.2), (4, 0.1), (5, 3.0)], 1.0), &history);
        assert_eq!(
            names(&pictures),
            ["losses.png", "errors.png", "scores-a_b.csv.png", "sum-a_b.csv.png"]
        );
        for (picture, shown) in pictures.iter().zip([
            [TRAIN, VALID],
            [GOOD, THRESHOLD],
            [GOOD, FLAGGED],
            [INPUT, OUTPUT],
        ]) {
            let found = colours(&picture.png);
            assert!(
                shown.iter().all(|colour| found.contains(colour.as_slice()))
                    && found.contains(PAPER.as_slice()),
                "{}",
                picture.name
            );
        }
    }

    #[test]
    fn little_or_senseless_data_are_no_failure() {
        let no_flags = json!([run("a/b.csv", &[], None)]);
        for (values, threshold) in [
            (vec![(1, 0.5)], 1.0),
            (vec![(1, f64::NAN), (2, f64::INFINITY)], f64::NAN),
            (vec![(1, 0.0), (u32::MAX, 0.0)], 0.0),
            (vec![(7, 1e308), (8, -1e308), (9, 1e-320)], f64::INFINITY),
            (vec![], 1.0),
        ] {
            let drawn =
                drawn(&report(f64::NAN, no_flags.clone()), &scores(&values, threshold), &[]);
            let least = usize::from(values.iter().any(|(_, score)| score.is_finite()));
            assert!(
                drawn.len() > least
                    && !names(&drawn)
                        .iter()
                        .any(|name| name.starts_with("sum-") || name.starts_with("losses")),
                "{values:?}"
            );
        }
        let senseless = Epoch {
            epoch: 1,
            train_loss: f64::NAN,
            valid_loss: Some(0.0),
            learning_rate: 0.0,
            seconds: 0.0,
            penalty: None,
        };
        let history = [HistoryLine { channel: "all".into(), member: 0, epoch: senseless }];
        assert_eq!(
            names(&drawn(&report(0.0, json!([])), &Scores::default(), &history)),
            ["losses.png", "errors.png"]
        );
    }

    #[test]
    fn two_runs_whose_names_become_one_have_a_file_each() {
        let runs = json!([run("a/b.csv", &[1], None), run("a_b.csv", &[], None)]);
        let mut both = scores(&[(1, 2.0), (2, 0.1)], 1.0);
        both.rows[1].file = "a_b.csv".into();
        assert_eq!(
            names(&drawn(&report(0.0, runs), &both, &[])),
            ["errors.png", "scores-a_b.csv.png", "scores-a_b.csv-2.png"]
        );
    }
}
