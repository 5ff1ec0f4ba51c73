//! New data unlike those of training are told, and data like them are not; a score that goes with
//! luminosity is told. Missing inputs are counted, filled or left out, and cost neither rows nor
//! much of what scores tell.

use crate::common::{report, run, succeed};
use lumisift::random;
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, ops::Range, path::Path};

const BINS: usize = 24;

fn normal(chance: &mut impl Rng) -> f64 {
    (0..12).map(|_| chance.random_range(0.0..1.0)).sum::<f64>() - 6.0
}

/// Histograms of some runs, whose shapes differ from run to run; `slope` tilts them all, bin `dead`
/// is empty. A column is a luminosity that falls in each run, and `noise` grows with it by so much.
fn write(path: &Path, runs: Range<u32>, slope: f64, dead: Option<usize>, noise: f64) {
    let mut text = "run_number,ls_number,lumi,data\n".to_owned();
    for number in runs {
        let mut chance = random::generator(u64::from(number), "run", 0);
        let own: Vec<f64> = (0..3).map(|_| normal(&mut chance)).collect();
        for ls in 1..=60 {
            let lumi = 2.0 - f64::from(ls) / 60.0 + 0.02 * normal(&mut chance);
            let mut bin = |bin: usize| {
                let x = bin as f64 / BINS as f64;
                let wave = 0.04 * own[0] * (3.0 * x).sin()
                    + 0.04 * own[1] * (5.0 * x).cos()
                    + 0.02 * own[2] * x;
                let mean = 2000.0 * (0.5 + x * (1.0 - x)) * (1.0 + wave + slope * (x - 0.5));
                let spread = mean.sqrt() * (1.0 + noise * (lumi - 1.0));
                if dead == Some(bin) {
                    0.0
                } else {
                    (mean + spread * normal(&mut chance)).round().max(0.0)
                }
            };
            let bins: Vec<String> = (0..BINS).map(|at| bin(at).to_string()).collect();
            let _ = writeln!(text, "{number},{ls},{lumi:.4},\"[{}]\"", bins.join(","));
        }
    }
    fs::write(path, text).unwrap();
}

const CONFIG: &str = r#"
data = { train = ["train.csv"], test = ["test.csv"] }
scale.kind = ["unit-area", "standard"]
split = { by = "run", valid = 0.3 }
model = { hidden = [16], latent = 4 }
train = { epochs = 60, batch_size = 32 }
report = { beside = ["lumi"], projections = [], tensorboard = false }
"#;

/// Trains on some runs; the same luminosity everywhere has nothing to do with scores unless `noise`
/// says so.
fn train(place: &Path, noise: f64) {
    write(&place.join("train.csv"), 1000..1040, 0.0, None, noise);
    write(&place.join("test.csv"), 2000..2010, 0.0, None, noise);
    fs::write(place.join("config.toml"), CONFIG).unwrap();
    succeed(place, &["train", "config.toml", "--out", "out", "-q"]);
}

/// What `score` says of a file.
fn score(place: &Path, file: &str) -> Value {
    serde_json::from_str(&succeed(
        place,
        &["score", "out", "--data", file, "--out", "scores.parquet", "--format", "json", "-q"],
    ))
    .unwrap()
}

