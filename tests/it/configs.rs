//! Every config that is shipped fits the schema and trains.

use crate::common::{config, metsig, root, shared, succeed};
use serde_json::Value;

fn configs_in(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect()
}

fn configs() -> Vec<String> {
    let sweeps = configs_in("configs/sweeps").into_iter().map(|name| format!("sweeps/{name}"));
    configs_in("configs").into_iter().chain(sweeps).collect()
}

/// `--set`s that name made data, where a config is for them.
fn made(name: &str) -> Option<Vec<String>> {
    let sets: &[&str] = if name.starts_with("metsig") {
        &["data.train=[\"good.csv\"]", "data.test=[\"bad1.csv\", \"bad2.csv\"]"]
    } else if name.starts_with("cms2010b") {
        &[
            "data.train=[\"2010/features.parquet\"]",
            "labels.good=\"2010/labels.npy\"",
            "labels.subsystems.folder=\"2010/Quality2010\"",
        ]
    } else if name.starts_with("certification") && !name.contains("2017") {
        &[
            "data.train=[\"certification/features.parquet\"]",
            "labels.good=\"certification/golden.json\"",
        ]
    } else if name.starts_with("pixel") {
        &[
            "data.train=[\"pixel/train/*.parquet\"]",
            "data.test=[\"pixel/test/*.parquet\"]",
            "data.oms=[\"pixel/oms.json\"]",
            "data.hlt=[\"pixel/hlt.json\"]",
            "patterns.automasks=[\"pixel/automasks.csv\"]",
        ]
    } else if name.starts_with("events") {
        &["data.train=[\"collisions/events.h5\"]"]
    } else {
        return None;
    };
    Some(sets.iter().map(|set| (*set).to_owned()).collect())
}

fn data() -> tempfile::TempDir {
    let place = metsig("0.3");
    succeed(place.path(), &["synth", "cms2010b", "2010", "--rows", "1500", "-q"]);
    succeed(
        place.path(),
        &[
            "synth",
            "occupancy",
            "pixel",
            "--lumisections",
            "300",
            "--test-lumisections",
            "240",
            "-q",
        ],
    );
    succeed(place.path(), &["synth", "events", "collisions", "--events", "3000", "-q"]);
    succeed(
        place.path(),
        &["synth", "certification", "certification", "--lumisections", "1500", "-q"],
    );
    place
}

#[test]
fn every_config_fits_the_schema_that_editors_get() {
    let schema: Value = serde_json::from_str(&succeed(&root(), &["schema"])).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let Some(python) = crate::common::python("jsonschema") else { return };
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("schema.json");
    std::fs::write(&file, schema.to_string()).unwrap();
    let output = std::process::Command::new(python)
        .arg(root().join("scripts/reference/check_schema.py"))
        .arg(&file)
        .args(configs().iter().map(|name| config(name)))
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
fn every_config_trains_two_epochs() {
    let place = data();
    let real = shared("data").is_some();
    for name in configs_in("configs") {
        let sets = match made(&name) {
            Some(sets) => sets,
            None if real => vec![],
            None => continue,
        };
        let (path, out) = (config(&name), name.trim_end_matches(".toml"));
        let mut arguments = vec!["train", &path, "--out", out, "--set", "train.epochs=2", "-q"];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        succeed(place.path(), &arguments);
        assert_eq!(
            crate::common::report(&place.path().join(out)).channels[0].training.epochs,
            2,
            "{name}"
        );
    }
}

#[test]
fn every_sweep_finds_its_objective() {
    let place = data();
    for name in configs_in("configs/sweeps") {
        let path = config(&format!("sweeps/{name}"));
        let mut arguments = vec![
            "sweep",
            &path,
            "--out",
            &name,
            "-q",
            "--set",
            "train.epochs=1",
            "--set",
            "sweep.trials=2",
            "--set",
            "report.projections=[]",
        ];
        let sets = made(&name).unwrap();
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        let told = succeed(place.path(), &arguments);
        assert!(told.contains("2 done"), "{name}: {told}");
    }
}

#[test]
fn the_reference_of_all_keys_is_that_of_the_program() {
    let reference = succeed(&root(), &["schema", "--markdown"]);
    let page = std::fs::read_to_string(root().join("docs/config.md")).unwrap();
    assert!(page == reference, "write it anew: lumisift schema --markdown > docs/config.md");
}
