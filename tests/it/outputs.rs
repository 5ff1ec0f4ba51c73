//! No file of the user is replaced by accident: not what a command reads, not what another command
//! or a person wrote.
use crate::common::{config, metsig, run, succeed};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

/// A folder with made runs, and an experiment `m` that was trained on them.
fn trained() -> tempfile::TempDir {
    let place = metsig("0.2");
    let sets = [
        "data.train=[\"good.csv\"]",
        "data.test=[]",
        "train.epochs=10",
        "report.projections=[]",
        "report.tensorboard=false",
    ];
    let toml = config("metsig.toml");
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    succeed(
        place.path(),
        &["train", &toml, "--out", "m", "-q"].into_iter().chain(sets).collect::<Vec<_>>(),
    );
    place
}

/// Runs the program, expects that it refuses with all these words, and that a file stays as it is.
fn refused(place: &Path, arguments: &[&str], kept: &str, words: &[&str]) {
    let before = fs::read(place.join(kept)).ok();
    let (code, out, err) = run(place, arguments);
    let told = format!("lumisift {}\n{out}{err}", arguments.join(" "));
    assert_eq!(code, 2, "{told}");
    assert_eq!(err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{told}");
    words.iter().for_each(|word| assert!(err.contains(word), "{word}\n{told}"));
    assert!(fs::read(place.join(kept)).ok() == before, "{kept} was replaced\n{told}");
}

#[test]
fn an_input_is_not_an_output_whatever_its_name() {
    let place = trained();
    let place = place.path();
    succeed(place, &["encode", "m", "--data", "bad1.csv", "--out", "latents.csv", "-q"]);
    fs::create_dir(place.join("folder")).unwrap();
    symlink("folder", place.join("linked")).unwrap();
    for (verb, input) in [("score", "bad1.csv"), ("encode", "bad1.csv"), ("decode", "latents.csv")]
    {
        let new = place.join("folder/new.csv");
        fs::copy(place.join(input), &new).unwrap();
        let absolute = new.display().to_string();
        let _ = fs::remove_file(place.join("soft.csv"));
        let _ = fs::remove_file(place.join("hard.csv"));
        symlink("folder/new.csv", place.join("soft.csv")).unwrap();
        fs::hard_link(&new, place.join("hard.csv")).unwrap();
        let names = [
            "folder/new.csv",
            "./folder/../folder/new.csv",
            &absolute,
            "linked/new.csv",
            "linked/../folder/new.csv",
            "soft.csv",
            "hard.csv",
        ];
        for name in names {
            for more in [&[][..], &["--force"]] {
                let way = |data: &'static str| {
                    [&[verb, "m", "--data", data, "--out", name][..], more].concat()
                };
                refused(
                    place,
                    &way("folder/new.csv"),
                    "folder/new.csv",
                    &["is an input (--data: folder/new.csv); choose another name"],
                );
                refused(place, &way("linked/new.csv"), "folder/new.csv", &["is an input (--data"]);
            }
        }
        assert!(fs::symlink_metadata(place.join("soft.csv")).unwrap().is_symlink());
    }
    refused(
        place,
        &["score", "m", "--data", "folder", "--out", "folder/new.csv"],
        "folder/new.csv",
        &["is an input (--data"],
    );
    refused(
        place,
        &["score", "m", "--data", "folder/*.csv", "--out", "folder/new.csv"],
        "folder/new.csv",
        &["is an input (--data"],
    );
    refused(
        place,
        &["score", "m", "--data", "bad1.csv", "--truth", "truth.csv", "--out", "truth.csv"],
        "truth.csv",
        &["(--truth: truth.csv)"],
    );
    // What the experiment's config names.
    fs::write(place.join("labels.csv"), "1 1\n").unwrap();
    symlink("labels.csv", place.join("labels.txt")).unwrap();
    let labelled = [
        "score",
        "m",
        "--data",
        "bad1.csv",
        "--set",
        "labels.good=\"./labels.txt\"",
        "--out",
        "labels.csv",
        "--force",
    ];
    refused(place, &labelled, "labels.csv", &["an input (the experiment's config"]);
    refused(
        place,
        &["score", "m", "--data", "bad1.csv", "--out", "good.csv", "--force"],
        "good.csv",
        &["an input (the experiment's config"],
    );
    let (code, _, err) =
        run(place, &["score", "m", "--data", "bad1.csv", "--out", "x.csv", "--regions", "./x.csv"]);
    assert!(code == 2 && !place.join("x.csv").exists(), "{err}");
}