/// Warnings that new data are unlike those of training.
fn drift(report: &Value) -> Vec<&str> {
    let warnings =
        report["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap());
    warnings
        .filter(|warning| {
            ["are outside", "scores are", "unlike"].iter().any(|words| warning.contains(words))
        })
        .collect()
}

#[test]
fn data_like_the_training_are_no_drift_and_others_are_told_with_their_features() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    train(place, 0.0);
    // Many runs, a few, one: none of them was trained on, all are of the same kind.
    for (i, runs) in
        [3000..3020, 3100..3103, 3200..3201, 3300..3301, 3400..3401].into_iter().enumerate()
    {
        write(&place.join("like.csv"), runs, 0.0, None, 0.0);
        let like = score(place, "like.csv");
        assert!(drift(&like).is_empty(), "{i}: {}", like["warnings"]);
        assert!(
            like["drift"]["scores"]["limit"].as_f64().unwrap() >= 0.2
                && like["drift"]["inputs"][0]["channel"] == "all",
            "{}",
            like["drift"]
        );
    }

    write(&place.join("tilted.csv"), 4000..4010, 0.6, None, 0.0);
    let tilted = score(place, "tilted.csv");
    let told = drift(&tilted);
    assert!(
        told.len() == 3
            && told[0].contains("are outside the ranges of the training rows")
            && told[1].contains("scores are higher"),
        "{told:?}"
    );
    assert!(told[2].contains("`lumisift calibrate`"), "{told:?}");

    write(&place.join("dead.csv"), 4100..4110, 0.0, Some(7), 0.0);
    let dead = score(place, "dead.csv");
    assert!(drift(&dead)[0].contains("most of all bin_7 (100 % of rows)"), "{}", dead["warnings"]);
    let text = succeed(place, &["score", "out", "--data", "dead.csv", "--out", "scores.parquet"]);
    assert!(text.contains("bin_7 (100 % of rows)"), "{text}");

    // Thresholds set on such data are for such data; their inputs are still unlike those of
    // training.
    succeed(place, &["calibrate", "out", "--data", "tilted.csv", "-q"]);
    write(&place.join("more.csv"), 4200..4210, 0.6, None, 0.0);
    let more = score(place, "more.csv");
    assert!(
        drift(&more).iter().all(|warning| !warning.contains("scores are"))
            && drift(&more)[0].contains("are outside"),
        "{}",
        more["warnings"]
    );
    assert!(
        !fs::read_to_string(place.join("out/report.json")).unwrap().contains("quantiles"),
        "what is kept to compare with is in thresholds.json alone"
    );
}

#[test]
fn a_folder_of_an_earlier_version_says_nothing_of_ranges_and_still_scores() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    train(place, 0.0);
    write(&place.join("tilted.csv"), 4000..4003, 0.6, None, 0.0);
    for (file, keys) in
        [("channels.json", &["unscaled", "outside"][..]), ("thresholds.json", &["sample"])]
    {
        let path = place.join("out").join(file);
        let mut entries: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for entry in entries.as_array_mut().unwrap() {
            keys.iter().for_each(|key| {
                assert!(entry.as_object_mut().unwrap().remove(*key).is_some(), "{file}: {key}")
            });
        }
        fs::write(path, entries.to_string()).unwrap();
    }
    let tilted = score(place, "tilted.csv");
    assert!(
        drift(&tilted).is_empty() && tilted["drift"] == json!({"inputs": [], "scores": null}),
        "{}",
        tilted["drift"]
    );
}

#[test]
fn a_score_that_goes_with_luminosity_is_told() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    train(place, 0.0);
    let sound = report(&place.join("out"));
    assert!(
        sound.beside[0].name == "lumi"
            && sound.beside[0].rows == 600
            && sound.beside[0].correlation.abs() < 0.3,
        "{:?}",
        sound.beside
    );
    assert!(
        !sound.warnings.iter().any(|warning| warning.contains("the score correlates with")),
        "{:?}",
        sound.warnings
    );

    fs::remove_dir_all(place.join("out")).unwrap();
    train(place, 3.0);
    let noisy = report(&place.join("out"));
    assert!(noisy.beside[0].correlation > 0.5, "{:?}", noisy.beside);
    assert!(
        noisy
            .warnings
            .iter()
            .any(|warning| warning
                .starts_with("the score correlates with lumi (rank correlation +0.")),
        "{:?}",
        noisy.warnings
    );
    let (code, text, _) =
        run(place, &["score", "out", "--data", "test.csv", "--out", "scores.parquet"]);
    assert!(code == 0 && text.contains("rank correlation of score and lumi: +0."), "{text}");
}

/// A table of features that go by three numbers a row, and in bad rows (of test runs) not. What
/// `cell` gives instead of a number is written in its place.
fn write_features(
    path: &Path,
    runs: Range<u32>,
    features: usize,
    bad: bool,
    cell: &dyn Fn(usize, usize) -> Option<&'static str>,
) {
    let names: Vec<String> = (0..features).map(|at| format!("f{at}")).collect();
    let mut text = format!("run_number,ls_number,good,{}\n", names.join(","));
    let mut row = 0;
    for number in runs {
        let mut chance = random::generator(u64::from(number), "features", 0);
        for ls in 1..=50 {
            let is_bad = bad && ls % 5 == 0;
            let own: Vec<f64> = (0..3).map(|_| normal(&mut chance)).collect();
            let mut value = |at: usize| {
                let along =
                    (0..3).map(|i| own[i] * (1.0 + at as f64 * (i + 1) as f64).sin()).sum::<f64>();
                let off = if is_bad { 0.8 * normal(&mut chance) } else { 0.0 };
                20.0 + 3.0 * (along + off) + 0.3 * normal(&mut chance)
            };
            let values: Vec<f64> = (0..features).map(&mut value).collect();
            let cells = values.iter().enumerate().map(|(at, value)| {
                cell(row, at).map_or_else(|| format!("{value:.3}"), str::to_owned)
            });
            let _ = writeln!(
                text,
                "{number},{ls},{},{}",
                u8::from(!is_bad),
                cells.collect::<Vec<_>>().join(",")
            );
            row += 1;
        }
    }
    fs::write(path, text).unwrap();
}

