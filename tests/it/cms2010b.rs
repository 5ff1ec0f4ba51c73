//! The 2010B study: channels from the names of features, held to reference results computed with
//! PyTorch and scikit-learn, and what happens when its inputs are not as they should be.

use crate::common::{config, report, run, shared, succeed};
use arrow_array::{ArrayRef, RecordBatch, StringArray, cast::AsArray, types::Float64Type};
use lumisift::{experiment::channel_entry::ChannelEntry, files::folder::Folder};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// A folder with the reference's table, labels and initial weights (as links), and the arguments
/// that name them.
struct Study {
    place: tempfile::TempDir,
    reference: PathBuf,
    expected: Value,
}

impl Study {
    fn new() -> Option<Self> {
        let reference = shared("parity/cms2010b")?.canonicalize().unwrap();
        let expected: Value =
            serde_json::from_str(&fs::read_to_string(reference.join("expected.json")).unwrap())
                .unwrap();
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("init")).unwrap();
        for channel in expected["channels"].as_object().unwrap().keys() {
            let name = format!("{}.safetensors", channel.replace('/', "_"));
            fs::copy(reference.join(format!("init_{name}")), place.path().join("init").join(name))
                .unwrap();
        }
        Some(Self { place, reference, expected })
    }

    fn sets(&self) -> Vec<String> {
        let file = |name: &str| self.reference.join(name).display().to_string();
        vec![
            format!("data.train=[\"{}\"]", file("features.parquet")),
            format!("labels.good=\"{}\"", file("labels.npy")),
            format!("labels.subsystems.folder=\"{}\"", file("Quality2010")),
            "train.init=\"init\"".into(),
            "train.shuffle=false".into(),
            format!("train.epochs={}", self.expected["epochs"]),
        ]
    }

    fn run(&self, verb: &[&str], more: &[&str]) -> (i32, String, String) {
        let config = config("cms2010b-notebook.toml");
        let sets = self.sets();
        let mut arguments = vec![verb[0], &config];
        arguments.extend(&verb[1..]);
        sets.iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .for_each(|set| arguments.extend(["--set", set]));
        run(self.path(), &arguments)
    }

    fn train(&self, out: &str, more: &[&str]) -> PathBuf {
        let (code, _, err) = self.run(&["train", "--out", out, "-q"], more);
        assert_eq!(code, 0, "{err}");
        self.path().join(out)
    }

    fn path(&self) -> &Path {
        self.place.path()
    }
}

fn near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs(),
        "{what}: {found} is not {expected}"
    );
}

#[test]
fn training_and_figures_are_those_of_the_reference() {
    let Some(study) = Study::new() else { return };
    follows_the_reference(&study, "cpu", 1e-4);
}

#[cfg(feature = "wgpu")]
#[test]
fn a_gpu_follows_the_reference_throughout() {
    let Some(study) = Study::new().filter(|_| crate::common::software_gpu()) else { return };
    follows_the_reference(&study, "wgpu", 1e-4);
}