#[test]
fn no_file_beside_a_golden_json_is_an_input() {
    let place = trained();
    let place = place.path();
    fs::rename(place.join("bad1.csv"), place.join("new.csv")).unwrap();
    let certify = |more: &[&'static str]| {
        [&["certify", "m", "--force", "--run", "new.csv=297219"][..], more].concat()
    };
    for (arguments, kept) in [
        (&["--data", "new.csv", "--out", "new.json"][..], "new.csv"),
        (&["--data", "./new.csv", "--out", "../new.json"], "new.csv"),
        (&["--data", "bad2.csv", "--good", "new.csv", "--out", "new.json"], "new.csv"),
        (
            &["--data", "new.csv", "--against", "official.json", "--out", "official.json"],
            "official.json",
        ),
        (
            &["--data", "new.csv", "--against", "official.bad.json", "--out", "official.json"],
            "official.bad.json",
        ),
        (
            &["--data", "new.csv", "--runs", "official.csv", "--out", "official.json"],
            "official.csv",
        ),
        (
            &["--data", "new.csv", "--runs", "official.review.csv", "--out", "official.json"],
            "official.review.csv",
        ),
        (
            &["--data", "new.csv", "--decisions", "official.csv", "--out", "official.json"],
            "official.csv",
        ),
        (&["--scores", "s.parquet", "--out", "s.json"], "s.parquet"),
    ] {
        fs::write(place.join("official.json"), "{\"297219\": [[1, 100]]}").unwrap();
        fs::write(place.join("official.bad.json"), "{\"297219\": [[1, 100]]}").unwrap();
        fs::write(
            place.join("official.csv"),
            "run,first_ls,last_ls,decision,verdict\n297219,1,2,good,good\n",
        )
        .unwrap();
        fs::write(place.join("official.review.csv"), "run,verdict\n297219,good\n").unwrap();
        if !place.join("s.parquet").exists() {
            succeed(place, &["score", "m", "--data", "new.csv", "--out", "s.parquet", "-q"]);
        }
        let inner = place.join("inner");
        fs::create_dir_all(&inner).unwrap();
        if arguments.contains(&"../new.json") {
            let up = [
                "certify",
                "../m",
                "--force",
                "--data",
                "../new.csv",
                "--run",
                "new.csv=1",
                "--out",
                "../new.json",
            ];
            let (code, _, err) = run(&inner, &up);
            assert!(
                code == 2
                    && err
                        .contains("would write ../new.csv, which is an input (--data: ../new.csv)"),
                "{err}"
            );
            continue;
        }
        refused(place, &certify(arguments), kept, &[kept, "is an input (--"]);
    }
    assert!(
        !place.join("new.json").exists() && !place.join("s.json").exists(),
        "nothing is written"
    );
}

#[test]
fn files_of_an_experiment_are_not_outputs() {
    let place = trained();
    let place = place.path();
    let copied = Command::new("cp").args(["-r", "m", "other"]).current_dir(place).status().unwrap();
    assert!(copied.success());
    symlink("m", place.join("linked")).unwrap();
    for (arguments, kept) in [
        (
            &["score", "m", "--data", "bad1.csv", "--out", "m/scores.parquet"][..],
            "m/scores.parquet",
        ),
        (
            &["score", "m", "--data", "bad1.csv", "--out", "other/scores.parquet"],
            "other/scores.parquet",
        ),
        (&["score", "other", "--data", "bad1.csv", "--out", "linked/history.csv"], "m/history.csv"),
        (
            &["score", "m", "--data", "bad1.csv", "--out", "other/regions.parquet"],
            "other/regions.parquet",
        ),
        (&["encode", "m", "--data", "bad1.csv", "--out", "other/roc.parquet"], "other/roc.parquet"),
        (&["certify", "m", "--out", "other/report.json"], "other/report.json"),
        (&["compare", "m", "other", "--out", "m/report.html"], "m/report.html"),
        (
            &["export", "m", "safetensors", "--out", "other/model/all.safetensors"],
            "other/model/all.safetensors",
        ),
        (&["export", "m", "onnx", "--out", "other/model/new.onnx"], "other/model/new.onnx"),
    ] {
        refused(
            place,
            &[arguments, &["--force"]].concat(),
            kept,
            &["is a file of the experiment or sweep in"],
        );
    }
    succeed(place, &["score", "m", "--data", "bad1.csv", "--out", "m/new.parquet", "-q"]);
    succeed(
        place,
        &["certify", "other", "--data", "bad1.csv", "--run", "bad1.csv=1", "--out", "h.json", "-q"],
    );
    // A training makes room by removing the files of the experiment before.
    fs::copy(place.join("good.csv"), place.join("m/history.csv")).unwrap();
    let again = [
        "train",
        "m/experiment.toml",
        "--out",
        "m",
        "--force",
        "--set",
        "data.train=[\"m/history.csv\"]",
    ];
    refused(
        place,
        &again,
        "m/history.csv",
        &["m/history.csv would be replaced, which is an input"],
    );
}