/// Whether a cell is one of a share of them, which are the same every time.
fn hit(row: usize, at: usize, share: f64) -> bool {
    random::generator(row as u64, "holes", at as u64).random_bool(share)
}

const FEATURES: &str = r#"
data = { train = ["train.csv"], test = ["test.csv"] }
labels.good = "good"
scale.kind = "standard"
split = { by = "run", valid = 0.3 }
model = { hidden = [16], latent = 3, output_activation = "linear", latent_activation = "linear" }
train = { epochs = 40, batch_size = 32, optimizer = { kind = "adam", learning_rate = 0.01 } }
report = { projections = [], tensorboard = false }
"#;

fn whole(_: usize, _: usize) -> Option<&'static str> {
    None
}

/// Trains on features, of whose cells these are not there.
fn train_features(
    place: &Path,
    out: &str,
    features: usize,
    cell: &dyn Fn(usize, usize) -> Option<&'static str>,
    sets: &[&str],
) -> Value {
    write_features(&place.join("train.csv"), 1..41, features, false, cell);
    write_features(&place.join("test.csv"), 101..121, features, true, cell);
    fs::write(place.join("config.toml"), FEATURES).unwrap();
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    succeed(place, &[&["train", "config.toml", "--out", out, "-q"], sets.as_slice()].concat());
    serde_json::from_str(&fs::read_to_string(place.join(out).join("report.json")).unwrap()).unwrap()
}

fn area(report: &Value) -> f64 {
    report["auc"].as_array().unwrap().last().unwrap()["auc"].as_f64().unwrap()
}

#[test]
fn missing_cells_cost_no_rows_and_little_of_what_scores_tell() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let blank =
        |row: usize, at: usize| hit(row, at, 0.1).then_some(["", "NaN", "null", "NA"][at % 4]);
    let complete = train_features(place, "complete", 12, &whole, &[]);
    assert!(area(&complete) > 0.95, "{}", area(&complete));
    for (fill, far) in [("mask", 0.04), ("median", 0.2), ("zero", 0.5)] {
        let report = train_features(place, fill, 12, &blank, &[&format!("data.fill=\"{fill}\"")]);
        let rows = |report: &Value| {
            ["train", "valid", "test"].map(|split| report["data"][split].as_u64().unwrap())
        };
        assert_eq!(rows(&report), rows(&complete), "no row is lost");
        assert!(
            area(&report) > area(&complete) - far,
            "{fill}: {} beside {}",
            area(&report),
            area(&complete)
        );
        let missing = report["data"]["missing"].as_array().unwrap();
        assert!(
            missing.len() == 12
                && missing.iter().all(|one| (0.07..0.13).contains(&one["share"].as_f64().unwrap())),
            "{missing:?}"
        );
        assert_eq!(report["data"]["fill"], fill);
    }
    // Where nothing is missing, how it would be filled changes nothing.
    train_features(place, "whole", 12, &whole, &["data.fill=\"mask\""]);
    for file in ["model/all.safetensors", "thresholds.json", "channels.json", "scores.parquet"] {
        assert_eq!(
            fs::read(place.join("whole").join(file)).unwrap(),
            fs::read(place.join("complete").join(file)).unwrap(),
            "{file}"
        );
    }
    let out = succeed(
        place,
        &[
            "check",
            "config.toml",
            "--set",
            "data.fill=\"mask\"",
            "--set",
            "data.train=[\"test.csv\"]",
            "--set",
            "data.test=[]",
        ],
    );
    assert!(!out.contains("missing    "), "{out}");
}

