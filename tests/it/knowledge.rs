//! What is known beside the data: golden JSONs, OMS, trigger rates, luminosities, label arrays;
//! held against the sources read here in another way.

use crate::common::{run, shared, succeed};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

type Id = (u32, u32);

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Writes a config and trains on it for one epoch; returns what was evaluated and, for the rest,
/// the reason.
fn train(folder: &Path, config: &str) -> (BTreeSet<Id>, BTreeMap<Id, String>) {
    fs::write(folder.join("config.toml"), config).unwrap();
    succeed(
        folder,
        &["train", "config.toml", "--out", "out", "--force", "-q", "--set", "train.epochs=1"],
    );
    let (mut evaluated, mut rejected) = (BTreeSet::new(), BTreeMap::new());
    for (row, score) in crate::common::judged(&folder.join("out")) {
        let id = (row.run.unwrap(), row.ls.unwrap());
        match (score, row.rejected) {
            (Some(_), _) => assert!(evaluated.insert(id)),
            (None, reason) => assert!(rejected.insert(id, reason.unwrap().to_string()).is_none()),
        }
    }
    (evaluated, rejected)
}

/// A histogram for every lumisection.
fn write_histograms(path: &Path, ids: impl IntoIterator<Item = Id>) {
    let rows: String = ids
        .into_iter()
        .map(|(run, ls)| format!("{run},{ls},\"[{}, {}, 5]\"\n", 1 + ls % 7, 1 + run % 5))
        .collect();
    fs::write(path, format!("run_number,ls_number,data\n{rows}")).unwrap();
}

const REST: &str =
    "[split]\nby = \"block\"\n[model]\nhidden = [4]\nlatent = 2\n[scale]\nkind = \"unit-area\"\n";