#[test]
fn what_others_wrote_is_replaced_only_when_asked() {
    let place = trained();
    let place = place.path();
    succeed(place, &["encode", "m", "--data", "bad1.csv", "--out", "latents.csv", "-q"]);
    for (arguments, file, verb) in [
        (&["synth", "metsig", "made", "--size", "0.1"][..], "made/good.csv", "synth metsig"),
        (&["synth", "events", "made", "--events", "100"], "made/truth.csv", "synth events"),
        (
            &["synth", "cms2010b", "study", "--rows", "100"],
            "study/Quality2010/Cert_13TeV_2010_Hcal.txt",
            "synth cms2010b",
        ),
        (&["score", "m", "--data", "bad1.csv", "--out", "s/s.csv"], "s/s.csv", "score"),
        (&["encode", "m", "--data", "bad1.csv", "--out", "s/e.csv"], "s/e.csv", "encode"),
        (
            &["decode", "m", "--data", "latents.csv", "--out", "s/d.parquet"],
            "s/d.parquet",
            "decode",
        ),
        (
            &["certify", "m", "--data", "bad1.csv", "--run", "bad1.csv=7", "--out", "s/g.json"],
            "s/g.json",
            "certify",
        ),
        (
            &["certify", "m", "--data", "bad1.csv", "--run", "bad1.csv=7", "--out", "s/h.json"],
            "s/h.parquet",
            "certify",
        ),
        (
            &["certify", "m", "--data", "bad1.csv", "--run", "bad1.csv=7", "--out", "s/i.json"],
            "s/i.review.csv",
            "certify",
        ),
        (&["compare", "m", "m", "--out", "s/c.html"], "s/c.html", "compare"),
        (&["report", "m", "--png", "s/png"], "s/png/losses.png", "report"),
    ] {
        let place_of = place.join(file);
        fs::create_dir_all(place_of.parent().unwrap()).unwrap();
        if verb != "synth events" {
            fs::write(&place_of, "mine").unwrap();
        }
        let quiet = [arguments, &["-q"]].concat();
        let forced = [&quiet[..], &["--force"]].concat();
        let foreign = [file, &format!("was not written by `lumisift {verb}`"), "--force"];
        refused(place, &quiet, file, &foreign);
        succeed(place, &forced);
        let written = fs::read(&place_of).unwrap();
        succeed(place, &quiet);
        let changed = [&written[..], b"\n"].concat();
        if file != "s/i.review.csv" {
            fs::write(&place_of, changed).unwrap();
            refused(
                place,
                &quiet,
                file,
                &[file, &format!("was changed since `lumisift {verb}` wrote it")],
            );
            succeed(place, &forced);
        }
        succeed(place, &quiet);
    }
    // What one verb wrote is foreign to another.
    refused(
        place,
        &["encode", "m", "--data", "bad1.csv", "--out", "s/s.csv"],
        "s/s.csv",
        &["was not written by `lumisift encode`"],
    );
    // All that stands in the way is named.
    fs::write(place.join("k.csv"), "mine").unwrap();
    fs::write(place.join("k.summary.json"), "mine").unwrap();
    let certify = ["certify", "m", "--data", "bad1.csv", "--run", "bad1.csv=7", "--out", "k.json"];
    refused(
        place,
        &certify,
        "k.csv",
        &["--out k.json: ", "k.csv was not", "k.summary.json was not", "to replace them"],
    );
    assert!(!place.join("k.json").exists());
    // So is all that is written.
    let out = succeed(place, &[&certify[..], &["--force"]].concat());
    let wrote = out.lines().find(|line| line.starts_with("wrote")).unwrap();
    let endings =
        ["json", "grey.json", "bad.json", "not-evaluated.json", "flagged.json", "summary.json"];
    for ending in
        endings.iter().chain(&["csv", "parquet", "dials.csv", "review.csv", "review.html"])
    {
        assert!(
            wrote.contains(&format!("k.{ending}")) && place.join(format!("k.{ending}")).exists(),
            "{ending}: {wrote}"
        );
    }
    // A record that is damaged or gone costs --force once.
    for damage in ["", "{", "{\"verb\": \"score\", \"files\": {}}"] {
        fs::write(place.join("s/.s.csv.lumisift"), damage).unwrap();
        refused(
            place,
            &["score", "m", "--data", "bad1.csv", "--out", "s/s.csv"],
            "s/s.csv",
            &["was not written by `lumisift score`"],
        );
    }
    // Records are no data.
    succeed(place, &["score", "m", "--data", "bad*", "--out", "s/all.csv", "-q"]);
    fs::create_dir(place.join("t")).unwrap();
    fs::copy(place.join("bad1.csv"), place.join("t/bad1.csv")).unwrap();
    fs::copy(place.join("s/.s.csv.lumisift"), place.join("t/.s.csv.lumisift")).unwrap();
    succeed(place, &["score", "m", "--data", "t/*", "--out", "u.csv", "-q"]);
    // Tables of a search.
    let toml = config("metsig.toml");
    let sets = [
        "data.train=[\"good.csv\"]",
        "data.test=[]",
        "train.epochs=2",
        "report.projections=[]",
        "sweep={objective=\"channels.training.best_valid_loss\", goal=\"min\", strategy=\"grid\", space={seed={choice=[1,2]}}}",
    ];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    succeed(
        place,
        &["sweep", &toml, "--out", "sweep", "-q"].into_iter().chain(sets).collect::<Vec<_>>(),
    );
    let join = ["sweep", "collect", "sweep", "--join", "joined", "-q"];
    succeed(place, &join);
    succeed(place, &join);
    fs::write(place.join("joined/scores.parquet"), "mine").unwrap();
    refused(
        place,
        &join,
        "joined/scores.parquet",
        &["was changed since `lumisift sweep collect` wrote it"],
    );
    succeed(place, &[&join[..], &["--force"]].concat());
    let best = ["sweep", "collect", "sweep", "--join", "sweep/best", "--force"];
    refused(
        place,
        &best,
        "sweep/best/scores.parquet",
        &["is a file of the experiment or sweep in"],
    );
}