#[test]
fn missing_cells_are_refused_by_name_or_counted() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let cell = |row: usize, at: usize| {
        (row % 20 == 3 && at == 2 || row < 1500 && at == 4 && hit(row, 9, 0.02)).then_some("")
    };
    write_features(&place.join("train.csv"), 1..41, 6, false, &cell);
    write_features(&place.join("test.csv"), 101..103, 6, true, &whole);
    fs::write(place.join("config.toml"), FEATURES).unwrap();
    let check = |sets: &[&str]| {
        run(
            place,
            &[
                &["check", "config.toml"],
                sets.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>().as_slice(),
            ]
            .concat(),
        )
    };
    let (code, _, err) = check(&[]);
    assert!(
        code == 2 && err.contains("train.csv:5: \"f2\" is blank") && err.contains("data.fill"),
        "{err}"
    );
    let (code, out, err) = check(&["data.fill=\"median\""]);
    assert!(
        code == 0 && out.contains("missing    f2 in 100 rows (4.76 %), f4 in "),
        "{out}\n{err}"
    );
    let out = succeed(place, &["inspect", "train.csv", "--format", "json"]);
    let inspected: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (
            inspected[0]["features"][3]["missing"].as_u64(),
            inspected[0]["features"][4]["missing"].as_u64()
        ),
        (Some(100), Some(0)),
        "{out}"
    );
    assert!(
        inspected[0]["unreadable"].as_array().unwrap().is_empty()
            && out.contains("set data.fill to replace missing values"),
        "{out}"
    );
    // A column that no training row has.
    let cell = |_: usize, at: usize| (at == 3).then_some("nan");
    write_features(&place.join("train.csv"), 1..41, 6, false, &cell);
    for fill in ["zero", "median", "mask"] {
        let (code, _, err) = check(&[&format!("data.fill=\"{fill}\"")]);
        assert!(code == 2 && err.contains("\"f3\" is missing in all"), "{fill}: {err}");
    }
    let (code, _, err) = check(&["data.min_present=0.4"]);
    assert!(
        code == 2 && err.contains("data.min_present: has no meaning with fill = \"reject\""),
        "{err}"
    );
    let (code, _, err) = check(&["data.fill=\"mask\"", "model.kind=\"nmf\""]);
    assert!(code == 2 && err.contains("data.fill: \"mask\" excludes cells"), "{err}");
    let (code, _, err) = check(&["data.fill=\"mask\"", "data.summary=true"]);
    assert!(code == 2 && err.contains("data.fill: seven numbers of a histogram"), "{err}");
}

#[test]
fn numbers_that_stand_for_missing_values_are_pointed_out() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let cell = |row: usize, at: usize| match at {
        1 if hit(row, at, 0.05) => Some("-999"),
        4 if hit(row, at, 0.01) => Some("9999.0"),
        _ => None,
    };
    let report = train_features(place, "unsaid", 6, &cell, &[]);
    let warned = |text: &str| {
        text.contains("\"f1\" is -999 in ")
            && text.contains("\"f4\" is 9999 in ")
            && text.contains("data.missing = [-999, 9999]")
    };
    assert!(
        report["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|warning| warned(warning.as_str().unwrap())),
        "{}",
        report["warnings"]
    );
    let said = |arguments: &[&str]| {
        let (code, out, err) = run(place, arguments);
        assert_eq!(code, 0, "{err}");
        out + &err
    };
    assert!(warned(&said(&["inspect", "train.csv"])) && warned(&said(&["check", "config.toml"])));
    let set = ["--set", "data.missing=[-999, 9999]", "--set", "data.fill=\"mask\""];
    let out = said(&[&["check", "config.toml"], set.as_slice()].concat());
    assert!(
        !out.contains("far from all other values") && out.contains("missing    f1 in "),
        "{out}"
    );
    let (code, _, err) = run(place, &["check", "config.toml", "--set", "data.missing=[-999]"]);
    assert!(code == 2 && err.contains("\"f1\" is missing") && err.contains("data.fill"), "{err}");
    let report = train_features(
        place,
        "said",
        6,
        &cell,
        &["data.missing=[-999, 9999]", "data.fill=\"mask\""],
    );
    let clean = train_features(place, "clean", 6, &whole, &[]);
    assert!(area(&report) > area(&clean) - 0.05, "{} beside {}", area(&report), area(&clean));
}

