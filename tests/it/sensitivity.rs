//! Injected defects: what is found of them, on made histograms and maps.

use crate::common::{config, metsig, run, scores, succeed};
use lumisift::{prepare::split::Split, score::scores::Scores};
use serde_json::Value;
use std::{fs, path::Path};

/// Runs `sensitivity` and returns what it found.
fn found(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(
        folder,
        &[&["sensitivity", "--format", "json", "-q"], arguments].concat(),
    ))
    .unwrap()
}

/// The efficiency at a size and strength.
fn efficiency(found: &Value, (x, y): (u64, u64), strength: f64) -> f64 {
    let points = found["points"].as_array().unwrap();
    let point = points
        .iter()
        .find(|point| point["x"] == x && point["y"] == y && point["strength"] == strength)
        .unwrap();
    point["efficiency"]["share"].as_f64().unwrap()
}

const METSIG: [&str; 4] =
    ["--set", "data.train=[\"good.csv\"]", "--set", "data.test=[\"bad1.csv\", \"bad2.csv\"]"];

#[test]
fn large_strong_defects_of_histograms_are_found_and_small_weak_ones_are_not() {
    let folder = metsig("1");
    let folder = folder.path();
    let toml = config("metsig.toml");
    let first = found(folder, &[&[&toml, "--out", "first"], &METSIG[..]].concat());
    assert!(efficiency(&first, (10, 1), 5.0) >= 0.95, "{first}");
    let alarms = first["false_alarms"][0]["share"].as_f64().unwrap();
    assert!(alarms < 0.02 && (efficiency(&first, (1, 1), 0.75) - alarms).abs() < 0.03, "{first}");
    let dead: Vec<f64> = [1, 2, 5, 10].map(|size| efficiency(&first, (size, 1), 0.0)).to_vec();
    assert!(dead.is_sorted() && dead[3] > dead[0] + 0.3, "{dead:?}");
    assert_eq!((&first["rows"], first["points"].as_array().unwrap().len()), (&200.into(), 28));
    for point in first["points"].as_array().unwrap() {
        let (share, interval) =
            (point["efficiency"]["share"].as_f64().unwrap(), &point["efficiency"]["interval"]);
        assert!(interval[0].as_f64().unwrap() <= share && share <= interval[1].as_f64().unwrap());
        assert!(point["iou"].is_null() && point.get("by_channel").is_none());
    }

    // The same seed gives the same bytes, and other sizes need no other training.
    succeed(folder, &[&["sensitivity", &toml, "--out", "second", "-q"], &METSIG[..]].concat());
    succeed(folder, &["sensitivity", "first/experiment", "--out", "third", "-q"]);
    for name in ["sensitivity.parquet", "sensitivity.json", "sensitivity.html", "sensitivity.png"] {
        let read = |place: &str| fs::read(folder.join(place).join(name)).unwrap();
        assert!(read("first") == read("second"), "{name} differs");
        assert!(
            name.ends_with("json") || name.ends_with("html") || read("first") == read("third"),
            "{name} differs"
        );
    }
    let more = [
        &[
            "sensitivity",
            &toml,
            "--out",
            "first",
            "--set",
            "sensitivity.sizes=[{x=5}]",
            "--set",
            "sensitivity.rows=9",
        ],
        &METSIG[..],
    ]
    .concat();
    let (code, _, err) = run(folder, &more);
    assert!(
        code == 2
            && err.contains(
                "--out first: holds sensitivity.parquet; choose another folder, or --force"
            ),
        "{err}"
    );
    let (code, out, err) = run(folder, &[&more[..], &["--force"]].concat());
    assert!(
        code == 0
            && err.contains("trained already")
            && out.contains("of 9 rows")
            && out.contains("×0.25"),
        "{out}{err}"
    );
    // Points do not depend on what else is tried.
    let again = found(
        folder,
        &[
            "first/experiment",
            "--out",
            "fourth",
            "--set",
            "sensitivity.sizes=[{x=5}]",
            "--set",
            "sensitivity.strengths=[2.0]",
        ],
    );
    assert_eq!(efficiency(&again, (5, 1), 2.0), efficiency(&first, (5, 1), 2.0));
}