/// The rows of a review list: run, first and last LS, decision, comment, reason.
fn list(path: &Path) -> Vec<[String; 6]> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|other| other == name).unwrap();
    let columns = ["run", "first_ls", "last_ls", "decision", "comment", "reason"].map(at);
    reader
        .records()
        .map(|record| columns.map(|column| record.as_ref().unwrap()[column].to_owned()))
        .collect()
}

#[test]
fn decisions_stay_in_the_review_list() {
    let place = trained();
    let place = place.path();
    let certify = |more: &[&str]| {
        let all = [
            &[
                "certify",
                "m",
                "--data",
                "bad1.csv",
                "--run",
                "bad1.csv=7",
                "--out",
                "g.json",
                "--format",
                "json",
            ][..],
            more,
        ]
        .concat();
        let (code, out, err) = run(place, &all);
        assert_eq!(code, 0, "{out}{err}");
        (serde_json::from_str::<serde_json::Value>(&out).unwrap(), err)
    };
    let file = place.join("g.review.csv");
    let (before, _) = certify(&[]);
    let plain = list(&file);
    assert!(
        plain.len() >= 2 && plain.iter().all(|row| row[3].is_empty() && row[4].is_empty()),
        "{plain:?}"
    );
    assert_eq!(before["to_review"], plain.len());
    // One stretch is decided on, another commented; a third line is on lumisections that nothing
    // flags, a fourth on another run.
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[1] = lines[1].replacen(",,,", ",good,\"looked at, by me\",", 1);
    lines[2] = lines[2].replacen(",,,", ",,ask the experts,", 1);
    let fields = ",".repeat(12);
    lines.push(format!("7,1,3,bad,beam off{fields}"));
    lines.push(format!("8,5,6,good,elsewhere{fields}"));
    fs::write(&file, lines.join("\n") + "\n").unwrap();

    // Without being asked nothing is decided, and nothing is lost.
    let (said, err) = certify(&[]);
    assert_eq!(said["lumisections"], before["lumisections"]);
    assert!(err.is_empty() || !err.contains("error"), "{err}");
    let told = said["warnings"].to_string();
    assert!(
        told.contains("g.review.csv: decides on") && told.contains("--decisions g.review.csv"),
        "{told}"
    );
    let merged = list(&file);
    assert_eq!(merged.len(), plain.len() + 2);
    assert_eq!(
        (&merged[0][..3], merged[0][3].as_str(), merged[0][4].as_str()),
        (&plain[0][..3], "good", "looked at, by me")
    );
    assert_eq!((merged[1][3].as_str(), merged[1][4].as_str()), ("", "ask the experts"));
    assert_eq!(merged[plain.len()][..5], ["7", "1", "3", "bad", "beam off"].map(str::to_owned));
    assert_eq!(merged[plain.len()][5], "kept: not flagged");
    assert_eq!(
        merged[plain.len() + 1],
        ["8", "5", "6", "good", "elsewhere", "kept: not judged here"].map(str::to_owned)
    );
    assert_eq!(said["to_review"], plain.len() - 1);

    // The list is input and output: again and again the same.
    let (first, _) = certify(&["--decisions", "g.review.csv"]);
    let once = fs::read(&file).unwrap();
    let length =
        |row: &[String; 6]| row[2].parse::<usize>().unwrap() - row[1].parse::<usize>().unwrap() + 1;
    assert_eq!(first["decisions"]["settled"], length(&plain[0]) + 3);
    // The first lumisections of the run are empty, and so were not good before.
    let count =
        |said: &serde_json::Value, verdict: &str| said["lumisections"][verdict].as_u64().unwrap();
    assert_eq!(count(&first, "good"), count(&before, "good") + length(&plain[0]) as u64);
    assert_eq!(count(&first, "not_evaluated") + 3, count(&before, "not_evaluated"));
    assert_eq!(list(&file).len(), merged.len());
    for _ in 0..2 {
        let (again, _) = certify(&["--decisions", "g.review.csv"]);
        assert_eq!(
            (&again["decisions"], &again["lumisections"]),
            (&first["decisions"], &first["lumisections"])
        );
        assert!(fs::read(&file).unwrap() == once, "{}", fs::read_to_string(&file).unwrap());
    }
    let page = fs::read_to_string(place.join("g.review.html")).unwrap();
    assert!(page.contains("<option selected>good") && page.contains("value=\"ask the experts\""));

    // Another file of decisions is newer: what it replaces stays as a comment.
    fs::write(
        place.join("newer.csv"),
        format!(
            "run,first_ls,last_ls,decision,comment\n7,{},{},bad,seen again\n",
            plain[0][1], plain[0][2]
        ),
    )
    .unwrap();
    for _ in 0..2 {
        certify(&["--decisions", "newer.csv"]);
        let row = &list(&file)[0];
        assert_eq!(
            (row[3].as_str(), row[4].as_str()),
            ("bad", "seen again; was good; looked at, by me")
        );
    }
    // Ranges that are cut another way: each lumisection keeps what was said of it.
    let all = certify(&["--set", "certify.grey={score=-1.0}", "--set", "certify.bad={score=-1.0}"]);
    assert!(all.0["lumisections"]["bad"].as_u64().unwrap() > 100);
    let cut = list(&file);
    assert!(cut.iter().any(|row| row[..3] == plain[0][..3] && row[3] == "bad"), "{cut:?}");
    let none = certify(&["--set", "certify.grey={score=1e9}", "--set", "certify.bad={score=1e9}"]);
    assert_eq!(none.0["to_review"], 0);
    let kept = list(&file);
    assert!(
        kept.iter()
            .any(|row| row[..3] == plain[0][..3] && row[3] == "bad" && row[5].starts_with("kept")),
        "{kept:?}"
    );
    assert!(
        kept.iter().any(|row| row[..3] == plain[1][..3] && row[4] == "ask the experts"),
        "{kept:?}"
    );
    certify(&[]);
    let back = list(&file);
    assert_eq!(
        back.iter().map(|row| row[..3].to_vec()).collect::<Vec<_>>(),
        merged.iter().map(|row| row[..3].to_vec()).collect::<Vec<_>>()
    );

    // A list with columns of its own is a file of the user; one that cannot be read is no reason to
    // lose it.
    fs::write(&file, "run,first_ls,last_ls,decision,comment,who\n7,1,2,good,,me\n").unwrap();
    let arguments =
        ["certify", "m", "--data", "bad1.csv", "--run", "bad1.csv=7", "--out", "g.json"];
    refused(place, &arguments, "g.review.csv", &["g.review.csv was changed since"]);
    fs::write(&file, "run,first_ls,last_ls,decision,comment\n7,x,2,good,\n").unwrap();
    refused(
        place,
        &[&arguments[..], &["--force"]].concat(),
        "g.review.csv",
        &["g.review.csv:2: \"x\" is not an LS"],
    );
}