#[test]
fn inputs_that_are_missing_only_where_it_is_scored_are_drift() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    for fill in ["mask", "median", "zero"] {
        train_features(
            place,
            "out",
            8,
            &whole,
            &[&format!("data.fill=\"{fill}\""), "name=\"out\""],
        );
        let cell = |row: usize, at: usize| {
            (at == 1 && row % 5 < 2 || row == 7 && at != 3 || row == 8).then_some("")
        };
        write_features(&place.join("new.csv"), 201..211, 8, false, &cell);
        let report = score(place, "new.csv");
        let warnings = report["warnings"].to_string();
        assert!(
            warnings.contains("f1: missing in 40 % of rows, 0 % in training"),
            "{fill}: {warnings}"
        );
        assert_eq!(
            report["data"]["not_evaluated"],
            json!([["only 0 of 8 inputs are present", 1], ["only 1 of 8 inputs are present", 1]])
        );
        fs::remove_dir_all(place.join("out")).unwrap();
    }
}

/// Two channels, of which one has no input at all in some rows.
#[test]
fn a_channel_without_inputs_is_not_evaluated_and_every_verb_takes_such_rows() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let cell = |row: usize, at: usize| (row % 10 == 4 && at < 4 || hit(row, at, 0.1)).then_some("");
    write_features(&place.join("train.csv"), 1..41, 8, false, &cell);
    write_features(&place.join("test.csv"), 101..121, 8, true, &cell);
    let channels = r#"
data.fill = "mask"
data.min_present = 0.25
score.one_class_svm = { nu = 0.01 }
[channels]
levels = ["side", "feature"]
depth = 1
[[channels.rules]]
pattern = '(?<feature>f[0-3])'
insert = { side = "low" }
[[channels.rules]]
pattern = '(?<feature>f[4-7])'
insert = { side = "high" }
"#;
    fs::write(
        place.join("config.toml"),
        format!(
            "{}{channels}",
            FEATURES.replacen(
                "data = {",
                "data.train = [\"train.csv\"]\ndata.test = [\"test.csv\"]\n#",
                1
            )
        ),
    )
    .unwrap();
    succeed(place, &["train", "config.toml", "--out", "out", "-q"]);
    let scores = crate::common::scores(&place.join("out"));
    let without = |name: &str| {
        let channel = scores.channels.iter().find(|channel| channel.name == name).unwrap();
        scores.evaluated().filter(|&row| channel.scores[row].is_none()).count()
    };
    // A tenth of 3000 rows, but for those that have next to nothing.
    assert!(
        (290..=300).contains(&without("low")) && without("combined") == 0,
        "{}",
        without("low")
    );
    assert!(without("high") < 5);
    // Four features with three latents leave little to tell a row by.
    assert!(area(&serde_json::to_value(report(&place.join("out"))).unwrap()) > 0.8);

    succeed(place, &["score", "out", "--data", "test.csv", "--out", "scores.parquet", "-q"]);
    let again = lumisift::score::scores::Scores::read(&place.join("scores.parquet")).unwrap();
    // But for those that have next to nothing.
    assert!(
        (995..=1000).contains(&again.evaluated().count()),
        "a row that lacks one channel is a row that is evaluated"
    );
    // Row 4 of the file is LS 5 of the first run: bad, and without an input of the first channel.
    let out = succeed(
        place,
        &["score", "out", "--data", "test.csv", "--out", "scores.parquet", "--why", "101:5"],
    );
    assert!(out.contains("high") && !out.contains("low"), "{out}");
    let out = succeed(
        place,
        &["score", "out", "--data", "test.csv", "--out", "scores.parquet", "--why", "101:6"],
    );
    assert!(out.contains("low") && !out.contains("NaN"), "{out}");
    succeed(place, &["encode", "out", "--data", "test.csv", "--out", "latents.parquet", "-q"]);
    succeed(place, &["decode", "out", "--data", "latents.parquet", "--out", "decoded.csv", "-q"]);
    let decoded = fs::read_to_string(place.join("decoded.csv")).unwrap();
    let (head, row) = (
        decoded.lines().next().unwrap(),
        decoded.lines().find(|line| line.contains(",101,5,")).unwrap(),
    );
    let value = |name: &str| {
        row.split(',').nth(head.split(',').position(|known| known == name).unwrap()).unwrap()
    };
    assert!(
        value("f0").is_empty() && value("f5").parse::<f64>().unwrap().is_finite(),
        "{head}\n{row}"
    );
    succeed(place, &["certify", "out", "--data", "test.csv", "--out", "golden.json", "-q"]);
    succeed(place, &["report", "out", "-q"]);
    succeed(place, &["calibrate", "out", "--data", "train.csv", "-q"]);
}