fn follows_the_reference(study: &Study, device: &str, tolerance: f64) {
    let out = study.train("out", &[&format!("device=\"{device}\"")]);
    let report = report(&out);
    let entries: Vec<ChannelEntry> =
        serde_json::from_str(&fs::read_to_string(out.join("channels.json")).unwrap()).unwrap();
    let history = Folder::open(&out).unwrap().read_history().unwrap();
    let scores = crate::common::scores(&out);
    // The reference counts rows as they stand in the table.
    let file_order = file_order(study);
    assert_eq!(
        report.data.train + report.data.unused,
        study.expected["kept"].as_u64().unwrap() as usize
    );
    for (name, expected) in study.expected["channels"].as_object().unwrap() {
        let features: Vec<String> = serde_json::from_value(expected["features"].clone()).unwrap();
        let entry = entries.iter().find(|entry| entry.channel.name == *name).unwrap();
        assert_eq!(entry.channel.features, features, "{name}");
        let losses: Vec<f64> = history
            .iter()
            .filter(|line| line.channel == *name)
            .map(|line| line.epoch.train_loss)
            .collect();
        let expected_losses: Vec<f64> = serde_json::from_value(expected["loss"].clone()).unwrap();
        assert_eq!(losses.len(), expected_losses.len());
        losses
            .iter()
            .zip(&expected_losses)
            .for_each(|(found, expected)| near("loss", *found, *expected, tolerance));
        let number = |key: &str| expected[key].as_f64().unwrap();
        let figures = report.channels.iter().find(|figures| figures.name == *name).unwrap();
        near("mean field", figures.mean_field_error.sum, number("mean_field_error"), tolerance);
        near("AE", figures.ae_error.sum, number("ae_error"), tolerance);
        near("cut", figures.log_cut.unwrap(), number("log_error_cut_95"), tolerance);
        let channel = scores.channels.iter().find(|channel| channel.name == *name).unwrap();
        let at: HashMap<(u32, u32), usize> = scores
            .rows
            .iter()
            .enumerate()
            .filter_map(|(at, row)| Some(((row.run?, row.ls?), at)))
            .filter(|(_, at)| channel.scores[*at].is_some())
            .collect();
        let errors: Vec<f64> =
            file_order.iter().filter_map(|id| channel.scores[*at.get(id)?]).collect();
        let head: Vec<f64> = serde_json::from_value(expected["error_head"].clone()).unwrap();
        head.iter()
            .zip(&errors)
            .for_each(|(expected, found)| near("error", *found, *expected, tolerance));
        let auc = |labels: &str| {
            report.auc.iter().find(|auc| auc.channel == *name && auc.labels == labels).unwrap()
        };
        assert!((auc("good").auc.unwrap() - number("auc_label")).abs() < tolerance, "{name}");
        for (subsystem, expected) in expected["auc_subsystem"].as_object().unwrap() {
            match expected.as_f64() {
                Some(expected) => assert!(
                    (auc(subsystem).auc.unwrap() - expected).abs() < tolerance,
                    "{name} {subsystem}"
                ),
                None => assert!(
                    auc(subsystem).auc.is_none() && auc(subsystem).note.starts_with("no area: no "),
                    "{name} {subsystem}"
                ),
            }
        }
    }
}