#[test]
fn folders_of_outputs_are_made_and_places_that_cannot_be_are_refused() {
    let place = trained();
    let place = place.path();
    succeed(place, &["score", "m", "--data", "bad1.csv", "--out", "a/b/s.csv", "-q"]);
    succeed(place, &["encode", "m", "--data", "bad1.csv", "--out", "c/d/e.csv", "-q"]);
    succeed(place, &["decode", "m", "--data", "c/d/e.csv", "--out", "f/g.csv", "-q"]);
    succeed(
        place,
        &["certify", "m", "--data", "bad1.csv", "--run", "bad1.csv=1", "--out", "h/i/g.json", "-q"],
    );
    succeed(place, &["compare", "m", "m", "--out", "j/k.html", "-q"]);
    succeed(place, &["report", "m", "--png", "l/m", "-q"]);
    for (kind, name) in [("onnx", "n/x.onnx"), ("safetensors", "o/x.safetensors")] {
        succeed(place, &["export", "m", kind, "--out", name, "-q"]);
        assert!(place.join(name).exists());
    }
    succeed(place, &["export", "m", "dism", "--me", "METSig", "--out", "p/q", "-q"]);
    succeed(place, &["synth", "metsig", "r/s", "--size", "0.1", "-q"]);
    // No folder without a file.
    let (code, _, _) = run(place, &["score", "m", "--data", "none.csv", "--out", "t/u.csv"]);
    assert!(code == 2 && !place.join("t").exists());

    fs::write(place.join("file"), "").unwrap();
    fs::create_dir(place.join("folder.csv")).unwrap();
    symlink("nowhere.csv", place.join("broken.csv")).unwrap();
    symlink("loop.csv", place.join("loop.csv")).unwrap();
    symlink("/dev/null", place.join("null.csv")).unwrap();
    for (out, words) in [
        ("file/s.csv", "is in file, which is a file; expected a folder"),
        ("file/folder/s.csv", "is in file, which is a file; expected a folder"),
        ("folder.csv", "is a folder; expected the name of a file"),
        ("broken.csv", "is a link to nowhere.csv, which does not exist"),
        ("broken.csv/s.csv", "is a link to nowhere.csv, which does not exist"),
        ("loop.csv", "is a link to loop.csv"),
        ("null.csv", "is a device; expected the name of a regular file"),
    ] {
        for verb in ["score", "encode"] {
            refused(
                place,
                &[verb, "m", "--data", "bad1.csv", "--out", out, "--force"],
                "bad1.csv",
                &[&format!("--out {out}: "), words],
            );
        }
    }
    for arguments in [
        &["report", "m", "--png", "broken.csv"],
        &["train", "m/experiment.toml", "--out", "broken.csv"],
    ] {
        refused(
            place,
            arguments,
            "bad1.csv",
            &["broken.csv: is a link to nowhere.csv, which does not exist"],
        );
    }
    assert!(fs::symlink_metadata(place.join("broken.csv")).unwrap().is_symlink());
    for arguments in [
        &["report", "m", "--png", "file"][..],
        &["synth", "metsig", "file"],
        &["train", "m/experiment.toml", "--out", "file/x"],
        &["sensitivity", "m", "--out", "file"],
        &["certify", "m", "--out", "file/g.json"],
        &["compare", "m", "m", "--out", "file/c.html"],
        &["export", "m", "onnx", "--out", "file/x.onnx"],
        &["export", "m", "dism", "--me", "METSig", "--out", "file/x"],
    ] {
        let path = arguments
            .iter()
            .find(|argument| argument.starts_with("file") || argument.starts_with("broken"))
            .unwrap();
        refused(place, arguments, "file", &[path, "expected a folder"]);
    }
}