#[test]
fn changed_rows_are_flagged_as_if_they_were_read_from_a_file() {
    let folder = metsig("1");
    let folder = folder.path();
    succeed(
        folder,
        &[&["train", &config("metsig.toml"), "--out", "own", "-q"], &METSIG[..]].concat(),
    );
    // A defect in all bins can be at one place only.
    let sets = [
        "sensitivity.sizes=[{x=53}]",
        "sensitivity.strengths=[1.25]",
        "sensitivity.poisson=false",
        "sensitivity.rows=10000",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let injected = found(folder, &[&["own", "--out", "injected"], &sets[..]].concat());
    let text = fs::read_to_string(folder.join("good.csv")).unwrap();
    let times = |text: &str| {
        text.parse::<f64>().map_or_else(|_| text.to_owned(), |value| (1.25 * value).to_string())
    };
    let changed = |line: &str| {
        let (before, bins) = line.split_once('[').unwrap();
        let (bins, after) = bins.split_once(']').unwrap();
        let bins: Vec<String> = bins.split(',').map(|bin| times(bin.trim())).collect();
        format!("{before}[{}]{after}\n", bins.join(", "))
    };
    let lines: String = text
        .lines()
        .enumerate()
        .map(|(at, line)| if at == 0 { format!("{line}\n") } else { changed(line) })
        .collect();
    fs::write(folder.join("changed.csv"), lines).unwrap();
    succeed(folder, &["score", "own", "--data", "changed.csv", "--out", "changed.parquet", "-q"]);
    let (own, changed) =
        (scores(&folder.join("own")), Scores::read(&folder.join("changed.parquet")).unwrap());
    let tried = (0..own.rows.len()).filter(|&at| {
        own.rows[at].split == Split::Valid && own.main().unwrap().flagged(at) == Some(false)
    });
    let flags = tried.map(|at| {
        let same = changed.rows.iter().position(|row| row.ls == own.rows[at].ls).unwrap();
        changed.main().unwrap().flagged(same) == Some(true)
    });
    let flags: Vec<bool> = flags.collect();
    let expected = flags.iter().filter(|flag| **flag).count();
    assert!(expected > 0 && expected < flags.len(), "{expected} of {}", flags.len());
    let point = &injected["points"][0]["efficiency"];
    assert_eq!((&point["flagged"], &point["rows"]), (&expected.into(), &flags.len().into()));
}

#[test]
fn defects_of_maps_are_found_where_enough_layers_have_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeed(
        folder,
        &[
            "synth",
            "occupancy",
            ".",
            "--lumisections",
            "300",
            "--test-lumisections",
            "240",
            "--layers",
            "2",
            "--seed",
            "5",
            "-q",
        ],
    );
    let toml = config("pixel-nmf.toml");
    let sets = [
        "data.train=[\"train/*.parquet\"]",
        "data.test=[\"test/*.parquet\"]",
        "data.oms=[\"oms.json\"]",
        "data.hlt=[\"hlt.json\"]",
        "patterns.automasks=[\"automasks.csv\"]",
        "patterns.dynamic_mask=5",
        "sensitivity.sizes=[{x=8,y=3},{x=2,y=2}]",
        "sensitivity.strengths=[0.0, 5.0]",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let both = found(folder, &[&[&toml, "--out", "both"], &sets[..]].concat());
    assert_eq!((&both["settings"]["channels"], &both["unit"]), (&2.into(), &"bins (x × y)".into()));
    assert!(
        both["notes"].to_string().contains("patterns.dynamic_mask is off"),
        "{}",
        both["notes"]
    );
    for strength in [0.0, 5.0] {
        assert!(efficiency(&both, (8, 3), strength) >= 0.95, "{both}");
        assert!(efficiency(&both, (2, 2), strength) <= 0.05, "{both}");
    }
    let points = both["points"].as_array().unwrap();
    assert!(
        points[0]["iou"].as_f64().unwrap() > 0.8 && points[2]["iou"].as_f64().unwrap() < 0.05,
        "{both}"
    );
    assert_eq!(points[0]["by_channel"].as_array().unwrap().len(), 2);
    let one = found(
        folder,
        &[
            "both/experiment",
            "--out",
            "one",
            "--set",
            "sensitivity.channels=1",
            "--set",
            "sensitivity.sizes=[{x=8,y=3}]",
        ],
    );
    for strength in [0.0, 5.0] {
        assert!(efficiency(&one, (8, 3), strength) <= 0.05, "{one}");
    }
    let by_channel = &one["points"][0]["by_channel"];
    assert!((0..2).all(|at| by_channel[at]["share"].as_f64().unwrap() >= 0.95), "{one}");
    assert_eq!(
        by_channel[0]["rows"].as_u64().unwrap() + by_channel[1]["rows"].as_u64().unwrap(),
        one["rows"].as_u64().unwrap()
    );

    for (set, told) in [
        ("sensitivity.channels=3", "sensitivity.channels: found 3; expected at most 2"),
        (
            "sensitivity.sizes=[{x=2,y=2},{x=8,y=25}]",
            "sensitivity.sizes[1]: found 8 × 25 bins; expected at most the 64 × 24 of PXLayer_1",
        ),
        (
            "sensitivity.strengths=[0.5,1.0]",
            "sensitivity.strengths[1]: found 1; does not change the contents",
        ),
        (
            "sensitivity.strengths=[-0.5]",
            "sensitivity.strengths[0]: found -0.5; expected a factor of at least 0",
        ),
        ("sensitivity.sizes=[{x=0}]", "sensitivity.sizes[0].x: found 0; expected at least 1"),
        ("train.epochs=3", "train.epochs is fixed by the training of the experiment"),
    ] {
        let (code, _, err) =
            run(folder, &["sensitivity", "both/experiment", "--out", "refused", "--set", set]);
        assert!(code == 2 && err.contains(told), "{set}: {err}");
    }
    assert!(!folder.join("refused").exists());
}

#[test]
fn what_cannot_be_tried_is_refused_before_it_is_trained() {
    let folder = metsig("0.2");
    let folder = folder.path();
    let toml = config("metsig.toml");
    let refused = |sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let (code, _, err) =
            run(folder, &[&["sensitivity", &toml, "--out", "refused"], &sets[..]].concat());
        assert!(code == 2 && !folder.join("refused").exists(), "{err}");
        err
    };
    fs::write(
        folder.join("all.toml"),
        "data.train = [\"good.csv\"]\nsplit = {by = \"order\", valid = 0.0}\nthreshold.on = \"train\"\nmodel = {hidden = [8], latent = 2}\ntrain.epochs = 1\n",
    )
    .unwrap();
    let (code, _, none) = run(folder, &["sensitivity", "all.toml", "--out", "refused"]);
    assert!(code == 2 && !folder.join("refused").exists(), "{none}");
    assert!(none.contains("none is held out from training and good"), "{none}");
    let own = refused(&["data.train=[\"good.csv\"]", "data.test=[]", "threshold.on=\"scored\""]);
    assert!(own.contains("threshold.on = \"scored\" finds a threshold on each run"), "{own}");
    let each =
        refused(&["data.train=[\"good.csv\"]", "data.test=[]", "scale.fit_on=\"each-file\""]);
    assert!(each.contains("scale.fit_on = \"each-file\""), "{each}");
    let large =
        refused(&["data.train=[\"good.csv\"]", "data.test=[]", "sensitivity.sizes=[{x=5,y=2}]"]);
    assert!(
        large.contains("sensitivity.sizes[0]: found 5 × 2 bins; expected at most the 53"),
        "{large}"
    );
    fs::write(
        folder.join("features.csv"),
        (0..90).fold("run,ls,a,b\n".to_owned(), |text, ls| {
            format!("{text}1,{ls},{},{}\n", ls % 7, ls % 5)
        }),
    )
    .unwrap();
    let features = refused(&["data.train=[\"features.csv\"]", "data.test=[]"]);
    assert!(
        features.contains(
            "the rows are features; defects are injected into the bins of histograms and maps"
        ),
        "{features}"
    );
    let (code, _, err) = run(folder, &["sensitivity", "data", "--out", "refused"]);
    assert!(code == 2 && err.contains("data: no such file"), "{err}");
}
