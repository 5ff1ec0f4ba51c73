//! The program as users run it, from made data to an experiment folder and back.

use crate::common::{PROGRAM, config, metsig, report, run, scores, succeed};
use lumisift::score::verdict::Verdict;
use std::{fs, path::Path};

const SHORT: &[&str] = &["--set", "train.epochs=3", "-q"];

fn train(folder: &Path, out: &str, more: &[&str]) -> String {
    let config = config("metsig.toml");
    let data =
        ["--set", "data.train=[\"good.csv\"]", "--set", "data.test=[\"bad1.csv\",\"bad2.csv\"]"];
    succeed(folder, &[&["train", config.as_str(), "--out", out], &data[..], more].concat())
}

#[test]
fn a_training_leaves_a_whole_folder_that_scores_alike() {
    let place = metsig("0.2");
    let folder = place.path();
    train(folder, "first", SHORT);
    for file in [
        "experiment.toml",
        "provenance.json",
        "history.csv",
        "scores.parquet",
        "scaler.json",
        "thresholds.json",
        "channels.json",
        "report.json",
        "model/all.safetensors",
    ] {
        assert!(folder.join("first").join(file).is_file(), "{file}");
    }
    let history = fs::read_to_string(folder.join("first/history.csv")).unwrap();
    assert!(
        history.starts_with("epoch,channel,train_loss,valid_loss,learning_rate,seconds\n1,all,0."),
        "{history}"
    );
    assert_eq!(history.lines().count(), 4);

    succeed(
        folder,
        &["score", "first", "--data", "bad1.csv", "bad2.csv", "--out", "again.parquet", "-q"],
    );
    let (of_training, alone) = (
        scores(&folder.join("first")),
        lumisift::score::scores::Scores::read(&folder.join("again.parquet")).unwrap(),
    );
    let bad: Vec<usize> = (0..of_training.rows.len())
        .filter(|&row| of_training.rows[row].file.starts_with("bad"))
        .collect();
    assert_eq!(alone, of_training.pick(&bad), "scoring the same files later gives the same rows");

    succeed(folder, &["score", "first", "--data", "bad1.csv", "--out", "again.csv", "-q"]);
    assert!(fs::read_to_string(folder.join("again.csv")).unwrap().starts_with(
        "split,file,run,ls,channel,score,threshold,flagged,verdict,reason,log_ratio\n"
    ));
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_threads() {
    let place = metsig("0.3");
    let config = config("metsig.toml");
    for (out, threads) in [("one", "1"), ("two", "2"), ("four", "4")] {
        let data = [
            "--set",
            "data.train=[\"good.csv\"]",
            "--set",
            "data.test=[\"bad1.csv\"]",
            "--set",
            "train.batch_size=300",
            "--set",
            "model.hidden=[300, 200]",
        ];
        let arguments = [&["train", config.as_str(), "--out", out], &data[..], SHORT].concat();
        let output = crate::common::lumisift()
            .current_dir(place.path())
            .env("RAYON_NUM_THREADS", threads)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for file in ["scores.parquet", "model/all.safetensors", "scaler.json", "thresholds.json"] {
        let bytes = |out: &str| fs::read(place.path().join(out).join(file)).unwrap();
        assert_eq!(bytes("one"), bytes("two"), "{file}");
        assert_eq!(bytes("one"), bytes("four"), "{file}");
    }
}

#[test]
fn the_resolved_config_repeats_the_experiment() {
    let place = metsig("0.2");
    train(place.path(), "first", SHORT);
    succeed(place.path(), &["train", "first/experiment.toml", "--out", "second", "-q"]);
    let bytes = |out: &str, file: &str| fs::read(place.path().join(out).join(file)).unwrap();
    for file in ["experiment.toml", "scores.parquet", "model/all.safetensors"] {
        assert_eq!(bytes("first", file), bytes("second", file), "{file}");
    }
}

#[test]
fn another_seed_gives_other_weights() {
    let place = metsig("0.2");
    train(place.path(), "first", SHORT);
    train(place.path(), "second", &[SHORT, &["--set", "seed=2"]].concat());
    let bytes = |out: &str| fs::read(place.path().join(out).join("model/all.safetensors")).unwrap();
    assert_ne!(bytes("first"), bytes("second"));
}

#[test]
fn known_anomalies_are_found_and_the_cleaned_sum_goes_by_ls_number() {
    let place = metsig("1");
    let folder = place.path();
    train(folder, "sound", &["-q"]);
    let out = succeed(
        folder,
        &[
            "score",
            "sound",
            "--data",
            "bad1.csv",
            "bad2.csv",
            "--truth",
            "truth.csv",
            "--out",
            "s.parquet",
            "-q",
        ],
    );
    for found in ["4 of 4", "3 of 3", "12 of 12"] {
        assert!(out.contains(found), "{found} in\n{out}");
    }
    let report = report(&folder.join("sound"));
    let bad1 = report.runs.iter().find(|run| run.name == "bad1.csv").unwrap();
    assert_eq!((bad1.not_evaluated, bad1.gaps), (5, 0), "empties are counted, not taken for gaps");
    // The sum without the flagged LSs, straight from the file.
    let text = fs::read_to_string(folder.join("bad1.csv")).unwrap();
    let mut sum = vec![0.0; 53];
    for line in text.lines().skip(1) {
        let (ls, bins) = line.split_once(';').unwrap();
        if !bad1.flagged[0].ls.contains(&ls.parse().unwrap()) {
            bins.trim_matches(['[', ']'])
                .split(',')
                .zip(&mut sum)
                .for_each(|(bin, sum)| *sum += bin.parse::<f64>().unwrap());
        }
    }
    assert_eq!(bad1.flagged[0].sum_without.as_ref().unwrap(), &sum);
}

#[test]
fn empty_lumisections_are_not_evaluated_and_never_good() {
    let place = metsig("0.2");
    let good = fs::read_to_string(place.path().join("bad1.csv")).unwrap();
    let empty = format!("[{}]", ["0"; 53].join(","));
    let text: String =
        good.lines()
            .map(|line| {
                if line.starts_with("100;") {
                    format!("100;{empty}\n")
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
    fs::write(place.path().join("bad1.csv"), text).unwrap();
    train(place.path(), "sound", SHORT);
    let scores = scores(&place.path().join("sound"));
    let at =
        scores.rows.iter().position(|row| *row.file == *"bad1.csv" && row.ls == Some(100)).unwrap();
    let channel = scores.main().unwrap();
    assert_eq!(
        (channel.scores[at], channel.flagged(at), channel.verdict(at)),
        (None, None, Verdict::NotEvaluated)
    );
    assert_eq!(scores.rows[at].rejected.as_deref(), Some("empty (interior)"));
}

#[test]
fn calibrating_anew_changes_thresholds_and_flags() {
    let place = metsig("0.3");
    let folder = place.path();
    train(folder, "sound", SHORT);
    let before = report(&folder.join("sound")).thresholds[0].value.unwrap();
    succeed(folder, &["synth", "metsig", "other", "--seed", "9", "--size", "0.3", "-q"]);
    let out = succeed(
        folder,
        &[
            "calibrate",
            "sound",
            "--data",
            "other/good.csv",
            "--set",
            "threshold.percentile=50",
            "-q",
        ],
    );
    assert!(out.contains("50th percentile of the score"), "{out}");
    let channel = scores(&folder.join("sound")).main().unwrap().clone();
    let after = channel.thresholds.iter().find_map(|threshold| *threshold).unwrap();
    assert!(after < before, "{after} {before}");
    assert!(
        (0..channel.scores.len()).filter(|&row| channel.flagged(row) == Some(true)).count() > 100
    );
    succeed(folder, &["report", "sound", "-q"]);
    let report = report(&folder.join("sound"));
    assert_eq!(report.thresholds[0].value, Some(after));
    assert!(report.thresholds[0].files[0].ends_with("other/good.csv"));
}

#[test]
fn json_is_json_and_everything_else_goes_to_standard_error() {
    let place = metsig("0.2");
    let folder = place.path();
    let is_json = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text)
            .unwrap_or_else(|error| panic!("{error}:\n{text}"))
    };
    is_json(&train(folder, "a", &["--set", "train.epochs=2", "--format", "json"]));
    train(folder, "b", SHORT);
    is_json(&succeed(folder, &["inspect", "good.csv", "--format", "json"]));
    is_json(&succeed(folder, &["compare", "a", "b", "--format", "json"]));
    is_json(&succeed(folder, &["report", "a", "--format", "json"]));
    is_json(&succeed(folder, &["devices", "--format", "json"]));
    is_json(&succeed(folder, &["schema"]));
    is_json(&succeed(folder, &["check", "a/experiment.toml", "--format", "json"]));
    assert!(succeed(folder, &["completions", "bash"]).contains("_lumisift"));
    assert!(succeed(folder, &["compare", "a", "b"]).contains("53-64-8-64-53"));
}

#[test]
fn off_a_terminal_progress_is_plain_lines() {
    let place = metsig("0.2");
    let config = config("metsig.toml");
    let (code, _, err) = run(
        place.path(),
        &[
            "train",
            &config,
            "--out",
            "a",
            "--set",
            "data.train=[\"good.csv\"]",
            "--set",
            "data.test=[]",
            "--set",
            "train.epochs=4",
        ],
    );
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("epoch 1/4: loss 0.") && err.contains("epoch 4/4: loss 0."), "{err}");
    assert!(!err.contains('\u{1b}') && !err.contains('\r'), "{err:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = metsig("0.2");
    let output = std::process::Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {PROGRAM} schema | head -c 10")])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_model_goes_out_and_comes_in_again() {
    let place = metsig("0.2");
    let folder = place.path();
    train(folder, "first", SHORT);
    succeed(folder, &["export", "first", "safetensors", "--out", "weights.safetensors"]);
    assert_eq!(
        run(folder, &["export", "first", "safetensors", "--out", "weights.safetensors"]).0,
        2,
        "an existing file is not replaced"
    );
    train(
        folder,
        "second",
        &["--set", "train.epochs=0", "--set", "train.init=\"weights.safetensors\"", "-q"],
    );
    let bytes = |out: &str| fs::read(folder.join(out).join("model/all.safetensors")).unwrap();
    assert_eq!(bytes("first"), bytes("second"));
}

#[test]
fn the_exported_weights_give_the_same_scores_in_python() {
    let Some(python) = crate::common::python("numpy, pyarrow and safetensors") else { return };
    let place = metsig("0.2");
    train(
        place.path(),
        "first",
        &["--set", "train.epochs=5", "--set", "model.output_activation=\"sigmoid\"", "-q"],
    );
    let script = crate::common::root().join("scripts/reference/check_scores.py");
    let output = std::process::Command::new(python)
        .arg(script)
        .args(["first", "bad1.csv", "bad2.csv"])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