#[test]
fn conditions_on_oms_select_the_same_lumisections_as_the_file_says() {
    let Some(oms) = shared("data/oms_pixelae_2024/pixel/omsdata_Run2024B-v1.json") else { return };
    let place = tempfile::tempdir().unwrap();
    let columns = json(&oms);
    let column = |name: &str| columns[name].as_array().unwrap();
    let ids: Vec<Id> = column("run_number")
        .iter()
        .zip(column("lumisection_number"))
        .map(|(run, ls)| (run.as_u64().unwrap() as u32, ls.as_u64().unwrap() as u32))
        .collect();
    let unknown: Vec<Id> = (1..=40).map(|ls| (379_999, ls)).collect();
    write_histograms(&place.path().join("data.csv"), ids.iter().chain(&unknown).copied());
    let number = |name: &str, i: usize| column(name)[i].as_f64().unwrap();
    let flag = |name: &str, i: usize| column(name)[i].as_bool().unwrap();
    type Holds<'a> = Box<dyn Fn(usize) -> bool + 'a>;
    let conditions: [(&str, Holds<'_>); 4] = [
        ("\"beams_stable\"", Box::new(|i| flag("beams_stable", i))),
        ("\"pileup > 25\"", Box::new(|i| number("pileup", i) > 25.0)),
        (
            "\"not cms_active or prescale_index < 3\"",
            Box::new(|i| !flag("cms_active", i) || number("prescale_index", i) < 3.0),
        ),
        (
            "\"beams_stable\", \"recorded_lumi_per_lumisection / delivered_lumi_per_lumisection > 0.95\", \"prescale_name != '386b'\"",
            Box::new(|i| {
                flag("beams_stable", i)
                    && number("recorded_lumi_per_lumisection", i)
                        / number("delivered_lumi_per_lumisection", i)
                        > 0.95
                    && column("prescale_name")[i] != "386b"
            }),
        ),
    ];
    for (condition, holds) in conditions {
        let config = format!(
            "[data]\ntrain = [\"data.csv\"]\noms = [\"{}\"]\n[select]\nwhere = [{condition}]\n{REST}",
            oms.display()
        );
        let (evaluated, rejected) = train(place.path(), &config);
        let expected: BTreeSet<Id> = (0..ids.len()).filter(|&i| holds(i)).map(|i| ids[i]).collect();
        assert!(
            !expected.is_empty() && expected == evaluated,
            "{condition}: {} expected, {} evaluated",
            expected.len(),
            evaluated.len()
        );
        assert!(unknown.iter().all(|id| rejected[id] == "unknown in OMS"), "{condition}");
    }
    let config = format!(
        "[data]\ntrain = [\"data.csv\"]\noms = [\"{}\"]\n[select]\nwhere = [\"pileup > 25\"]\nunknown = \"keep\"\n{REST}",
        oms.display()
    );
    assert!(unknown.iter().all(|id| train(place.path(), &config).0.contains(id)));
    let (code, _, err) =
        run(place.path(), &["check", "config.toml", "--set", "select.where=[\"pilup > 25\"]"]);
    assert!(code == 2 && err.contains("did you mean \"pileup\"?"), "{err}");
}

#[test]
fn trigger_rates_are_found_whatever_the_version_of_the_path() {
    let Some(hlt) = shared("data/oms_pixelae_2024/pixel/hltrate_Run2024B-v1.json") else { return };
    let place = tempfile::tempdir().unwrap();
    let mut rates: BTreeMap<Id, f64> = BTreeMap::new();
    for (run, paths) in json(&hlt).as_object().unwrap() {
        for (path, entries) in
            paths.as_object().unwrap().iter().filter(|(path, _)| path.starts_with("HLT_ZeroBias_v"))
        {
            let lumisections = entries["first_lumisection_number"].as_array().unwrap();
            for (ls, rate) in lumisections.iter().zip(entries["rate"].as_array().unwrap()) {
                let id = (run.parse().unwrap(), ls.as_u64().unwrap() as u32);
                assert!(rates.insert(id, rate.as_f64().unwrap()).is_none(), "{path}");
            }
        }
    }
    let unknown: Vec<Id> = (1..=9).map(|ls| (1, ls)).collect();
    write_histograms(&place.path().join("data.csv"), rates.keys().chain(&unknown).copied());
    let config = format!(
        "[data]\ntrain = [\"data.csv\"]\nhlt = [\"{}\"]\n[select]\nwhere = [\"HLT_ZeroBias_v* > 5\"]\n{REST}",
        hlt.display()
    );
    let (evaluated, rejected) = train(place.path(), &config);
    assert_eq!(
        evaluated,
        rates.iter().filter(|(_, rate)| **rate > 5.0).map(|(id, _)| *id).collect()
    );
    assert!(unknown.iter().all(|id| rejected[id] == "unknown in the HLT rates"));
}

#[test]
fn golden_labels_are_those_of_the_column_that_was_made_from_them() {
    let Some(folder) = shared("data/ml4dqm_sharedtools_2017") else { return };
    let place = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.join(name).canonicalize().unwrap().display().to_string();
    let config = format!(
        "[data]\ntrain = [\"{}\"]\n[labels]\ngood = \"{}\"\ncomplete = true\nsets = {{ column = \"Json\", pixel = {{ file = \"{}\", lists = \"bad\", complete = false }} }}\n{REST}",
        text("random_subset_MainDiagonal.txt"),
        text("GoldenJSON17.json"),
        text("JsonBAD17.json"),
    );
    train(place.path(), &config);
    let scores = crate::common::scores(&place.path().join("out"));
    assert_eq!(scores.labels, ["good", "column", "pixel"]);
    assert_eq!(scores.rows.len(), 10_000);
    let of = |set: usize, label: Option<bool>| {
        scores.rows.iter().filter(|row| row.labels[set] == label).count()
    };
    assert!(
        scores.rows.iter().all(|row| row.labels[0] == row.labels[1]),
        "the JSON and the column disagree"
    );
    assert_eq!((of(0, Some(true)), of(0, Some(false))), (8975, 1025));
    assert_eq!(
        (of(2, Some(false)), of(2, Some(true)), of(2, None)),
        (151, 0, 9849),
        "an incomplete list says nothing of the others"
    );
    let bad = |row: &&lumisift::score::row::ScoredRow| {
        row.labels[2] == Some(false) && row.labels[0] == Some(true)
    };
    assert_eq!(scores.rows.iter().filter(bad).count(), 72);
}

#[test]
fn label_arrays_and_subsystems_follow_the_rows_of_the_table() {
    let Some(folder) = shared("parity/cms2010b") else { return };
    let place = tempfile::tempdir().unwrap();
    let quality = place.path().join("Quality2010");
    fs::create_dir(&quality).unwrap();
    for entry in fs::read_dir(folder.join("Quality2010")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, quality.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(quality.join("notes.txt"), "not a label file").unwrap();
    let file = |name: &str| folder.join(name).canonicalize().unwrap().display().to_string();
    let config = format!(
        "[data]\ntrain = [\"{}\"]\n[labels]\ngood = \"{}\"\ncomplete = true\nsubsystems = {{ folder = \"Quality2010\", pattern = \"Cert_13TeV_2010_*.txt\" }}\n[weights]\nfrom = \"max(_instantLumi_minibias, _instantLumi_muons, _instantLumi_photons)\"\n[select]\nnonzero_weight = true\n[split]\nby = \"block\"\n[scale]\nkind = \"standard\"\n",
        file("features.parquet"),
        file("labels.npy")
    );
    fs::write(place.path().join("config.toml"), &config).unwrap();
    let checked: Value =
        serde_json::from_str(&succeed(place.path(), &["check", "config.toml", "--format", "json"]))
            .unwrap();
    let labels = checked["labels"].as_array().unwrap();
    let names: Vec<&str> = labels.iter().map(|set| set["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["good", "Csc", "Ecal", "Hlt", "L1tcalo", "Lumi", "Muon", "Pix", "Track"]);
    assert!(labels.iter().all(|set| set["unknown"] == 0), "{labels:?}");
    assert_eq!(labels[5]["good"], 0, "no lumisection is good for Lumi");
    assert!(
        checked["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|warning| warning.as_str().unwrap().contains("skipped notes.txt")),
        "{checked}"
    );
    assert_eq!(checked["bins"], 2694, "identities and the columns of the weight are no features");
    let zero = checked["not_evaluated"]
        .as_array()
        .unwrap()
        .iter()
        .find(|reason| reason[0] == "weight 0")
        .unwrap()[1]
        .as_u64()
        .unwrap();
    let rows: u64 =
        checked["rows"].as_array().unwrap().iter().map(|split| split[1].as_u64().unwrap()).sum();
    assert!(zero > 0 && zero + rows == 640, "{checked}");

    succeed(
        place.path(),
        &["train", "config.toml", "--out", "out", "-q", "--set", "train.epochs=1"],
    );
    succeed(
        place.path(),
        &["score", "out", "--data", &file("features.parquet"), "--out", "again.parquet", "-q"],
    );
    fs::copy(place.path().join("again.parquet"), place.path().join("scores.parquet")).unwrap();
    let again: BTreeMap<Id, f64> = crate::common::judged(place.path())
        .into_iter()
        .filter_map(|(row, score)| Some(((row.run?, row.ls?), score?)))
        .collect();
    for (row, score) in crate::common::judged(&place.path().join("out")) {
        if let (Some(run), Some(ls), Some(score)) = (row.run, row.ls, score) {
            assert_eq!(again[&(run, ls)], score, "run {run} LS {ls}");
        }
    }

    let short = place.path().join("short.npy");
    let mut bytes = fs::read(folder.join("labels.npy")).unwrap();
    let at = bytes.windows(6).position(|part| part == b"(640,)").unwrap();
    bytes[at..at + 6].copy_from_slice(b"(600,)");
    bytes.truncate(128 + 600 * 8);
    fs::write(&short, bytes).unwrap();
    let (code, _, err) =
        run(place.path(), &["check", "config.toml", "--set", "labels.good=\"short.npy\""]);
    assert!(code == 2 && err.contains("600 labels for 640 rows"), "{err}");
}

#[test]
fn luminosity_weighs_is_an_input_and_divides() {
    let place = tempfile::tempdir().unwrap();
    let rows: String = (1..=60)
        .map(|ls| format!("7:1,{ls}:{ls},x,STABLE BEAMS,6500,{},{},30,PXL\n", 2 * ls, ls))
        .collect();
    fs::write(
        place.path().join("lumi.csv"),
        format!(
            "#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/ub),avgpu,source\n{rows}"
        ),
    )
    .unwrap();
    let data: String =
        (1..=62).map(|ls| format!("7,{ls},\"[{}, {}]\"\n", 10 * ls, 20 * ls)).collect();
    fs::write(place.path().join("data.csv"), format!("run_number,ls_number,data\n{data}")).unwrap();
    let config = "[data]\ntrain = [\"data.csv\"]\nbrilcalc = [\"lumi.csv\"]\nadd_inputs = [\"recorded / delivered\", \"avgpu\"]\n[weights]\nfrom = \"recorded\"\n[scale]\nkind = \"none\"\ndivide_by = \"recorded\"\nadded = \"none\"\n[split]\nby = \"block\"\nblock = 5\n[model]\nhidden = [3]\nlatent = 2\n";
    let (evaluated, rejected) = train(place.path(), config);
    assert_eq!(evaluated.len(), 60);
    assert_eq!(rejected[&(7, 61)], "unknown weight");
    let features = json(&place.path().join("out/channels.json"));
    assert_eq!(
        features[0]["features"],
        serde_json::json!(["bin_0", "bin_1", "recorded / delivered", "avgpu"])
    );
    // Divided by its luminosity every row is the same, so every score is.
    let scores: BTreeSet<String> = crate::common::judged(&place.path().join("out"))
        .iter()
        .filter_map(|(_, score)| *score)
        .map(|score| format!("{score:.4}"))
        .collect();
    assert_eq!(scores.len(), 1, "{scores:?}");
}

/// Histograms of ten runs with a label: as many rows of each of these values.
fn labelled(values: &[&str], runs: std::ops::Range<u32>) -> String {
    let ids = runs.flat_map(|run| (1..=30).map(move |ls| (run, ls)));
    let rows: String = ids
        .map(|(run, ls)| {
            format!(
                "{run},{ls},{},\"[{}, {}, 5]\"\n",
                values[ls as usize % values.len()],
                1 + ls % 7,
                1 + run % 5
            )
        })
        .collect();
    format!("run_number,ls_number,label,data\n{rows}")
}

/// Rows that are good, bad and unlabelled by the first label set of a scores file.
fn by_label(path: &Path) -> (usize, usize, usize) {
    let scores = lumisift::score::scores::Scores::read(path).unwrap();
    let count =
        |wanted: Option<bool>| scores.rows.iter().filter(|row| row.labels[0] == wanted).count();
    (count(Some(true)), count(Some(false)), count(None))
}

#[test]
fn a_value_that_nobody_named_is_neither_good_nor_bad() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    fs::write(place.join("three.csv"), labelled(&["0", "1", "-1"], 1..11)).unwrap();
    fs::write(place.join("two.csv"), labelled(&["0", "1"], 1..11)).unwrap();
    fs::write(place.join("bad.csv"), labelled(&["1"], 21..23)).unwrap();
    let config = |data: &str, source: &str| {
        fs::write(
            place.join("config.toml"),
            format!("[data]\ntrain = [\"{data}\"]\n[labels]\ngood = {source}\n{REST}"),
        )
        .unwrap();
    };
    let check = || -> Value {
        serde_json::from_str(&succeed(place, &["check", "config.toml", "--format", "json"]))
            .unwrap()
    };
    let train = |out: &str| {
        succeed(
            place,
            &["train", "config.toml", "--out", out, "-q", "--force", "--set", "train.epochs=1"],
        )
    };
    let counts = |checked: &Value| {
        ["good", "bad", "unknown"].map(|what| checked["labels"][0][what].as_u64().unwrap())
    };

    config("three.csv", "{ column = \"label\", values = [0] }");
    let checked = check();
    assert_eq!(counts(&checked), [100, 0, 200]);
    let warned = "labels.good, column \\\"label\\\": 100 rows have -1, 100 rows have 1, which are neither in values nor in bad_values: unlabelled";
    assert!(checked["warnings"].to_string().contains(warned), "{}", checked["warnings"]);
    config("three.csv", "{ column = \"label\", values = [0], bad_values = [1] }");
    let checked = check();
    assert_eq!(counts(&checked), [100, 100, 100]);
    assert!(
        checked["warnings"]
            .to_string()
            .contains("100 rows have -1, which is neither in values nor in bad_values: unlabelled")
    );
    config("three.csv", "{ column = \"label\", values = [0], bad_values = \"others\" }");
    assert_eq!(counts(&check()), [100, 200, 0]);
    config("three.csv", "\"label\"");
    let (code, _, err) = run(place, &["check", "config.toml"]);
    assert!(
        code == 2
            && err.contains("\"-1\" is neither true/false nor 1/0")
            && err.contains("bad_values = [...]"),
        "{err}"
    );
    for (source, part) in [
        ("{ column = \"label\", values = [0], bad_values = [0] }", "0 is in values as well"),
        ("{ column = \"label\", bad_values = [1] }", "1 means good by default"),
        (
            "{ column = \"label\", values = [0], bad_values = \"other\" }",
            "did you mean \"others\"?",
        ),
        ("{ file = \"golden.json\", bad_values = [1] }", "bad_values is for a column or a .npy"),
    ] {
        config("three.csv", source);
        let (code, _, err) = run(place, &["check", "config.toml"]);
        assert!(code == 2 && err.contains(part), "{source}: {err}");
    }

    // Of two values the other one is bad, in new data too, where it may be alone.
    config("two.csv", "{ column = \"label\", values = [0] }");
    assert!(
        check()["warnings"]
            .to_string()
            .contains("150 rows have 1, the only value other than 0, and count as bad")
    );
    train("two");
    let score = |data: &str| {
        succeed(place, &["score", "two", "--data", data, "--out", "scores.parquet", "-q"]);
        by_label(&place.join("scores.parquet"))
    };
    assert_eq!(score("bad.csv"), (0, 60, 0));
    assert_eq!(score("three.csv"), (100, 100, 100));
    // A model of before says nothing of that.
    let provenance = place.join("two/provenance.json");
    let mut before = json(&provenance);
    assert_eq!(
        before.as_object_mut().unwrap().remove("bad_values"),
        Some(serde_json::json!({"good": 1.0}))
    );
    fs::write(&provenance, before.to_string()).unwrap();
    assert_eq!(score("two.csv"), (150, 150, 0));
    assert_eq!(score("bad.csv"), (0, 0, 60), "unlabelled, which a warning says");
    // A model of true and false scores rows of other values, too.
    fs::write(place.join("usual.csv"), labelled(&["1", "0"], 1..11)).unwrap();
    config("usual.csv", "\"label\"");
    train("two");
    assert_eq!(score("three.csv"), (100, 100, 100));

    // Arrays and further sets are read alike.
    fs::write(
        place.join("config.toml"),
        format!("[data]\ntrain = [\"three.csv\"]\n[labels.sets]\nhot = {{ column = \"label\", values = [1] }}\n{REST}"),
    )
    .unwrap();
    let checked = check();
    assert_eq!(counts(&checked), [100, 0, 200]);
    assert!(
        checked["warnings"].to_string().contains("labels.sets.hot, column"),
        "{}",
        checked["warnings"]
    );
}

#[test]
fn rows_that_a_golden_json_does_not_name_are_counted_with_the_key() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    write_histograms(
        &place.join("data.csv"),
        (1..11).flat_map(|run| (1..=30).map(move |ls| (run, ls))),
    );
    let ranges: BTreeMap<String, [[u32; 2]; 1]> =
        (1..11).map(|run| (run.to_string(), [[1, 20]])).collect();
    fs::write(place.join("golden.json"), serde_json::to_string(&ranges).unwrap()).unwrap();
    fs::write(
        place.join("config.toml"),
        format!("[data]\ntrain = [\"data.csv\"]\n[labels]\ngood = \"golden.json\"\n{REST}"),
    )
    .unwrap();
    let told = "golden.json: names 200 of 300 rows as good; the other 100 stay unlabelled, so no row is bad; labels.complete = true makes them bad";
    let (_, out, err) = run(place, &["check", "config.toml"]);
    assert!(out.contains(told), "{out}{err}");
    let (_, out, err) =
        run(place, &["train", "config.toml", "--out", "out", "--set", "train.epochs=1"]);
    assert!(
        out.contains("labels.complete = true") || err.contains("labels.complete = true"),
        "{out}{err}"
    );
    let (_, out, err) =
        run(place, &["score", "out", "--data", "data.csv", "--out", "scores.parquet"]);
    assert!(
        out.contains("labels.complete = true") || err.contains("labels.complete = true"),
        "{out}{err}"
    );
    let checked = succeed(place, &["check", "config.toml", "--set", "labels.complete=true"]);
    assert!(
        !checked.contains("unlabelled") && checked.contains("200 good, 100 bad, 0 unknown"),
        "{checked}"
    );
}
