//! New data unlike those of training are told, and data like them are not; a score that goes with luminosity is told.

mod common;

use common::{report, run, succeed};
use lumisift::random;
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, ops::Range, path::Path};

const BINS: usize = 24;

fn normal(chance: &mut impl Rng) -> f64 {
    (0..12).map(|_| chance.random_range(0.0..1.0)).sum::<f64>() - 6.0
}

/// Histograms of some runs, whose shapes differ from run to run; `slope` tilts them all, bin `dead` is empty. A column is a
/// luminosity that falls in each run, and `noise` grows with it by so much.
fn write(path: &Path, runs: Range<u32>, slope: f64, dead: Option<usize>, noise: f64) {
    let mut text = "run_number,ls_number,lumi,data\n".to_owned();
    for number in runs {
        let mut chance = random::generator(u64::from(number), "run", 0);
        let own: Vec<f64> = (0..3).map(|_| normal(&mut chance)).collect();
        for ls in 1..=60 {
            let lumi = 2.0 - f64::from(ls) / 60.0 + 0.02 * normal(&mut chance);
            let mut bin = |bin: usize| {
                let x = bin as f64 / BINS as f64;
                let wave = 0.04 * own[0] * (3.0 * x).sin() + 0.04 * own[1] * (5.0 * x).cos() + 0.02 * own[2] * x;
                let mean = 2000.0 * (0.5 + x * (1.0 - x)) * (1.0 + wave + slope * (x - 0.5));
                let spread = mean.sqrt() * (1.0 + noise * (lumi - 1.0));
                if dead == Some(bin) { 0.0 } else { (mean + spread * normal(&mut chance)).round().max(0.0) }
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

/// Trains on some runs; the same luminosity everywhere has nothing to do with scores unless `noise` says so.
fn train(place: &Path, noise: f64) {
    write(&place.join("train.csv"), 1000..1040, 0.0, None, noise);
    write(&place.join("test.csv"), 2000..2010, 0.0, None, noise);
    fs::write(place.join("config.toml"), CONFIG).unwrap();
    succeed(place, &["train", "config.toml", "--out", "out", "-q"]);
}

/// What `score` says of a file.
fn score(place: &Path, file: &str) -> Value {
    serde_json::from_str(&succeed(place, &["score", "out", "--data", file, "--out", "scores.parquet", "--format", "json", "-q"])).unwrap()
}

/// Warnings that new data are unlike those of training.
fn drift(report: &Value) -> Vec<&str> {
    let warnings = report["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap());
    warnings.filter(|warning| ["lie outside", "scores are", "unlike"].iter().any(|words| warning.contains(words))).collect()
}

#[test]
fn data_like_the_training_are_no_drift_and_others_are_told_with_their_features() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    train(place, 0.0);
    // Many runs, a few, one: none of them was trained on, all are of the same kind.
    for (i, runs) in [3000..3020, 3100..3103, 3200..3201, 3300..3301, 3400..3401].into_iter().enumerate() {
        write(&place.join("like.csv"), runs, 0.0, None, 0.0);
        let like = score(place, "like.csv");
        assert!(drift(&like).is_empty(), "{i}: {}", like["warnings"]);
        assert!(like["drift"]["scores"]["limit"].as_f64().unwrap() >= 0.2 && like["drift"]["inputs"][0]["channel"] == "all", "{}", like["drift"]);
    }

    write(&place.join("tilted.csv"), 4000..4010, 0.6, None, 0.0);
    let tilted = score(place, "tilted.csv");
    let told = drift(&tilted);
    assert!(told.len() == 3 && told[0].contains("lie outside what training saw") && told[1].contains("scores are higher"), "{told:?}");
    assert!(told[2].contains("`lumisift calibrate`"), "{told:?}");

    write(&place.join("dead.csv"), 4100..4110, 0.0, Some(7), 0.0);
    let dead = score(place, "dead.csv");
    assert!(drift(&dead)[0].contains("most of all bin_7 (100 % of rows)"), "{}", dead["warnings"]);
    let text = succeed(place, &["score", "out", "--data", "dead.csv", "--out", "scores.parquet"]);
    assert!(text.contains("bin_7 (100 % of rows)"), "{text}");

    // Thresholds set on such data are for such data; their inputs are still unlike those of training.
    succeed(place, &["calibrate", "out", "--data", "tilted.csv", "-q"]);
    write(&place.join("more.csv"), 4200..4210, 0.6, None, 0.0);
    let more = score(place, "more.csv");
    assert!(drift(&more).iter().all(|warning| !warning.contains("scores are")) && drift(&more)[0].contains("lie outside"), "{}", more["warnings"]);
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
    for (file, keys) in [("channels.json", &["ranges", "outside"][..]), ("thresholds.json", &["sample"])] {
        let path = place.join("out").join(file);
        let mut entries: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for entry in entries.as_array_mut().unwrap() {
            keys.iter().for_each(|key| assert!(entry.as_object_mut().unwrap().remove(*key).is_some(), "{file}: {key}"));
        }
        fs::write(path, entries.to_string()).unwrap();
    }
    let tilted = score(place, "tilted.csv");
    assert!(drift(&tilted).is_empty() && tilted["drift"] == json!({"inputs": [], "scores": null}), "{}", tilted["drift"]);
}

#[test]
fn a_score_that_goes_with_luminosity_is_told() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    train(place, 0.0);
    let sound = report(&place.join("out"));
    assert!(sound.beside[0].name == "lumi" && sound.beside[0].rows == 600 && sound.beside[0].correlation.abs() < 0.3, "{:?}", sound.beside);
    assert!(!sound.warnings.iter().any(|warning| warning.contains("the score goes with")), "{:?}", sound.warnings);

    fs::remove_dir_all(place.join("out")).unwrap();
    train(place, 3.0);
    let noisy = report(&place.join("out"));
    assert!(noisy.beside[0].correlation > 0.5, "{:?}", noisy.beside);
    assert!(noisy.warnings.iter().any(|warning| warning.starts_with("the score goes with lumi (rank correlation +0.")), "{:?}", noisy.warnings);
    let (code, text, _) = run(place, &["score", "out", "--data", "test.csv", "--out", "scores.parquet"]);
    assert!(code == 0 && text.contains("rank correlation of score and lumi: +0."), "{text}");
}
