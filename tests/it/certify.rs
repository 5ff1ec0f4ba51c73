//! From scores to verdicts, as a certifier does it.

use crate::common::{config, metsig, root, run, scores, shared, succeed};
use lumisift::{
    certify::conformal::{Reference, correlated_over},
    data::lumi::golden_json::LumisectionSet,
    prepare::split::Split,
    random,
    score::scores::Scores,
};
use rand::{RngExt, seq::SliceRandom};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
    process::Command,
};

type Id = (u32, u32);

/// The LSs of each made run.
const LENGTH: u32 = 60;
/// The runs: those to train on, and the two to test on.
const TRAIN: std::ops::RangeInclusive<u32> = 301..=312;
const TEST: std::ops::RangeInclusive<u32> = 321..=322;
/// Bad lumisections of each test run.
const BAD: std::ops::RangeInclusive<u32> = 20..=24;

/// Histograms of some runs with a column `label`: those in `BAD` of test runs lean to one side, LS
/// 1 of each run is empty.
fn histograms(runs: impl Iterator<Item = u32>, seed: u64) -> String {
    let mut text = "run_number,ls_number,label,data\n".to_owned();
    for run in runs {
        let mut chance = random::generator(seed, "made histograms", u64::from(run));
        for ls in 1..=LENGTH {
            let bad = TEST.contains(&run) && BAD.contains(&ls);
            let bin = |bin: u32| {
                let shape = 200.0 - 8.0 * (f64::from(bin) - 5.5).powi(2) / 2.0;
                let lean = if bad { 1.0 + 0.12 * (f64::from(bin) - 5.5) } else { 1.0 };
                (shape * lean + chance.random_range(-25.0..25.0)).round()
            };
            let bins: Vec<f64> =
                (0..12).map(bin).map(|value| if ls == 1 { 0.0 } else { value }).collect();
            let _ = writeln!(text, "{run},{ls},{},\"{bins:?}\"", u8::from(!bad));
        }
    }
    text
}

const CONFIG: &str = "[data]\ntrain = [\"good.csv\"]\ntest = [\"new.csv\"]\n[labels]\ngood = \"label\"\n[split]\nby = \"run\"\nvalid = 0.5\n[scale]\nkind = \"unit-area\"\n\
    [model]\nhidden = [8]\nlatent = 2\noutput_activation = \"linear\"\n[train]\nepochs = 30\nbatch_size = 32\n[report]\nprojections = []\ntensorboard = false\n";

/// A folder with an experiment on made runs, under each of these names; each sees other noise.
fn made(names: &[&str], more: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for (seed, name) in names.iter().enumerate() {
        let folder = place.path().join(format!("{name}-data"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("good.csv"), histograms(TRAIN, seed as u64)).unwrap();
        fs::write(folder.join("new.csv"), histograms(TEST, seed as u64)).unwrap();
        fs::write(folder.join(format!("{name}.toml")), format!("{CONFIG}{more}")).unwrap();
        succeed(place.path(), &["train", &format!("{name}-data/{name}.toml"), "--out", name, "-q"]);
    }
    place
}

fn summary(place: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["certify"];
    all.extend(arguments);
    all.extend(["--format", "json"]);
    serde_json::from_str(&succeed(place, &all)).unwrap()
}

/// Expects a refusal (exit code 2) whose message has all of `parts`, and no file.
fn refused(place: &Path, arguments: &[&str], parts: &[&str]) {
    let mut all = vec!["certify"];
    all.extend(arguments);
    all.extend(["--out", "refused.json"]);
    let (code, out, err) = run(place, &all);
    assert_eq!(code, 2, "{out}\n{err}");
    for part in parts {
        assert!(err.contains(part), "{part:?} in\n{err}");
    }
    assert!(
        !place.join("refused.json").exists() && !place.join("refused.csv").exists(),
        "nothing is written"
    );
}

fn set(path: &Path) -> BTreeSet<Id> {
    let set = LumisectionSet::read(path).unwrap();
    set.runs()
        .iter()
        .flat_map(|(run, ranges)| {
            ranges.iter().flat_map(move |(first, last)| (*first..=*last).map(move |ls| (*run, ls)))
        })
        .collect()
}

/// The four files of a golden JSON: good, grey, bad, not evaluated.
fn four(place: &Path, stem: &str) -> [BTreeSet<Id>; 4] {
    ["json", "grey.json", "bad.json", "not-evaluated.json"]
        .map(|ending| set(&place.join(format!("{stem}.{ending}"))))
}

/// The rows of a CSV by the names of its columns.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().map(|row| row.unwrap()).collect()
}