/// The table of the reference.
fn table(study: &Study) -> RecordBatch {
    let file = fs::File::open(study.reference.join("features.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .with_batch_size(1_000_000)
        .build()
        .unwrap();
    reader.map(Result::unwrap).next().unwrap()
}

/// The table with its columns changed, as a file.
fn changed(study: &Study, name: &str, change: impl Fn(&mut Vec<(String, ArrayRef)>)) -> String {
    let table = table(study);
    let mut columns: Vec<(String, ArrayRef)> = table
        .schema()
        .fields()
        .iter()
        .zip(table.columns())
        .map(|(field, column)| (field.name().clone(), column.clone()))
        .collect();
    change(&mut columns);
    let table = RecordBatch::try_from_iter(columns).unwrap();
    let path = study.path().join(name);
    let mut writer = parquet::arrow::ArrowWriter::try_new(
        fs::File::create(&path).unwrap(),
        table.schema(),
        None,
    )
    .unwrap();
    writer.write(&table).unwrap();
    writer.close().unwrap();
    path.display().to_string()
}

/// (run, LS) in the order of the table.
fn file_order(study: &Study) -> Vec<(u32, u32)> {
    let table = table(study);
    let column = |name: &str| {
        table[name]
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .map(|value| *value as u32)
            .collect::<Vec<_>>()
    };
    column("_run").into_iter().zip(column("_luminosityBlock")).collect()
}

#[test]
fn the_tree_and_the_channels_are_shown() {
    let Some(study) = Study::new() else { return };
    let (code, out, err) = study.run(&["check"], &["channels.use=[]", "train.init=\"none\""]);
    assert!(code == 2 && err.contains("none"), "{out}{err}");
    let (code, out, _) = study.run(&["check", "--format", "json"], &[]);
    assert_eq!(code, 0);
    let checked: Value = serde_json::from_str(&out).unwrap();
    let groups = checked["groups"].as_array().unwrap();
    assert_eq!((groups.len(), checked["left_out"].as_u64()), (15, Some(6)));
    for group in groups {
        let own = group["features"].as_u64().unwrap();
        let name = group["name"].as_str().unwrap();
        let of_particle: HashMap<&str, u64> = HashMap::from([
            ("muons", 266),
            ("photons", 231),
            ("PF", 126),
            ("calo", 266),
            ("allChannels", 7),
        ]);
        let particle = name.split('/').nth(1).unwrap();
        assert_eq!(own, of_particle[particle], "{name}");
        let size = group["fate"]["channel"].as_u64().or(group["fate"]["not-used"].as_u64());
        assert_eq!(size, (particle != "allChannels").then_some(own + 7), "{name}");
    }
    let (_, out, _) = study.run(&["check"], &[]);
    assert!(
        out.contains(
            "15 of stream/particle, 12 channels after spreading; 6 features are excluded by rules"
        ),
        "{out}"
    );
}

#[test]
fn a_channel_does_not_depend_on_the_others_nor_on_the_threads() {
    let Some(study) = Study::new() else { return };
    let no_init = ["train.shuffle=true", "train.epochs=2"];
    let start = |more: &[&str]| {
        let mut sets: Vec<String> =
            study.sets().into_iter().filter(|set| !set.starts_with("train.")).collect();
        sets.extend(no_init.iter().chain(more).map(|set| (*set).to_owned()));
        sets
    };
    let train = |out: &str, threads: &str, more: &[&str]| {
        let sets = start(more);
        let config = config("cms2010b-notebook.toml");
        let mut arguments = vec!["train", &config, "--out", out, "-q"];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        let output = crate::common::lumisift()
            .current_dir(study.path())
            .env("RAYON_NUM_THREADS", threads)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        study.path().join(out)
    };
    let (four, one_thread) = (train("four", "3", &[]), train("one-thread", "1", &[]));
    let alone = train("alone", "2", &["channels.use=[\"minibias/PF\"]"]);
    for file in [
        "scores.parquet",
        "roc.parquet",
        "channels.json",
        "model/muons_muons.safetensors",
        "model/minibias_PF.svm.json",
    ] {
        assert_eq!(
            fs::read(four.join(file)).unwrap(),
            fs::read(one_thread.join(file)).unwrap(),
            "{file}"
        );
    }
    let file = "model/minibias_PF.safetensors";
    assert_eq!(
        fs::read(four.join(file)).unwrap(),
        fs::read(alone.join(file)).unwrap(),
        "alone or among others"
    );
    assert_eq!(crate::common::scores(&alone).channels.len(), 1, "one channel needs no combination");
}

#[test]
fn new_data_score_as_in_training_and_latents_decode_to_what_was_scored() {
    let Some(study) = Study::new() else { return };
    let out = study.train("out", &["report.weighted=true"]);
    let data = study.reference.join("features.parquet").display().to_string();
    let first = crate::common::scores(&out);
    succeed(study.path(), &["score", "out", "--data", &data, "--out", "again.parquet", "-q"]);
    let again = lumisift::score::scores::Scores::read(&study.path().join("again.parquet")).unwrap();
    let of = |scores: &lumisift::score::scores::Scores,
              channel: usize|
     -> HashMap<(Option<u32>, Option<u32>), f64> {
        let rows = scores.rows.iter().zip(&scores.channels[channel].scores);
        rows.filter_map(|(row, score)| Some(((row.run, row.ls), (*score)?))).collect()
    };
    assert_eq!(again.channels.len(), 5);
    assert_eq!(
        of(&again, 0).len(),
        of(&first, 0).len(),
        "rows without luminosity are not evaluated later either"
    );
    assert!(again.rows.iter().any(|row| row.weight.is_some()));
    for channel in 0..5 {
        let again = of(&again, channel);
        for (id, score) in of(&first, channel) {
            assert_eq!(again[&id], score, "{id:?} in channel {channel}");
        }
    }

    succeed(study.path(), &["encode", "out", "--data", &data, "--out", "latents.parquet", "-q"]);
    succeed(
        study.path(),
        &[
            "decode",
            "out",
            "--data",
            "latents.parquet",
            "--out",
            "decoded.parquet",
            "--scaled",
            "-q",
        ],
    );
    succeed(
        study.path(),
        &["decode", "out", "--data", "latents.parquet", "--out", "units.csv", "-q"],
    );
    let Some(python) = crate::common::python("scikit-learn") else { return };
    let script = crate::common::root().join("scripts/reference/check_channels.py");
    let output = std::process::Command::new(python)
        .arg(script)
        .args(["out", &data, "latents.parquet", "decoded.parquet", "units.csv"])
        .current_dir(study.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn why_a_lumisection_scores_high_is_told() {
    let Some(study) = Study::new() else { return };
    let out = study.train("out", &["score.explain=2"]);
    let report = report(&out);
    assert_eq!(report.worst.len(), 8, "two of each channel");
    for worst in &report.worst {
        assert_eq!(
            worst.levels.iter().map(|level| level.level.as_str()).collect::<Vec<_>>(),
            ["quantity", "quantile", "statistic"]
        );
        let of_statistics: f64 = worst.levels[2].shares.iter().map(|share| share.share).sum();
        assert!((of_statistics - 1.0).abs() < 1e-9, "seven statistics make the whole error");
        assert!(worst.features.windows(2).all(|pair| pair[0].share >= pair[1].share));
    }
    let data = study.reference.join("features.parquet").display().to_string();
    let (run_number, ls) = (report.worst[0].run.unwrap(), report.worst[0].ls);
    let out = succeed(
        study.path(),
        &[
            "score",
            "out",
            "--data",
            &data,
            "--out",
            "s.csv",
            "--why",
            &format!("{run_number}:{ls}"),
            "-q",
        ],
    );
    assert!(
        out.contains(&format!("run {run_number} LS {ls} in muons/muons: score"))
            && out.contains("quantile: "),
        "{out}"
    );
    let (code, _, err) =
        run(study.path(), &["score", "out", "--data", &data, "--out", "s.csv", "--why", "1:2"]);
    assert!(code == 2 && err.contains("--why 1:2: there is no such lumisection"), "{err}");
}

#[test]
fn made_data_hold_known_anomalies_that_are_found() {
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &["synth", "cms2010b", "data", "--rows", "3000", "-q"]);
    let config = config("cms2010b.toml");
    let sets = [
        "data.train=[\"data/features.parquet\"]",
        "labels.good=\"data/labels.npy\"",
        "labels.subsystems.folder=\"data/Quality2010\"",
        "split.by=\"block\"",
        "train.epochs=60",
        "channels.use=[\"muons/*\", \"photons/photons\", \"minibias/*\"]",
    ];
    let mut arguments = vec!["train", &config, "--out", "out", "-q"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    let out = succeed(place.path(), &arguments);
    assert!(out.contains("AUC of") && out.contains("minibias/calo"), "{out}");
    let report = report(&place.path().join("out"));
    assert_eq!(report.channels.len(), 9);
    let area = |channel: &str| {
        report
            .auc
            .iter()
            .find(|auc| auc.channel == channel && auc.labels == "good")
            .unwrap()
            .auc
            .unwrap()
    };
    assert!(area("combined") > 0.7, "{}", area("combined"));
    let lumi = report.auc.iter().find(|auc| auc.labels == "Lumi").unwrap();
    assert!(lumi.auc.is_none() && lumi.note == "no area: no good rows", "{lumi:?}");
    let out = succeed(
        place.path(),
        &[
            "score",
            "out",
            "--data",
            "data/features.parquet",
            "--truth",
            "data/truth.csv",
            "--out",
            "s.parquet",
            "-q",
        ],
    );
    assert!(out.contains("known anomalies") && out.contains("flags elsewhere"), "{out}");
    let (code, _, err) = run(place.path(), &["synth", "cms2010b", "data", "--rows", "7"]);
    assert!(code == 2 && err.contains("7 rows: expected from 100 to 1000000"), "{err}");
}

#[test]
fn inputs_that_are_not_as_they_should_be_are_told() {
    let Some(study) = Study::new() else { return };
    let told = |more: &[&str], expected: &str| {
        let (code, out, err) = study.run(&["check"], more);
        assert!(code == 2 && err.contains(expected), "{more:?}: {expected} in\n{out}{err}");
    };
    told(
        &["channels.use=[\"muons/muon\"]"],
        "no feature belongs to \"muons/muon\" (did you mean \"muons/muons\"?)",
    );
    told(
        &[
            "data.columns.ignore=[\"_instantLumi_muons\"]",
            "weights.from=\"max(_instantLumi_muon, 1)\"",
        ],
        "no column \"_instantLumi_muon\"",
    );
    told(
        &["data.columns.ignore=[\"muons_muons_pt__q1_mean\"]"],
        "muons_muons.safetensors: encoder.0.weight is [150, 273]; expected [150, 272]",
    );
    told(&["scale.kind=\"unit-area\""], "uses the whole row");
    told(&["channels.rules=[]"], "channels.rules: missing");
    told(&["train.init=\"init/muons_muons.safetensors\""], "is a file, but there are 4 channels");
    told(
        &["threshold={kind=\"fixed\", value=3.0, on=\"train\"}"],
        "the scores of 4 channels differ in size",
    );
    told(&["labels.good=\"init\""], "init");
    let (code, out, err) =
        study.run(&["check"], &["data.columns.ignore=[\"muons_photons_pt__q1_mean\"]"]);
    assert!(code == 0 && out.contains("1 place of the hierarchy differs"), "{out}{err}");
    told(
        &[
            "weights.from=\"0 * max(_instantLumi_minibias, _instantLumi_muons, _instantLumi_photons)\"",
            "select.nonzero_weight=false",
        ],
        "weights: all 530 train rows have weight 0",
    );
    // With 30 rows a batch some have no luminosity at all.
    let sparse = [
        "weights.from=\"max(_luminosityBlock - 150, 0 * max(_instantLumi_minibias, _instantLumi_muons, _instantLumi_photons))\"",
        "select.nonzero_weight=false",
        "train.batch_size=30",
        "train.epochs=2",
    ];
    let (code, out, err) = study.run(&["train", "--out", "sparse"], &sparse);
    assert!(
        code == 0
            && out
                .contains("batches were skipped in training because all their rows have weight 0"),
        "{out}{err}"
    );
    let (code, out, err) = study.run(&["train", "--out", "few", "-q"], &["train.batch_size=600"]);
    assert!(
        code == 2 && err.contains("512 training rows do not fill a batch of 600"),
        "{out}{err}"
    );
}

#[test]
fn tables_that_do_not_fit_a_trained_model_are_told_and_labels_may_be_gone() {
    let Some(study) = Study::new() else { return };
    let labels = study.path().join("own.npy");
    fs::copy(study.reference.join("labels.npy"), &labels).unwrap();
    study.train("out", &["labels.good=\"own.npy\"", "train.epochs=1"]);
    fs::remove_file(labels).unwrap();
    let score =
        |data: &str| run(study.path(), &["score", "out", "--data", data, "--out", "s.parquet"]);
    let (code, out, err) = score(&study.reference.join("features.parquet").display().to_string());
    assert!(
        code == 0 && out.contains("own.npy is no longer there: no labels from it"),
        "{out}{err}"
    );

    let told = |data: String, expected: &str| {
        let (code, out, err) = score(&data);
        assert!(code == 2 && err.contains(expected), "{expected} in\n{out}{err}");
    };
    let is_first = |(name, _): &(String, ArrayRef)| name == "muons_muons_Px_mean";
    told(
        changed(&study, "missing.parquet", |columns| columns.retain(|column| !is_first(column))),
        "no column \"muons_muons_Px_mean\"",
    );
    let as_text = |columns: &mut Vec<(String, ArrayRef)>| {
        let column = columns.iter_mut().find(|column| is_first(column)).unwrap();
        column.1 = std::sync::Arc::new(StringArray::from(vec!["x"; column.1.len()]));
    };
    told(changed(&study, "text.parquet", as_text), "feature \"muons_muons_Px_mean\" holds");
    told(
        changed(&study, "dark.parquet", |columns| {
            columns.retain(|(name, _)| name != "_instantLumi_muons")
        }),
        "no column \"_instantLumi_muons\"",
    );
    let reversed = changed(&study, "reversed.parquet", |columns| columns.reverse());
    assert_eq!(score(&reversed).0, 0, "the order of columns does not matter");
}

#[test]
fn what_cannot_be_trained_leaves_an_experiment_alone() {
    let Some(study) = Study::new() else { return };
    let out = study.train("out", &["train.epochs=1"]);
    let (code, _, err) =
        study.run(&["train", "--out", "out", "--force"], &["train.batch_size=600"]);
    assert!(code == 2 && err.contains("512 training rows do not fill a batch of 600"), "{err}");
    assert!(
        out.join("scores.parquet").is_file() && out.join("model/muons_muons.safetensors").is_file()
    );
    let (code, _, err) = study.run(&["check"], &["train.batch_size=600"]);
    assert!(code == 2 && err.contains("512 training rows do not fill a batch of 600"), "{err}");
}

#[test]
fn a_channel_that_never_changed_in_training_counts_when_it_does() {
    let place = tempfile::tempdir().unwrap();
    let row = |run: u32, ls: u32, dead: f64| {
        let x = f64::from(run * 37 + ls * 11 % 17).sin();
        format!("{run},{ls},{x},{},{dead},{dead}\n", x * x + 0.1 * f64::from(ls % 3))
    };
    let train: String = (1..=6)
        .flat_map(|run| (1..=40).map(move |ls| (run, ls)))
        .map(|(run, ls)| row(run, ls, 3.0))
        .collect();
    let test: String = (1..=40).map(|ls| row(9, ls, if ls == 20 { 4.0 } else { 3.0 })).collect();
    let header = "run,ls,live_a,live_b,dead_a,dead_b\n";
    fs::write(place.path().join("train.csv"), format!("{header}{train}")).unwrap();
    fs::write(place.path().join("test.csv"), format!("{header}{test}")).unwrap();
    let text = "data = {train = [\"train.csv\"], test = [\"test.csv\"]}\nscale.kind = \"standard\"\nmodel = {hidden = [4], latent = 1}\ntrain.epochs = 20\nthreshold.percentile = 100\n[channels]\nlevels = [\"part\", \"quantity\"]\nrules = [{ pattern = '(?<part>[a-z]+)_(?<quantity>\\w)' }]\n";
    fs::write(place.path().join("own.toml"), text).unwrap();
    succeed(place.path(), &["train", "own.toml", "--out", "out", "-q"]);
    let report = report(&place.path().join("out"));
    assert!(report.runs[0].flagged[0].ls.contains(&20), "{:?}", report.runs[0].flagged[0].ls);
    assert!(
        report.warnings.iter().any(|warning| warning.contains("2 of 4 features are constant")),
        "{:?}",
        report.warnings
    );
}