/// Histograms with missing bins; defects are put into the others.
#[test]
fn bins_may_be_missing_too() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    write(&place.join("train.csv"), 1000..1020, 0.0, None, 0.0);
    write(&place.join("test.csv"), 2000..2005, 0.0, None, 0.0);
    let config = CONFIG
        .replace("epochs = 60", "epochs = 20")
        .replace("[\"unit-area\", \"standard\"]", "\"standard\"");
    fs::write(place.join("config.toml"), &config).unwrap();
    succeed(place, &["train", "config.toml", "--out", "complete", "-q"]);
    for name in ["train.csv", "test.csv"] {
        let text = fs::read_to_string(place.join(name)).unwrap();
        let hole = |(row, line): (usize, &str)| {
            let Some((before, bins)) = line.split_once('[') else { return format!("{line}\n") };
            let bins = bins.split(',').enumerate().map(|(at, bin)| {
                if at > 0 && at + 1 < BINS && hit(row, at, 0.1) { "nan" } else { bin }
            });
            format!("{before}[{}\n", bins.collect::<Vec<_>>().join(","))
        };
        fs::write(place.join(name), text.lines().enumerate().map(hole).collect::<String>())
            .unwrap();
    }
    let (code, _, err) = run(place, &["train", "config.toml", "--out", "refused"]);
    assert!(code == 2 && err.contains("is nan; expected a finite number, or a data.fill"), "{err}");
    succeed(place, &["train", "config.toml", "--out", "out", "-q", "--set", "data.fill=\"mask\""]);
    let errors = |folder: &str| report(&place.join(folder)).channels[0].ae_error.mean;
    assert!(
        (0.8..1.3).contains(&(errors("out") / errors("complete"))),
        "{} {}",
        errors("out"),
        errors("complete")
    );
    succeed(place, &["sensitivity", "out", "-q", "--out", "found", "--set", "sensitivity.rows=40"]);
}

/// What `score` says of each row of a file: run, LS, and whether it is flagged; and its standard
/// error.
fn flags(place: &Path, file: &str) -> (Vec<bool>, String) {
    let (code, _, error) = run(place, &["score", "out", "--data", file, "--out", "scores.csv"]);
    assert_eq!(code, 0, "{error}");
    let text = fs::read_to_string(place.join("scores.csv")).unwrap();
    (text.lines().skip(1).map(|line| line.split(',').nth(7) == Some("true")).collect(), error)
}

/// Changes the content of a bin in some rows of a file, counted from 0.
fn put(path: &Path, rows: Range<usize>, bin: usize, content: u32) {
    let change = |(at, line): (usize, &str)| {
        let (head, bins) = line.split_once('[').unwrap();
        let mut bins: Vec<String> =
            bins.trim_end_matches("]\"").split(',').map(str::to_owned).collect();
        if rows.contains(&at) {
            bins[bin] = content.to_string();
        }
        format!("{head}[{}]\"\n", bins.join(","))
    };
    let text = fs::read_to_string(path).unwrap();
    let (header, body) = text.split_once('\n').unwrap();
    fs::write(
        path,
        format!("{header}\n{}", body.lines().enumerate().map(change).collect::<String>()),
    )
    .unwrap();
}

#[test]
fn a_bin_that_was_always_empty_counts_and_a_stray_count_is_no_alarm() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    write(&place.join("train.csv"), 1000..1020, 0.0, Some(5), 0.0);
    write(&place.join("test.csv"), 2000..2003, 0.0, Some(5), 0.0);
    fs::write(place.join("config.toml"), CONFIG).unwrap();
    fs::copy(place.join("test.csv"), place.join("hot.csv")).unwrap();
    put(&place.join("hot.csv"), 40..41, 5, 100_000);
    put(&place.join("hot.csv"), 60..61, 5, 300);
    fs::copy(place.join("test.csv"), place.join("stray.csv")).unwrap();
    put(&place.join("stray.csv"), 0..180, 5, 1);
    let kinds = [
        "\"range\"",
        "\"min-max\"",
        "\"standard\"",
        "\"robust\"",
        "\"bin-mean\"",
        "[\"unit-area\", \"range\"]",
        "[\"unit-area\", \"standard\"]",
    ];
    for kind in kinds.into_iter().chain([
        "[\"unit-area\", \"robust\"]",
        "[\"unit-area\", \"bin-mean\"]",
        "[\"log1p\", \"range\"]",
        "[\"sqrt\", \"min-max\"]",
    ]) {
        let kind = format!("scale.kind={kind}");
        succeed(
            place,
            &[
                "train",
                "config.toml",
                "--out",
                "out",
                "--force",
                "-q",
                "--set",
                &kind,
                "--set",
                "train.epochs=30",
            ],
        );
        let (as_they_are, _) = flags(place, "test.csv");
        let (hot, _) = flags(place, "hot.csv");
        assert!(hot[40] && hot[60], "{kind}");
        let (stray, _) = flags(place, "stray.csv");
        let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
        assert!(
            count(&stray) <= count(&as_they_are) + 18,
            "{kind}: {} flags of stray counts, {} without",
            count(&stray),
            count(&as_they_are)
        );
    }
}