/// Runs the program with a file as standard input, by a pipe.
fn piped(place: &Path, input: &str, arguments: &[&str]) -> (i32, String) {
    let mut cat =
        Command::new("cat").arg(input).current_dir(place).stdout(Stdio::piped()).spawn().unwrap();
    let output = crate::common::lumisift()
        .current_dir(place)
        .args(arguments)
        .stdin(cat.stdout.take().unwrap())
        .output()
        .unwrap();
    let _ = cat.wait();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    )
}

#[test]
fn pipes_and_devices_are_refused() {
    let place = trained();
    let place = place.path();
    let made = Command::new("mkfifo").arg("fifo").current_dir(place).status().unwrap();
    assert!(made.success());
    fs::copy(config("metsig.toml"), place.join("metsig.toml")).unwrap();
    let toml = fs::read_to_string(place.join("metsig.toml")).unwrap().replace("../data/", "");
    fs::write(place.join("metsig.toml"), toml).unwrap();
    let score = ["score", "m", "--out", "s.csv", "-q"];
    for (pipe, words) in [
        ("fifo", "fifo: is a pipe; expected a regular file"),
        ("/dev/zero", "/dev/zero: is a device; expected a regular file"),
    ] {
        for arguments in [
            &["inspect", pipe][..],
            &["check", pipe],
            &["check", "metsig.toml", "--set", &format!("data.train=[\"{pipe}\"]")],
            &["train", pipe, "--out", "new"],
            &[
                "train",
                "metsig.toml",
                "--out",
                "new",
                "--set",
                "data.test=[]",
                "--set",
                &format!("labels.good=\"{}\"", place.join(pipe).display()),
            ],
            &[
                "train",
                "metsig.toml",
                "--out",
                "new",
                "--set",
                "data.test=[]",
                "--set",
                &format!("select.golden=\"{pipe}\""),
            ],
            &[
                "train",
                "metsig.toml",
                "--out",
                "new",
                "--set",
                "data.test=[]",
                "--set",
                &format!("data.oms=[\"{pipe}\"]"),
            ],
            &[
                "train",
                "metsig.toml",
                "--out",
                "new",
                "--set",
                "data.test=[]",
                "--set",
                &format!("train.init=\"{pipe}\""),
            ],
            &["decode", "m", "--data", pipe, "--out", "d.csv"],
            &["certify", "m", "--out", "g.json", "--run", "good.csv=1", "--scores", pipe],
            &["certify", "m", "--out", "g.json", "--run", "good.csv=1", "--against", pipe],
            &["certify", "m", "--out", "g.json", "--run", "good.csv=1", "--runs", pipe],
            &["certify", "m", "--out", "g.json", "--run", "good.csv=1", "--decisions", pipe],
            &[&score[..], &["--data", pipe]].concat(),
            &[&score[..], &["--data", "bad1.csv", "--truth", pipe]].concat(),
        ] {
            refused(place, arguments, "good.csv", &[words]);
        }
    }
    assert!(
        !place.join("new").exists()
            && !place.join("g.json").exists()
            && !place.join("s.csv").exists()
    );
    // So are pipes without a name.
    for arguments in [
        &["check", "/dev/stdin"][..],
        &[&score[..], &["--data", "/dev/stdin"]].concat(),
        &[&score[..], &["--data", "bad1.csv", "--truth", "/dev/stdin"]].concat(),
        &["certify", "m", "--out", "g.json", "--run", "good.csv=1", "--decisions", "/dev/stdin"],
    ] {
        let (code, told) = piped(place, "good.csv", arguments);
        assert!(
            code == 2 && told.contains("/dev/stdin: is a pipe; expected a regular file"),
            "{told}"
        );
    }
    assert!(!place.join("g.json").exists() && !place.join("s.csv").exists());
}