/// What pandas counts; nothing without a Python.
fn counted(place: &Path, arguments: &[&str]) -> Option<Value> {
    let python = crate::common::python("pandas and pyarrow")?;
    let output = Command::new(python)
        .current_dir(place)
        .arg(root().join("scripts/reference/check_certify.py"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn lumisections_become_good_grey_bad_or_not_evaluated() {
    let place = made(&["tracks"], "");
    let place = place.path();
    let said = summary(
        place,
        &[
            "tracks",
            "--out",
            "golden.json",
            "--set",
            "certify.block=1",
            "--set",
            "certify.bad={false_alarm_rate=0.01}",
        ],
    );
    let [good, grey, bad, not] = four(place, "golden");
    let scores = scores(&place.join("tracks"));
    let all: BTreeSet<Id> =
        scores.rows.iter().map(|row| (row.run.unwrap(), row.ls.unwrap())).collect();
    assert_eq!(
        good.len() + grey.len() + bad.len() + not.len(),
        all.len(),
        "no lumisection is in two files"
    );
    assert_eq!(
        good.iter().chain(&grey).chain(&bad).chain(&not).copied().collect::<BTreeSet<Id>>(),
        all,
        "and each is in one"
    );
    assert!(
        TEST.flat_map(|run| BAD.map(move |ls| (run, ls))).all(|id| bad.contains(&id)),
        "{bad:?}"
    );
    assert!(
        TRAIN.chain(TEST).all(|run| not.contains(&(run, 1)))
            && not.len() == TRAIN.chain(TEST).count(),
        "empty ones are not evaluated"
    );
    let counts = serde_json::json!({"good": good.len(), "grey": grey.len(), "bad": bad.len(), "not_evaluated": not.len()});
    assert_eq!(said["lumisections"], counts);
    assert_eq!(said["not_evaluated"], serde_json::json!([["empty (leading)", not.len()]]));

    // The cuts, what they buy, and the sample that says so; kept with the model too.
    let cuts = &said["experiments"][0]["cuts"][0];
    assert_eq!(
        (&cuts["sample"], &cuts["runs"], &cuts["rows"]),
        (&"validation rows".into(), &6.into(), &(6 * (LENGTH - 1)).into())
    );
    let cut = cuts["bad"]["score"].as_f64().unwrap();
    let valid: Vec<f64> = (0..scores.rows.len())
        .filter(|&row| scores.rows[row].split == Split::Valid)
        .filter_map(|row| scores.channels[0].scores[row])
        .collect();
    assert_eq!(
        cuts["bad"]["false_alarms"]["rows"],
        valid.iter().filter(|score| **score > cut).count()
    );
    assert!(cuts["bad"]["false_alarms"]["share"].as_f64().unwrap() <= 0.01);
    let kept: Value =
        serde_json::from_str(&fs::read_to_string(place.join("tracks/cuts.json")).unwrap()).unwrap();
    assert_eq!(kept[0], *cuts);
    let trained = (0..scores.rows.len())
        .filter(|&row| {
            scores.rows[row].split == Split::Train && scores.rows[row].rejected.is_none()
        })
        .count();
    assert_eq!(said["trained_on"], trained);
    assert!(
        said["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|warning| warning.as_str().unwrap().contains("were trained on")),
        "{said}"
    );
    let held_out = summary(
        place,
        &["tracks", "--out", "held-out.json", "--held-out", "--set", "certify.block=1"],
    );
    assert_eq!(held_out["lumisections"]["not_evaluated"], not.len() + trained);
    assert_eq!(held_out["trained_on"], 0);

    // The table, and what is to be reviewed.
    let rows = table(&place.join("golden.csv"));
    assert_eq!(rows.len(), all.len());
    for row in &rows {
        let id: Id = (row["run"].parse().unwrap(), row["ls"].parse().unwrap());
        let file = [("good", &good), ("grey", &grey), ("bad", &bad), ("not evaluated", &not)]
            .into_iter()
            .find(|(_, set)| set.contains(&id))
            .unwrap();
        assert_eq!(row["verdict"], file.0);
        assert_eq!(row["score"].is_empty(), file.0 == "not evaluated");
        assert_eq!(row["reason"].is_empty(), file.0 == "good", "{row:?}");
        let p = row["p_value"].parse::<f64>().ok();
        assert_eq!(p.is_some_and(|p| p <= 0.01), file.0 == "bad", "{row:?}");
    }
    let review = table(&place.join("golden.review.csv"));
    let reviewed: BTreeSet<Id> = review
        .iter()
        .flat_map(|row| {
            (row["first_ls"].parse::<u32>().unwrap()..=row["last_ls"].parse().unwrap())
                .map(|ls| (row["run"].parse().unwrap(), ls))
        })
        .collect();
    assert_eq!(reviewed, grey.union(&bad).copied().collect());
    let stretch = review
        .iter()
        .find(|row| {
            row["run"] == "321"
                && row["verdict"] == "bad"
                && row["first_ls"].parse::<u32>().unwrap() >= 18
        })
        .unwrap();
    assert!(
        stretch["contributions"].contains("bin_") && stretch["before"].starts_with("LS "),
        "{stretch:?}"
    );
    let page = fs::read_to_string(place.join("golden.review.html")).unwrap();
    assert_eq!(page.matches("<tr class=").count(), review.len());
    let flagged: Value =
        serde_json::from_str(&fs::read_to_string(place.join("golden.flagged.json")).unwrap())
            .unwrap();
    assert!(
        flagged["321"]
            .as_array()
            .unwrap()
            .iter()
            .any(|stretch| stretch["range"][0].as_u64() <= Some(20)
                && stretch["reason"].as_str().unwrap().contains("false alarms"))
    );
    assert_eq!(table(&place.join("golden.dials.csv")).len(), bad.len());
    if let Some(counted) = counted(place, &["golden.json"]) {
        assert_eq!(counted["partition"], true, "{counted}");
        assert_ne!(counted["coffea"], false, "{counted}");
    }

    let (code, out, err) = run(place, &["certify", "tracks", "--out", "golden.json"]);
    assert!(
        code == 0
            && out.contains("verdicts")
            && out.contains("grey above")
            && out.contains("next")
            && err.contains("were trained on"),
        "{out}{err}"
    );
}

#[test]
fn people_have_the_last_word() {
    let place = made(&["tracks"], "[certify]\nblock = 1\n");
    let place = place.path();
    fs::write(place.join("runs.csv"), "run,score\n301,0.1\n302,0.95\n321,0.5\n").unwrap();
    let said = summary(
        place,
        &[
            "tracks",
            "--out",
            "a.json",
            "--runs",
            "runs.csv",
            "--set",
            "certify.run_scores=[0.2, 0.9]",
        ],
    );
    let [good, _, bad, not] = four(place, "a");
    assert!(
        (2..=LENGTH).all(|ls| good.contains(&(301, ls)) && bad.contains(&(302, ls)))
            && bad.contains(&(302, 1))
    );
    assert!(not.contains(&(301, 1)), "what is empty in a good run is not good");
    assert!(BAD.clone().all(|ls| bad.contains(&(321, ls))), "scores decide in grey runs");
    assert_eq!(said["run_flags"]["settled"], 2 * LENGTH);
    assert_eq!(said["run_flags"]["grey"], LENGTH);
    let row = table(&place.join("a.csv")).into_iter().find(|row| row["run"] == "302").unwrap();
    assert_eq!(
        (row["source"].as_str(), row["reason"].contains("runs.csv:3")),
        ("run", true),
        "{row:?}"
    );
    refused(
        place,
        &["tracks", "--runs", "runs.csv"],
        &["runs.csv:2: gives a score", "certify.run_scores"],
    );

    // The review list is filled in and read again.
    let mut lines: Vec<String> = fs::read_to_string(place.join("a.review.csv"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let line = lines.iter().position(|line| line.starts_with("321,20,")).unwrap();
    lines[line] = lines[line].replacen(",,,", ",good,beam dump,", 1);
    fs::write(place.join("decisions.csv"), lines.join("\n")).unwrap();
    let said = summary(place, &["tracks", "--out", "b.json", "--decisions", "decisions.csv"]);
    let [good, ..] = four(place, "b");
    assert!(BAD.clone().all(|ls| good.contains(&(321, ls))), "{good:?}");
    assert_eq!(said["decisions"]["changed"], BAD.count());
    let row = table(&place.join("b.csv"))
        .into_iter()
        .find(|row| row["run"] == "321" && row["ls"] == "20")
        .unwrap();
    assert!(
        row["source"] == "decision"
            && row["reason"].contains(&format!("decisions.csv:{}: beam dump", line + 1)),
        "{row:?}"
    );
    fs::write(
        place.join("conflict.csv"),
        "run,first_ls,last_ls,decision\n321,5,9,good\n321,9,12,bad\n",
    )
    .unwrap();
    refused(
        place,
        &["tracks", "--decisions", "conflict.csv"],
        &["run 321 LS 9", "conflict.csv:2 decides good", "conflict.csv:3 decides bad"],
    );
}

#[test]
fn experiments_are_joined_by_lumisection() {
    let place = made(&["tracks", "muons"], "[certify]\nblock = 1\n");
    let place = place.path();
    // Muons lack a lumisection.
    let text: String = histograms(TEST, 1)
        .lines()
        .filter(|line| !line.starts_with("322,7,"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(place.join("muons-data/new.csv"), text).unwrap();
    succeed(place, &["train", "muons-data/muons.toml", "--out", "muons", "-q", "--force"]);
    let alone = ["tracks", "muons"].map(|name| {
        summary(place, &[name, "--out", &format!("{name}.json")]);
        four(place, name)
    });
    let both = |at: usize| (&alone[0][at], &alone[1][at]);
    let flagged =
        |one: &[BTreeSet<Id>; 4]| one[1].union(&one[2]).copied().collect::<BTreeSet<Id>>();

    let said = summary(place, &["tracks", "muons", "--out", "any.json"]);
    let [good, grey, bad, not] = four(place, "any");
    assert_eq!(bad, both(2).0.union(both(2).1).copied().collect());
    assert_eq!(
        grey,
        &flagged(&alone[0]).union(&flagged(&alone[1])).copied().collect::<BTreeSet<_>>() - &bad
    );
    assert_eq!(good, &(both(0).0 & both(0).1) - &bad);
    assert!(not.contains(&(322, 7)), "missing in one is not good");
    assert_eq!(
        (&said["experiments"][0]["missing"], &said["experiments"][1]["missing"]),
        (&0.into(), &1.into())
    );
    assert!(
        said["not_evaluated"]
            .as_array()
            .unwrap()
            .contains(&serde_json::json!(["missing in muons", 1])),
        "{said}"
    );
    let all = summary(place, &["tracks", "muons", "--out", "all.json", "--rule", "all"]);
    assert_eq!(four(place, "all")[2], both(2).0 & both(2).1);
    let two = summary(place, &["tracks", "muons", "--out", "two.json", "--rule", "2-of-2"]);
    assert_eq!(two["lumisections"], all["lumisections"]);

    // The largest score has cuts of its own, at the rate that was asked for.
    let largest = summary(place, &["tracks", "muons", "--out", "max.json", "--rule", "max-score"]);
    let [good, _, bad, not] = four(place, "max");
    assert_eq!(largest["joint"]["rows"], 6 * (LENGTH - 1));
    assert!(largest["joint"]["bad"]["false_alarms"]["share"].as_f64().unwrap() <= 0.01);
    assert!(
        TEST.flat_map(|run| BAD.map(move |ls| (run, ls))).all(|id| bad.contains(&id))
            && not.contains(&(322, 7))
            && !good.is_empty()
    );
    for stem in ["any", "all", "max"] {
        let total: usize = four(place, stem).iter().map(BTreeSet::len).sum();
        assert_eq!(total as u32, 14 * LENGTH, "{stem}");
    }
    refused(
        place,
        &["tracks", "muons", "--rule", "3-of-2"],
        &["expected any, all, K-of-2 or max-score"],
    );
    refused(place, &["tracks", "tracks"], &["tracks: named twice"]);
}

#[test]
fn everything_nothing_and_what_is_doubtful() {
    let place = made(&["tracks"], "[certify]\nblock = 1\n");
    let place = place.path();
    let evaluated = 14 * (LENGTH - 1);
    let all = summary(
        place,
        &[
            "tracks",
            "--out",
            "a.json",
            "--set",
            "certify.grey={score=-1.0}",
            "--set",
            "certify.bad={score=-1.0}",
        ],
    );
    assert_eq!(
        (&all["lumisections"]["bad"], fs::read_to_string(place.join("a.json")).unwrap().as_str()),
        (&evaluated.into(), "{}\n")
    );
    assert!(
        all["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|warning| warning.as_str().unwrap().contains("the golden JSON is empty")),
        "{all}"
    );
    let none = summary(
        place,
        &[
            "tracks",
            "--out",
            "b.json",
            "--set",
            "certify.grey={score=9.0}",
            "--set",
            "certify.bad={score=9.0}",
        ],
    );
    assert_eq!((&none["lumisections"]["good"], &none["to_review"]), (&evaluated.into(), &0.into()));

    refused(
        place,
        &["tracks", "--set", "certify.bad={false_alarm_rate=0.001}"],
        &[
            "certify.bad (0.1 % false alarms)",
            "needs at least 999 good rows",
            "there are 354 validation rows",
        ],
    );
    refused(
        place,
        &["tracks", "--set", "certify.bad={best=\"f1\"}"],
        &["no rows labelled bad", "certify.on = \"test\""],
    );
    refused(
        place,
        &["tracks", "--set", "certify.bad={score=1.0}", "--set", "certify.grey={score=2.0}"],
        &["expected grey below bad"],
    );
    refused(
        place,
        &["tracks", "--set", "model.latent=3"],
        &["model.latent is fixed by the training"],
    );
    refused(
        place,
        &["tracks", "--set", "certify.within=[\"pileup\"]"],
        &["certify.within: no file has \"pileup\""],
    );
    refused(place, &["nowhere"], &["does not exist"]);
    let (code, _, err) = run(place, &["certify", "tracks", "--out", "golden.csv"]);
    assert!(code == 2 && err.contains("a name that ends in .json"), "{err}");

    // Labelled rows: the made bad lumisections stand out.
    let said = summary(
        place,
        &[
            "tracks",
            "--out",
            "c.json",
            "--set",
            "certify.on=\"test\"",
            "--set",
            "certify.bad={efficiency=0.8}",
            "--set",
            "certify.grey={best=\"youden\"}",
        ],
    );
    let bad = &said["experiments"][0]["cuts"][0]["bad"];
    assert!(
        bad["efficiency"]["share"].as_f64().unwrap() >= 0.8
            && bad["purity"]["of"].as_u64().unwrap() >= 8,
        "{bad}"
    );
    // So many discoveries, so many of them false.
    let said = summary(
        place,
        &["tracks", "--out", "d.json", "--set", "certify.bad={false_discovery_rate=0.3}"],
    );
    let flagged = said["false_discoveries"]["flagged"].as_u64().unwrap();
    assert!(
        flagged >= 10 && said["false_discoveries"]["good"].as_f64() == Some(0.3 * flagged as f64),
        "{said}"
    );
    let (_, out, _) = run(
        place,
        &[
            "certify",
            "tracks",
            "--out",
            "d.json",
            "--set",
            "certify.bad={false_discovery_rate=0.3}",
        ],
    );
    assert!(
        out.contains(&format!(
            "of these {flagged} flagged, at most {} expected to be good",
            (0.3 * flagged as f64).floor()
        )),
        "{out}"
    );
}

#[test]
fn new_data_are_judged_and_other_good_data_calibrate() {
    let place = made(&["tracks"], "[certify]\nblock = 1\n");
    let place = place.path();
    fs::write(place.join("later.csv"), histograms(TEST, 7)).unwrap();
    fs::write(place.join("more.csv"), histograms(401..=420, 8)).unwrap();
    let said = summary(
        place,
        &[
            "tracks",
            "--out",
            "a.json",
            "--data",
            "later.csv",
            "--good",
            "more.csv",
            "--set",
            "certify.bad={false_alarm_rate=0.001}",
        ],
    );
    let [good, _, bad, not] = four(place, "a");
    assert!(
        TEST.flat_map(|run| BAD.map(move |ls| (run, ls))).all(|id| bad.contains(&id))
            && not.len() == 2
            && good.iter().all(|(run, _)| TEST.contains(run))
    );
    assert_eq!(
        (&said["experiments"][0]["cuts"][0]["rows"], &said["trained_on"]),
        (&(20 * (LENGTH - 1)).into(), &0.into())
    );
    succeed(place, &["score", "tracks", "--data", "later.csv", "--out", "later.parquet", "-q"]);
    summary(
        place,
        &[
            "tracks",
            "--out",
            "b.json",
            "--scores",
            "later.parquet",
            "--good",
            "more.csv",
            "--set",
            "certify.bad={false_alarm_rate=0.001}",
        ],
    );
    assert_eq!(four(place, "a"), four(place, "b"));
    refused(
        place,
        &["tracks", "--scores", "later.parquet", "later.parquet"],
        &["--scores: 2 files for 1 experiment"],
    );

    // One lumisection in two files: the worse verdict stands.
    fs::write(
        place.join("again.csv"),
        "run_number,ls_number,label,data\n321,30,1,\"[200,0,0,0,0,0,0,0,0,0,0,1]\"\n",
    )
    .unwrap();
    let (code, _, err) =
        run(place, &["certify", "tracks", "--out", "c.json", "--data", "later.csv", "again.csv"]);
    assert!(code == 2 && err.contains("duplicate of"), "{err}");
    let twice = [
        "tracks",
        "--out",
        "c.json",
        "--data",
        "later.csv",
        "again.csv",
        "--set",
        "data.keep_duplicates=true",
    ];
    let (code, _, err) = run(place, &[&["certify"][..], &twice].concat());
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("1 row of a lumisection that has another row"), "{err}");
    assert!(four(place, "c")[2].contains(&(321, 30)));
}

#[test]
fn files_without_runs_need_to_be_told_them() {
    let place = metsig("0.3");
    let place = place.path();
    let config = config("metsig.toml");
    let train = [
        "train",
        &config,
        "--out",
        "out",
        "-q",
        "--set",
        "data.train=[\"good.csv\"]",
        "--set",
        "data.test=[\"bad1.csv\"]",
        "--set",
        "train.epochs=20",
    ];
    succeed(place, &train);
    refused(
        place,
        &["out"],
        &["no run number is known for bad1.csv, good.csv", "--run bad1.csv=NUMBER"],
    );
    refused(
        place,
        &["out", "--run", "bad1.csv=1", "--run", "god.csv=2"],
        &["did you mean \"good.csv\"?"],
    );
    let said = summary(
        place,
        &["out", "--out", "golden.json", "--run", "bad1.csv=300001", "--run", "good.csv=300002"],
    );
    assert_eq!(said["runs"], 2);
    let truth = fs::read_to_string(place.join("truth.csv")).unwrap();
    let known = truth.lines().filter(|line| line.starts_with("bad1.csv")).count();
    assert!(known > 0 && !four(place, "golden")[2].is_empty());
}

#[test]
fn what_lies_outside_the_training_is_not_evaluated_and_luminosity_is_summed() {
    let place = made(&["tracks"], "[certify]\nblock = 1\n");
    let place = place.path();
    let rows: String = TRAIN
        .chain(TEST)
        .flat_map(|run| (1..=LENGTH).map(move |ls| (run, ls)))
        .filter(|id| *id != (322, 50))
        .map(|(run, ls)| {
            let pileup = if (run, ls) == (322, 40) { 80 } else { 30 + ls % 7 };
            format!("{run}:1,{ls}:{ls},x,STABLE BEAMS,6500,12,10,{pileup},PXL\n")
        })
        .collect();
    fs::write(
        place.join("lumi.csv"),
        format!(
            "#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/ub),avgpu,source\n{rows}"
        ),
    )
    .unwrap();
    let sets = ["--set", "data.brilcalc=[\"lumi.csv\"]", "--set", "certify.within=[\"avgpu\"]"];
    let ours: BTreeMap<String, Vec<[u32; 2]>> = TRAIN
        .map(|run| (run.to_string(), vec![[1, LENGTH]]))
        .chain([("9".into(), vec![[1, 4]])])
        .collect();
    fs::write(place.join("theirs.json"), serde_json::to_string(&ours).unwrap()).unwrap();
    let said = summary(
        place,
        &[&["tracks", "--out", "a.json", "--against", "theirs.json"][..], &sets].concat(),
    );
    let not: Vec<(String, u64)> = serde_json::from_value(said["not_evaluated"].clone()).unwrap();
    let not: BTreeMap<String, u64> = not.into_iter().collect();
    assert_eq!(
        (not["avgpu outside the training rows' 30 to 36"], not["unknown avgpu"]),
        (1, 1),
        "{not:?}"
    );
    let luminosity = &said["luminosity"];
    assert_eq!((&luminosity["quantity"], &luminosity["unknown"]), (&"recorded".into(), &1.into()));
    let good = said["lumisections"]["good"].as_u64().unwrap() as f64;
    assert_eq!(luminosity["sum"]["good"].as_f64(), Some(10.0 * good));
    let line = &said["against"]["verdicts"][0];
    assert_eq!(line["golden_luminosity"].as_f64(), Some(10.0 * line["golden"].as_f64().unwrap()));
    assert_eq!(said["against"]["not_judged"], 4);
    let (_, out, _) = run(
        place,
        &[&["certify", "tracks", "--out", "a.json", "--against", "theirs.json"][..], &sets]
            .concat(),
    );
    assert!(out.contains("golden luminosity") && out.contains("good here only"), "{out}");
}

/// Eight runs in one table, as DIALS has them. Runs differ and each changes slowly, so that few
/// rows count as independent; two of the validation runs' lumisections are far off, and the bad
/// ones of the test runs less so.
fn few_blocks(seed: u64) -> String {
    let mut text = "run_number,ls_number,label,data\n".to_owned();
    for run in 1001..=1008_u32 {
        let mut chance = random::generator(seed, "runs that differ", u64::from(run));
        let own: Vec<f64> = (0..12).map(|_| chance.random_range(-0.1..0.1)).collect();
        for ls in 1..=80 {
            let (bad, far) =
                (run >= 1007 && BAD.contains(&ls), run == 1005 && (41..=42).contains(&ls));
            let bin = |bin: u32| {
                let shape = 200.0 - 8.0 * (f64::from(bin) - 5.5).powi(2) / 2.0;
                let slow = 0.65 + 0.35 * (f64::from(ls) * std::f64::consts::TAU / 80.0).sin();
                let lean = 1.0
                    + own[bin as usize] * slow
                    + if bad { 0.12 * (f64::from(bin) - 5.5) } else { 0.0 };
                let noise = chance.random_range(-1.0..1.0);
                if far && bin > 0 { 0.0 } else { (shape * lean + noise).round().max(1.0) }
            };
            let bins: Vec<f64> = (0..12).map(bin).collect();
            let _ = writeln!(text, "{run},{ls},{},\"{bins:?}\"", u8::from(!bad));
        }
    }
    text
}

#[test]
fn what_train_flags_is_not_good_where_a_rate_cannot_be_told() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let config = CONFIG.replace("test = [\"new.csv\"]\n", "").replace("good.csv", "dials.csv");
    let config = config
        .replace("valid = 0.5\n", "valid_runs = [1005, 1006]\ntest_runs = [1007, 1008]\n")
        + "[threshold]\npercentile = 95.0\n";
    for (seed, name) in ["tracks", "muons"].into_iter().enumerate() {
        let folder = place.join(format!("{name}-data"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("dials.csv"), few_blocks(seed as u64)).unwrap();
        fs::write(folder.join(format!("{name}.toml")), &config).unwrap();
        succeed(place, &["train", &format!("{name}-data/{name}.toml"), "--out", name, "-q"]);
    }
    let flagged = ["tracks", "muons"].map(|name| {
        let scores = scores(&place.join(name));
        let flagged =
            (0..scores.rows.len()).filter(|row| scores.channels[0].flagged(*row) == Some(true));
        flagged
            .map(|row| (scores.rows[row].run.unwrap(), scores.rows[row].ls.unwrap()))
            .collect::<BTreeSet<Id>>()
    });
    let made_bad: BTreeSet<Id> =
        (1007..=1008).flat_map(|run| BAD.map(move |ls| (run, ls))).collect();
    assert!(flagged[0].is_superset(&made_bad), "{:?}", flagged[0]);

    let said = summary(place, &["tracks", "--out", "a.json"]);
    let [good, grey, bad, not] = four(place, "a");
    assert_eq!(good.len() + grey.len() + bad.len() + not.len(), 640);
    assert!(
        good.is_disjoint(&flagged[0]) && !good.is_empty() && bad.is_disjoint(&made_bad),
        "{said}"
    );
    assert_eq!(
        said["above_threshold"]["grey"].as_u64().unwrap()
            + said["above_threshold"]["bad"].as_u64().unwrap(),
        flagged[0].len() as u64
    );
    let rate = &said["rates_not_met"][0];
    let text = rate["text"].as_str().unwrap();
    assert!(
        text.starts_with("too few independent good lumisections to tell a rate of 1 %: "),
        "{text}"
    );
    assert!(
        text.contains(", 99 needed, about ")
            && text.contains("lumisections above the experiment's threshold are grey"),
        "{text}"
    );
    let floored: Vec<_> = table(&place.join("a.csv"))
        .into_iter()
        .filter(|row| row["reason"].starts_with("above the experiment's threshold"))
        .collect();
    assert!(
        rate["grey"].as_u64() == Some(floored.len() as u64) && floored.len() >= made_bad.len(),
        "{rate}"
    );
    assert!(floored.iter().all(|row| row["verdict"] == "grey"));
    assert!(fs::read_to_string(place.join("a.review.html")).unwrap().contains(text));
    let (_, out, _) = run(place, &["certify", "tracks", "--out", "a.json"]);
    assert!(out.lines().next().unwrap().contains("too few independent good lumisections"), "{out}");

    // Whatever the way to the verdicts.
    let data = ["--data", "tracks-data/dials.csv"];
    succeed(place, &["score", "tracks", data[0], data[1], "--out", "scores.parquet", "-q"]);
    let discoveries = [
        "--set",
        "certify.bad={false_discovery_rate=0.0001}",
        "--set",
        "certify.grey={false_discovery_rate=0.0001}",
    ];
    for more in [
        &data[..],
        &["--scores", "scores.parquet"],
        &["--good", "tracks-data/dials.csv"],
        &discoveries,
    ] {
        let said = summary(place, &[&["tracks", "--out", "b.json"][..], more].concat());
        let good = &four(place, "b")[0];
        assert!(
            good.is_disjoint(&flagged[0]) && !said["rates_not_met"].as_array().unwrap().is_empty(),
            "{more:?}: {said}"
        );
    }
    for rule in ["any", "all", "max-score"] {
        let said = summary(place, &["tracks", "muons", "--out", "c.json", "--rule", rule]);
        let files = four(place, "c");
        assert!(flagged.iter().all(|flagged| flagged.is_disjoint(&files[0])), "{rule}: {said}");
        assert_eq!(files.iter().map(BTreeSet::len).sum::<usize>(), 640, "{rule}");
    }
    let met = summary(place, &["tracks", "--out", "d.json", "--set", "certify.block=1"]);
    assert_eq!(met["rates_not_met"], serde_json::json!([]), "160 rows tell a rate of 1 %");

    // A person's word on a run wins, and it is said what it overrules.
    fs::write(place.join("runs.csv"), "run,flag\n1008,good\n").unwrap();
    let said = summary(place, &["tracks", "--out", "e.json", "--runs", "runs.csv"]);
    assert!(
        BAD.clone().all(|ls| four(place, "e")[0].contains(&(1008, ls)))
            && said["run_flags"]["overruled"].as_u64() >= Some(5),
        "{said}"
    );
    let row = table(&place.join("e.csv"))
        .into_iter()
        .find(|row| row["run"] == "1008" && row["ls"] == "20")
        .unwrap();
    assert!(
        row["reason"]
            .contains("good run (runs.csv:2), although grey: above the experiment's threshold"),
        "{row:?}"
    );
    assert!(
        said["warnings"].to_string().contains("calls runs good in which scores call"),
        "{said}"
    );
}

#[test]
fn an_empty_review_list_says_why() {
    let place =
        made(&["tracks"], "[certify]\nblock = 1\ngrey = { score = 9.0 }\nbad = { score = 9.0 }\n");
    let place = place.path();
    let (code, out, err) = run(place, &["certify", "tracks", "--out", "a.json"]);
    let why = "nothing to review: none of 826 evaluated lumisections is above the cuts";
    assert!(code == 0 && out.contains(&format!("review     {why}")), "{out}{err}");
    let list = fs::read_to_string(place.join("a.review.csv")).unwrap();
    assert_eq!(list.lines().nth(1), Some(format!("# {why}").as_str()));
    assert!(fs::read_to_string(place.join("a.review.html")).unwrap().contains(why));
    let said = summary(place, &["tracks", "--out", "b.json", "--decisions", "a.review.csv"]);
    assert_eq!(
        (&said["nothing_to_review"], &said["decisions"]["settled"]),
        (&why.into(), &0.into())
    );
}

/// An experiment on real data of 2017, trained for a moment.
fn real(place: &Path) -> Option<()> {
    let data = shared("data/ml4dqm_sharedtools_2017")?.canonicalize().unwrap();
    let train =
        format!("data.train=[\"{}\"]", data.join("random_subset_MainDiagonal.txt").display());
    succeed(
        place,
        &[
            "train",
            &config("zerobias2017.toml"),
            "--out",
            "real",
            "-q",
            "--set",
            &train,
            "--set",
            "train.epochs=15",
        ],
    );
    Some(())
}

#[test]
fn real_verdicts_beside_the_golden_json_are_as_pandas_counts_them() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    if real(place).is_none() {
        return;
    }
    let golden = shared("data/ml4dqm_sharedtools_2017/GoldenJSON17.json")
        .unwrap()
        .canonicalize()
        .unwrap()
        .display()
        .to_string();
    let said = summary(place, &["real", "--out", "ours.json", "--against", &golden]);
    let total: usize = four(place, "ours").iter().map(BTreeSet::len).sum();
    assert_eq!(total, 10_000);
    let verdicts = said["against"]["verdicts"].as_array().unwrap();
    let named: u64 = verdicts.iter().map(|line| line["golden"].as_u64().unwrap()).sum();
    assert_eq!(named, 8975, "as many as the data's own column says");
    let Some(counted) = counted(place, &["ours.json", "--against", &golden]) else { return };
    assert_eq!(counted["partition"], true);
    assert_ne!(counted["coffea"], false);
    for line in verdicts {
        assert_eq!(
            counted["against"][line["verdict"].as_str().unwrap()],
            serde_json::json!([line["golden"], line["other"]]),
            "{counted}"
        );
    }
    assert_eq!(counted["not_judged"], said["against"]["not_judged"]);
    let ranges = |value: &Value| -> u64 {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|range| range[1].as_u64().unwrap() - range[0].as_u64().unwrap() + 1)
            .sum()
    };
    let differ: BTreeMap<String, u64> = said["against"]["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            let lists = ["good_here", "grey_here", "bad_here", "not_evaluated_here"];
            (run["run"].to_string(), lists.iter().map(|list| ranges(&run[list])).sum())
        })
        .collect();
    assert_eq!(serde_json::json!(differ), counted["differ"]);
}

/// Splits the runs of held-out good rows in halves, calibrates on one and judges the other: how
/// often, of 20 splits and the rates 1 % and 5 %, the observed rate lies outside the 99 % interval
/// of so many blocks. Without a block as many LSs are taken as are correlated.
fn outside(scores: &Scores, block: Option<usize>) -> (usize, Vec<f64>) {
    let good = scores.labels.iter().position(|name| name == "good").unwrap();
    let main = scores.main().unwrap();
    let held_out = |row: usize| {
        matches!(scores.rows[row].split, Split::Valid | Split::Test)
            && scores.rows[row].labels[good] == Some(true)
    };
    let of_run = |run: &Vec<usize>| {
        run.iter()
            .filter(|row| held_out(**row))
            .filter_map(|&row| main.scores[row])
            .collect::<Vec<f64>>()
    };
    let mut runs: Vec<Vec<f64>> =
        scores.runs().iter().map(of_run).filter(|run| !run.is_empty()).collect();
    let (mut outside, mut rates) = (0, vec![]);
    for split in 0..20 {
        runs.shuffle(&mut random::generator(5, "halves", split));
        let (calibrating, judged) = runs.split_at(runs.len() / 2);
        let reference = Reference::new(calibrating, block);
        let blocks = Reference::new(judged, Some(reference.block)).blocks as f64;
        let p_values: Vec<f64> =
            judged.concat().iter().map(|score| reference.p_value(*score)).collect();
        for rate in [0.01, 0.05] {
            let observed =
                p_values.iter().filter(|p| **p <= rate).count() as f64 / p_values.len() as f64;
            // Both halves vary.
            let half = 2.576
                * (rate * (1.0 - rate) * (1.0 / blocks + 1.0 / reference.blocks as f64)).sqrt();
            outside += usize::from((observed - rate).abs() > half);
            rates.push(observed);
        }
    }
    (outside, rates)
}

#[test]
fn false_alarms_come_at_the_rate_asked_for() {
    // Made runs, whose lumisections are independent.
    let place = made(&["tracks"], "");
    let made = scores(&place.path().join("tracks"));
    assert!(
        (1..=3).contains(&correlated_over(
            &made
                .runs()
                .iter()
                .map(|run| run.iter().filter_map(|&row| made.channels[0].scores[row]).collect())
                .collect::<Vec<_>>()[..6]
        ))
    );
    let (outside_made, rates) = outside(&made, Some(1));
    assert!(outside_made <= 1, "{outside_made} of 40: {rates:?}");

    // Real ones drift from run to run. Counted row by row the rate misses far more often than an
    // interval may; in blocks as long as scores are correlated over it does not.
    let place = tempfile::tempdir().unwrap();
    if real(place.path()).is_none() {
        return;
    }
    let real = scores(&place.path().join("real"));
    let (single, _) = outside(&real, Some(1));
    let (blocks, rates) = outside(&real, None);
    assert!(single >= 8, "{single} of 40");
    assert!(blocks <= 1, "{blocks} of 40: {rates:?}");
}
