//! Several models a channel: their scores are means, and what they disagree on is told.

use crate::common::{config, metsig, run, succeed};
use lumisift::{files::folder::Folder, score::scores::Scores};
use std::{fs, path::Path};

fn train(place: &Path, out: &str, more: &[&str]) -> (i32, String, String) {
    let config = config("metsig.toml");
    let sets = ["data.train=[\"good.csv\"]", "data.test=[\"bad1.csv\"]", "train.epochs=6"];
    let mut arguments = vec!["train", &config, "--out", out, "-q"];
    sets.iter().chain(more).for_each(|set| arguments.extend(["--set", set]));
    run(place, &arguments)
}

#[test]
fn an_ensemble_scores_by_the_mean_and_tells_what_its_members_disagree_on() {
    let place = metsig("0.3");
    let place = place.path();
    assert_eq!(train(place, "one", &[]).0, 0);
    let (code, out, err) = train(place, "three", &["train.ensemble=3"]);
    assert!(code == 0 && out.contains("6 epochs of 3 members"), "{out} {err}");

    let bytes = |path: &str| fs::read(place.join(path)).unwrap();
    assert_eq!(
        bytes("one/model/all.safetensors"),
        bytes("three/model/all.safetensors"),
        "the first member is the model that is trained alone"
    );
    assert_ne!(
        bytes("three/model/all.member-2.safetensors"),
        bytes("three/model/all.member-3.safetensors")
    );
    let history = Folder::open(&place.join("three")).unwrap().read_history().unwrap();
    assert_eq!(
        history.iter().map(|line| (line.member, line.epoch.epoch)).collect::<Vec<_>>(),
        (0..3).flat_map(|m| (1..=6).map(move |e| (m, e))).collect::<Vec<_>>()
    );

    // Each member alone, by way of its weights; all three are the ensemble.
    let scores = Scores::read(&place.join("three/scores.parquet")).unwrap();
    let mut alone = vec![];
    for file in ["all", "all.member-2", "all.member-3"] {
        let init = format!("train.init=\"three/model/{file}.safetensors\"");
        assert_eq!(train(place, &format!("from-{file}"), &[&init, "train.epochs=0"]).0, 0);
        alone.push(Scores::read(&place.join(format!("from-{file}/scores.parquet"))).unwrap());
    }
    let channel = &scores.channels[0];
    for row in (0..scores.rows.len()).filter(|&row| channel.scores[row].is_some()) {
        let of: Vec<f64> =
            alone.iter().map(|scores| scores.channels[0].scores[row].unwrap()).collect();
        let mean = of.iter().sum::<f64>() / 3.0;
        let spread = (of.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        let flagging =
            alone.iter().filter(|scores| scores.channels[0].flagged(row) == Some(true)).count()
                as f64
                / 3.0;
        assert!((channel.scores[row].unwrap() / mean - 1.0).abs() < 1e-12);
        assert!(
            (channel.spread[row].unwrap() - spread).abs() < 1e-9 * mean,
            "{:?} {spread}",
            channel.spread[row]
        );
        assert_eq!(channel.flagging[row], Some(flagging));
    }
    assert!(
        channel.flagging.iter().flatten().any(|share| *share == 1.0),
        "known anomalies are flagged by all"
    );

    // New data, and thresholds anew.
    succeed(place, &["score", "three", "--data", "bad1.csv", "--out", "again.parquet", "-q"]);
    let again = Scores::read(&place.join("again.parquet")).unwrap();
    let of_file = |scores: &Scores| -> Vec<_> {
        let rows = (0..scores.rows.len()).filter(|&row| &*scores.rows[row].file == "bad1.csv");
        rows.map(|row| {
            (
                scores.channels[0].scores[row],
                scores.channels[0].spread[row],
                scores.channels[0].flagging[row],
            )
        })
        .collect()
    };
    assert_eq!(of_file(&again), of_file(&scores));
    succeed(place, &["calibrate", "three", "--data", "good.csv", "-q"]);
    assert!(
        Scores::read(&place.join("three/scores.parquet")).unwrap().channels[0]
            .flagging
            .iter()
            .all(Option::is_none),
        "not known any more"
    );
    succeed(place, &["score", "three", "--data", "bad1.csv", "--out", "again.parquet", "-q"]);
    assert!(
        of_file(&Scores::read(&place.join("again.parquet")).unwrap())
            .iter()
            .any(|(_, _, flagging)| *flagging == Some(1.0))
    );

    // Each has latents of its own.
    let encode = |member: &str| {
        run(
            place,
            &[
                "encode",
                "three",
                "--data",
                "bad1.csv",
                "--out",
                "latents.csv",
                "--member",
                member,
                "-q",
            ],
        )
    };
    assert_eq!(encode("2").0, 0);
    let (code, _, err) = encode("4");
    assert!(code == 2 && err.contains("--member 4: there are 3"), "{err}");
}

#[test]
fn members_that_would_be_the_same_are_refused() {
    let place = metsig("0.3");
    assert_eq!(train(place.path(), "one", &[]).0, 0);
    let sets = ["train.ensemble=2", "train.init=\"one/model\"", "train.shuffle=false"];
    let (code, _, err) = train(place.path(), "two", &sets);
    assert!(code == 2 && err.contains("the 2 members would all be the same"), "{err}");
    assert_eq!(
        train(place.path(), "two", &sets[..2]).0,
        0,
        "another order of batches makes them differ"
    );
}
