//! Event files, read by TensorBoard's own reader.

use crate::common::{config, lumisift, metsig, root, succeed};
use lumisift::{
    data::channels::COMBINED, files::folder::Folder, score::scores::Scores,
    train::history::HistoryLine,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

/// A Python with TensorBoard; says so where there is none.
fn python() -> Option<PathBuf> {
    let python = std::env::var("LUMISIFT_PYTHON")
        .map_or_else(|_| root().join(".venv/test/bin/python"), PathBuf::from);
    let there = std::process::Command::new(&python)
        .args(["-c", "import tensorboard"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        crate::common::skipped(&format!(
            "{} is no Python with tensorboard (scripts/test makes one; LUMISIFT_PYTHON names another)",
            python.display()
        ));
    }
    there.then_some(python)
}

/// What TensorBoard finds in an experiment folder, by run: scalars as [step, value], histograms as
/// [step, [edges and counts]], hyperparameters and the tags of the session.
fn read(python: &Path, experiment: &Path) -> Value {
    let script = root().join("scripts/reference/read_events.py");
    let output = std::process::Command::new(python)
        .arg(script)
        .arg(experiment.join("tensorboard"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn train(folder: &Path, out: &str, sets: &[&str], more: &[&str]) -> std::process::Command {
    let mut command = lumisift();
    command
        .current_dir(folder)
        .args(["train", &config("metsig.toml"), "--out", out, "-q"])
        .args(more);
    for set in
        ["data.train=[\"good.csv\"]", "data.test=[\"bad1.csv\"]", "train.checkpoint.epochs=1"]
            .iter()
            .chain(sets)
    {
        command.args(["--set", set]);
    }
    command
}

/// What a line of history.csv says under a tag.
type Number = fn(&HistoryLine) -> Option<f64>;

/// Each number of history.csv is in the files, once and in its order, as single precision.
fn same_as_history(events: &Value, history: &[HistoryLine]) {
    for run in events.as_object().unwrap().keys().filter(|run| *run != COMBINED) {
        let (channel, member) =
            run.split_once(".member-").map_or((run.as_str(), 0), |(channel, member)| {
                (channel, member.parse::<usize>().unwrap() - 1)
            });
        let lines: Vec<&HistoryLine> = history
            .iter()
            .filter(|line| line.channel.replace('/', "_") == channel && line.member == member)
            .collect();
        assert!(!lines.is_empty(), "{run}");
        let numbers: [(&str, Number); 4] = [
            ("loss/train", |line| Some(line.epoch.train_loss)),
            ("loss/valid", |line| line.epoch.valid_loss),
            ("learning_rate", |line| Some(line.epoch.learning_rate)),
            ("seconds", |line| Some(line.epoch.seconds)),
        ];
        for (tag, number) in numbers {
            let wanted: Vec<(u32, f64)> =
                lines.iter().filter_map(|line| Some((line.epoch.epoch, number(line)?))).collect();
            let found = events[run]["scalars"][tag].as_array().map_or(&[][..], Vec::as_slice);
            assert_eq!(found.len(), wanted.len(), "{run} {tag}");
            for (point, (epoch, wanted)) in found.iter().zip(wanted) {
                assert_eq!(point[0], epoch, "{run} {tag}");
                let found = point[1].as_f64().unwrap();
                // history.csv keeps microseconds.
                let close = if tag == "seconds" {
                    (found - wanted).abs() < 1e-6
                } else {
                    found as f32 == wanted as f32
                };
                assert!(close, "{run} {tag}: {found}, not {wanted}");
            }
        }
    }
}

#[test]
fn tensorboard_reads_what_history_and_scores_say() {
    let Some(python) = python() else { return };
    let place = metsig("0.3");
    let out = place.path().join("out");
    assert!(
        train(
            place.path(),
            "out",
            &["train.epochs=7", "train.ensemble=2", "model.hidden=[20, 10]"],
            &[]
        )
        .status()
        .unwrap()
        .success()
    );
    let events = read(&python, &out);
    let history = Folder::open(&out).unwrap().read_history().unwrap();
    assert_eq!(events.as_object().unwrap().keys().collect::<Vec<_>>(), ["all", "all.member-2"]);
    same_as_history(&events, &history);
    let of = &events["all"];
    assert_eq!(of["hyperparameters"]["train.epochs"], 7.0);
    assert_eq!(of["hyperparameters"]["model.hidden"], "[20, 10]");
    assert_eq!(of["hyperparameters"]["model.activation"], "relu");
    assert_eq!(of["hyperparameters"]["train.shuffle"], true);
    assert_eq!(
        (&of["hyperparameters"]["member"], &events["all.member-2"]["hyperparameters"]["member"]),
        (&1.0.into(), &2.0.into())
    );
    assert_eq!(of["ended"], true);
    let kept = of["scalars"]["final/kept epoch"][0][1].as_f64().unwrap();
    let valid = history
        .iter()
        .find(|line| line.member == 0 && f64::from(line.epoch.epoch) == kept)
        .unwrap()
        .epoch
        .valid_loss
        .unwrap();
    assert_eq!(of["scalars"]["final/valid loss"][0][1].as_f64().unwrap() as f32, valid as f32);

    // Counts of the histograms are those of the rows.
    let scores = Scores::read(&out.join("scores.parquet")).unwrap();
    let mut found = 0;
    for (tag, points) in of["histograms"].as_object().unwrap() {
        let split = tag.strip_prefix("ln score/").unwrap();
        let rows = scores
            .rows
            .iter()
            .filter(|row| row.rejected.is_none() && row.split.name() == split)
            .count();
        let bins = points[0][1].as_array().unwrap();
        assert_eq!(
            bins.iter().map(|bin| bin[2].as_f64().unwrap()).sum::<f64>(),
            rows as f64,
            "{tag}"
        );
        assert!(bins.iter().all(|bin| bin[0].as_f64() <= bin[1].as_f64()), "{tag}");
        assert_eq!(points[0][0], kept, "{tag}");
        found += 1;
    }
    assert_eq!(found, 3, "train, valid and test rows");

    assert!(
        train(place.path(), "out", &["train.epochs=2", "report.tensorboard=false"], &["--force"])
            .status()
            .unwrap()
            .success()
    );
    assert!(
        !out.join("tensorboard").exists(),
        "--force removes the old files, and none are written where none are wanted"
    );
}

#[test]
fn labels_and_channels_have_their_own_histograms_and_figures() {
    let Some(python) = python() else { return };
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &["synth", "cms2010b", ".", "--rows", "800", "-q"]);
    let config = config("cms2010b-notebook.toml");
    let mut arguments = vec!["train", &config, "--out", "out", "-q"];
    let sets = [
        "data.train=[\"features.parquet\"]",
        "labels.good=\"labels.npy\"",
        "labels.subsystems.folder=\"Quality2010\"",
        "train.epochs=3",
    ];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    succeed(place.path(), &arguments);
    let out = place.path().join("out");
    let (events, report) = (read(&python, &out), crate::common::report(&out));
    same_as_history(&events, &Folder::open(&out).unwrap().read_history().unwrap());
    assert_eq!(
        events.as_object().unwrap().len(),
        report.channels.len() + 1,
        "one run a channel, and one for all together"
    );
    let mut areas = 0;
    for area in report.auc.iter().filter(|area| area.auc.is_some()) {
        let found = &events[area.channel.replace('/', "_")]["scalars"]
            [format!("final/AUC {}", area.labels)][0][1];
        assert_eq!(
            found.as_f64().unwrap() as f32,
            area.auc.unwrap() as f32,
            "{} {}",
            area.channel,
            area.labels
        );
        areas += 1;
    }
    assert!(areas > 1);
    // This config trains on all good rows and leaves the bad ones out.
    let tags: Vec<&String> = events[COMBINED]["histograms"].as_object().unwrap().keys().collect();
    assert_eq!(tags, ["score/train", "score/train good", "score/unused", "score/unused bad"]);
}

#[test]
fn killed_trainings_leave_files_that_are_read_and_go_on_with_each_epoch_once() {
    let Some(python) = python() else { return };
    let place = metsig("0.5");
    let (out, sets) = (
        place.path().join("out"),
        [
            "train.epochs=120",
            "train.ensemble=2",
            "model.hidden=[200, 100]",
            "train.stop.patience=200",
        ],
    );
    let file = out.join("tensorboard/all/events.out.tfevents.0000000000.lumisift");
    for round in 1..=2 {
        let mut child = train(place.path(), "out", &sets, &["--resume"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let clock = Instant::now();
        let lines =
            || fs::read_to_string(out.join("history.csv")).map_or(0, |text| text.lines().count());
        while lines() < 30 * round {
            assert!(
                clock.elapsed() < Duration::from_secs(300) && child.try_wait().unwrap().is_none(),
                "{}",
                lines()
            );
            sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // A kill in the middle of a record.
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
        let events = read(&python, &out);
        let found = events["all"]["scalars"]["loss/train"].as_array().unwrap();
        let whole = Folder::open(&out)
            .unwrap()
            .read_history()
            .unwrap()
            .iter()
            .filter(|line| line.member == 0)
            .count();
        assert!(found.len() + 1 == whole || found.len() == whole, "{} of {whole}", found.len());
        assert_eq!(events["all"]["ended"], false);
    }
    assert!(train(place.path(), "out", &sets, &["--resume"]).status().unwrap().success());
    let events = read(&python, &out);
    same_as_history(&events, &Folder::open(&out).unwrap().read_history().unwrap());
    assert_eq!(events["all"]["scalars"]["loss/train"].as_array().unwrap().len(), 120);
    assert_eq!(events["all"]["ended"], true);
}