#[test]
fn what_scaling_does_not_see_is_told_with_the_names_of_the_bins() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    write(&place.join("train.csv"), 1000..1010, 0.0, Some(5), 0.0);
    write(&place.join("test.csv"), 2000..2002, 0.0, Some(5), 0.0);
    put(&place.join("test.csv"), 7..8, 5, 3);
    fs::copy(place.join("test.csv"), place.join("hot.csv")).unwrap();
    put(&place.join("hot.csv"), 40..42, 5, 100_000);
    fs::write(place.join("config.toml"), CONFIG).unwrap();
    let zero = [
        "--set",
        "scale.kind=\"range\"",
        "--set",
        "scale.constant=\"zero\"",
        "--set",
        "train.epochs=10",
    ];
    let (code, _, error) =
        run(place, &[&["train", "config.toml", "--out", "out"], &zero[..]].concat());
    assert!(code == 0, "{error}");
    let warnings = report(&place.join("out")).warnings;
    assert!(
        warnings.iter().any(
            |warning| warning.contains("1 of 24 bins is constant in the training rows (bin_5)")
        ),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|warning| warning.contains("bin_5 in 1 row; scores do not see it")),
        "{warnings:?}"
    );
    let (hot, error) = flags(place, "hot.csv");
    let told = |text: &str| {
        text.lines().any(|line| line.contains("bin_5 in 3 rows; scores do not see it"))
    };
    let out = succeed(place, &["score", "out", "--data", "hot.csv", "--out", "scores.csv"]);
    assert!(!hot[40] && (told(&error) || told(&out)), "{error}{out}");
    for data in [&["--data", "hot.csv"][..], &[]] {
        let (code, out, error) =
            run(place, &[&["certify", "out", "--out", "golden.json"], data].concat());
        assert!(
            code == 0 && format!("{out}{error}").contains("scores do not see it"),
            "{out}{error}"
        );
    }
}

#[test]
fn a_feature_that_never_changed_is_named_when_it_does() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let table = |name: &str, run: u32, constant: &dyn Fn(u32) -> f64| {
        let mut chance = random::generator(u64::from(run), "table", 0);
        let mut text = "run,ls,a,b,c,voltage\n".to_owned();
        for ls in 1..=300 {
            let (x, y) = (normal(&mut chance), normal(&mut chance));
            let _ = writeln!(text, "{run},{ls},{x},{},{},{}", x + 0.1 * y, x - y, constant(ls));
        }
        fs::write(place.join(name), text).unwrap();
    };
    table("train.csv", 1, &|_| 7.0);
    table("test.csv", 2, &|ls| if ls == 9 { 70.0 } else { 7.0 });
    table("near.csv", 3, &|ls| if ls == 9 { 7.5 } else { 7.0 });
    fs::write(
        place.join("config.toml"),
        CONFIG
            .replace("\"unit-area\", ", "")
            .replace("by = \"run\"", "by = \"order\"")
            .replace("beside = [\"lumi\"], ", ""),
    )
    .unwrap();
    succeed(
        place,
        &[
            "train",
            "config.toml",
            "--out",
            "out",
            "-q",
            "--set",
            "model.hidden=[]",
            "--set",
            "model.latent=2",
        ],
    );
    assert!(flags(place, "test.csv").0[8]);
    let near = score(place, "near.csv");
    assert!(
        near["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|warning| warning.as_str().unwrap().contains("voltage in 1 row; check")),
        "{near}"
    );
}
