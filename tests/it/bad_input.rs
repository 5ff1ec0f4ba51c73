//! The user's mistakes: one clear message, exit code 2, nothing half-written.

use crate::common::{config, metsig, run, shared};
use std::{fs, path::Path};

/// Trains with `metsig.toml` on files of `folder` and expects a refusal whose message has all of
/// `parts`.
fn refused(folder: &Path, sets: &[&str], parts: &[&str]) {
    let config = config("metsig.toml");
    let mut arguments =
        vec!["train", config.as_str(), "--out", "refused", "--set", "train.epochs=1"];
    let standard = ["data.train=[\"good.csv\"]", "data.test=[\"bad1.csv\"]"];
    standard.iter().chain(sets).for_each(|set| arguments.extend(["--set", set]));
    let (code, out, err) = run(folder, &arguments);
    assert_eq!(code, 2, "{out}\n{err}");
    assert_eq!(err.matches("error:").count(), 1, "{err}");
    for part in parts {
        assert!(err.contains(part), "{part:?} in\n{err}");
    }
    assert!(!folder.join("refused").exists(), "nothing is written");
}

/// Changes one line of a file, counted from 1.
fn edit(folder: &Path, file: &str, line: usize, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let lines: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(i, text)| if i + 1 == line { change(text) } else { text.to_owned() })
        .collect();
    fs::write(folder.join(file), lines.join("\n")).unwrap();
}

#[test]
fn files_that_are_not_there_or_not_what_they_should_be() {
    let place = metsig("0.2");
    let folder = place.path();
    refused(folder, &["data.train=[\"god.csv\"]"], &["god.csv: no such file"]);
    refused(folder, &["data.train=[\"g*d.txt\"]"], &["g*d.txt: no file matches"]);
    refused(
        folder,
        &["data.train=[\".\"]", "data.test=[]"],
        &["truth.csv: its rows are events, but those of", "are lumisections"],
    );
    fs::create_dir(folder.join("nothing")).unwrap();
    refused(folder, &["data.train=[\"nothing\"]"], &["nothing: holds no files"]);
    refused(folder, &["data.train=[]"], &["data.train: no files"]);
    fs::write(folder.join("empty.csv"), "").unwrap();
    refused(folder, &["data.train=[\"empty.csv\"]"], &["empty.csv: is empty"]);
    fs::write(folder.join("header.csv"), "fromlumi;histo\n").unwrap();
    refused(
        folder,
        &["data.train=[\"header.csv\"]", "data.test=[]"],
        &["no rows in", "header.csv"],
    );
    fs::write(folder.join("a.parquet"), b"PAR1....PAR1").unwrap();
    refused(folder, &["data.train=[\"a.parquet\"]"], &["a.parquet: not a whole Parquet file"]);
}

#[test]
fn columns_that_are_not_there() {
    let place = metsig("0.2");
    let folder = place.path();
    refused(
        folder,
        &["data.columns.ls=\"fromlumy\""],
        &["no column \"fromlumy\" (did you mean \"fromlumi\"?)", "fromlumi, histo"],
    );
    refused(folder, &["labels.good=\"Json\""], &["no column \"Json\""]);
}

#[test]
fn rows_that_cannot_be_read_name_their_line() {
    for (change, part) in [
        (("]", ",7]"), "54 bins where most rows have 53"),
        (("[", "[x"), "bin 0 is \"x"),
        (("[", "[nan,"), "bin 0 is nan"),
        (("[", "[-"), "counts cannot be negative"),
        ((";", ";;"), "not a list"),
    ] {
        let place = metsig("0.2");
        edit(place.path(), "good.csv", 17, |line| line.replace(change.0, change.1));
        refused(place.path(), &[], &["good.csv:17:", part, "data.bad_rows"]);
    }
}

#[test]
fn bad_rows_may_be_rejected_and_are_then_told() {
    let place = metsig("0.2");
    let folder = place.path();
    edit(folder, "good.csv", 17, |line| line.replace('[', "[nan,"));
    let config = config("metsig.toml");
    let sets = [
        "--set",
        "data.train=[\"good.csv\"]",
        "--set",
        "data.test=[]",
        "--set",
        "data.bad_rows=\"reject\"",
        "--set",
        "train.epochs=1",
    ];
    let (code, out, err) =
        run(folder, &[&["train", config.as_str(), "--out", "rejecting"], &sets[..]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("1 cannot be read"), "{out}");
    assert!(err.contains("good.csv:17: left out: bin 0 is nan; expected a finite number"), "{err}");
    let rows = crate::common::judged(&folder.join("rejecting"));
    let told = |row: &lumisift::score::row::ScoredRow| {
        row.rejected
            .as_deref()
            .is_some_and(|reason| reason.starts_with("line 17: ") && reason.contains("nan"))
    };
    let (rejected, score) = rows.into_iter().find(|(row, _)| told(row)).unwrap();
    assert!(rejected.ls.is_some() && score.is_none());
}

#[test]
fn lumisections_that_are_there_twice() {
    let place = metsig("0.2");
    let text = fs::read_to_string(place.path().join("good.csv")).unwrap();
    let second = text.lines().nth(1).unwrap();
    fs::write(place.path().join("good.csv"), format!("{text}{second}\n")).unwrap();
    refused(
        place.path(),
        &[],
        &["duplicate", "is there twice", &format!("LS {}", second.split(';').next().unwrap())],
    );
}

#[test]
fn training_rows_among_the_test_rows() {
    let place = metsig("0.2");
    refused(place.path(), &["data.test=[\"good.csv\"]"], &["training rows inside the test set"]);
    fs::copy(place.path().join("good.csv"), place.path().join("copy.csv")).unwrap();
    refused(
        place.path(),
        &["data.test=[\"copy.csv\"]"],
        &["training rows inside the test set", "copy.csv"],
    );
}

#[test]
fn nothing_left_to_train_on() {
    let place = metsig("0.2");
    let empty = format!("[{}]", ["0"; 53].join(","));
    let rows: String = (1..50).map(|ls| format!("{ls};{empty}\n")).collect();
    fs::write(place.path().join("good.csv"), format!("fromlumi;histo\n{rows}")).unwrap();
    refused(place.path(), &["data.test=[]"], &["no rows left of 49", "49 empty (leading)"]);
}

#[test]
fn other_bins_than_the_model_was_trained_on() {
    let place = metsig("0.2");
    let folder = place.path();
    let config = config("metsig.toml");
    crate::common::succeed(
        folder,
        &[
            "train",
            &config,
            "--out",
            "model",
            "--set",
            "data.train=[\"good.csv\"]",
            "--set",
            "data.test=[]",
            "--set",
            "train.epochs=1",
            "-q",
        ],
    );
    fs::write(folder.join("wide.csv"), format!("fromlumi;histo\n1;[{}]\n", ["1"; 60].join(",")))
        .unwrap();
    let (code, _, err) =
        run(folder, &["score", "model", "--data", "wide.csv", "--out", "s.parquet"]);
    assert_eq!(code, 2);
    assert!(err.contains("wide.csv: 60 bins, but the model was trained on 53"), "{err}");
    assert!(!folder.join("s.parquet").exists());
    let (code, _, err) = run(
        folder,
        &["score", "model", "--data", "bad1.csv", "--out", "s.parquet", "--set", "model.latent=3"],
    );
    assert_eq!(code, 2);
    assert!(err.contains("model.latent is fixed by the training of the experiment"), "{err}");
    let (code, _, err) = run(folder, &["score", ".", "--data", "bad1.csv", "--out", "s.parquet"]);
    assert_eq!(code, 2);
    assert!(err.contains("holds no experiment.toml"), "{err}");
}

#[test]
fn configs_with_faults_tell_them_all_with_their_lines() {
    let place = tempfile::tempdir().unwrap();
    let text = "seed = \"one\"\n[train]\nepoch = 3\nbatch_size = 0\n[train.optimizer]\nkind = \"sgd\"\nbeta1 = 0.9\n";
    fs::write(place.path().join("faulty.toml"), text).unwrap();
    let (code, _, err) = run(place.path(), &["train", "faulty.toml", "--out", "refused"]);
    assert_eq!(code, 2);
    for part in [
        "5 faults",
        "faulty.toml:1: seed: found \"one\"; expected a whole number",
        "faulty.toml:3: train.epoch: unknown key in [train] (did you mean \"epochs\"?)",
        "faulty.toml:4: train.batch_size: found 0; expected at least 1",
        "faulty.toml:7: train.optimizer.beta1: has no meaning with kind = \"sgd\"",
        "data.train: no files",
    ] {
        assert!(err.contains(part), "{part:?} in\n{err}");
    }
    fs::write(place.path().join("torn.toml"), "seed = 1\n[train\n").unwrap();
    let (code, _, err) = run(place.path(), &["check", "torn.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("torn.toml:2: not valid TOML"), "{err}");
    let (code, _, err) = run(place.path(), &["check", "missing.toml"]);
    assert_eq!((code, err.contains("missing.toml: no such file")), (2, true), "{err}");
    fs::write(place.path().join("a.toml"), "extends = \"b.toml\"\n").unwrap();
    fs::write(place.path().join("b.toml"), "extends = \"a.toml\"\n").unwrap();
    let (code, _, err) = run(place.path(), &["check", "a.toml"]);
    assert_eq!((code, err.contains("extends itself")), (2, true), "{err}");
}

#[test]
fn arguments_that_make_no_sense() {
    let place = metsig("0.2");
    refused(
        place.path(),
        &["train.epochs=1.5"],
        &["--set train.epochs=1.5: train.epochs: found 1.5; expected a whole number"],
    );
    refused(place.path(), &["device=\"cuda\""], &["device cuda:0:"]);
    refused(place.path(), &["device=\"cuba\""], &["did you mean \"cuda\"?"]);
    refused(
        place.path(),
        &["train.init=\"none.safetensors\""],
        &["none.safetensors: no such file"],
    );
    refused(place.path(), &["split.by=\"run\""], &["split.by = \"block\" splits within runs"]);
    assert_eq!(run(place.path(), &["train"]).0, 2);
    assert_eq!(run(place.path(), &["trian"]).0, 2);
    assert_eq!(run(place.path(), &["synth", "metsig", "x", "--size", "nan"]).0, 2);
    assert_eq!(run(place.path(), &["--help"]).0, 0);
}

#[test]
fn what_cannot_work_is_told_before_anything_is_trained() {
    let place = metsig("0.2");
    let folder = place.path();
    refused(folder, &["threshold.smooth=5000"], &["threshold", "needs a run of at least 5000 LSs"]);
    refused(folder, &["data.rebin=[2, 2]"], &["data.rebin", "histograms in one dimension"]);
    refused(
        folder,
        &["data.me=\"pt\""],
        &["no monitoring element \"pt\"", "name no monitoring elements"],
    );
    refused(
        folder,
        &["labels.good={column=\"good\", lists=\"bad\"}"],
        &["labels.good: lists and complete are for a JSON"],
    );
    refused(
        folder,
        &["select.where=[\"pileup >\"]"],
        &["select.where[0]: \"pileup >\": ends too early"],
    );
    refused(folder, &["select.where=[\"pileup > 3\"]"], &["no column \"pileup\"", "data.oms"]);
    refused(folder, &["select.golden=\"none.json\""], &["none.json: no such file"]);
    refused(
        folder,
        &["select.runs=[\"7-3\"]"],
        &["select.runs[0]: expected a run number, or a range"],
    );
    refused(
        folder,
        &["select.lumisections={\"1\" = [[5, 2]]}"],
        &["select.lumisections.1: expected a run number and ranges"],
    );
    refused(folder, &["split.stratify=true"], &["split.stratify: needs by = \"random\""]);
    refused(
        folder,
        &["select.nonzero_weight=true"],
        &["select.nonzero_weight: there are no weights"],
    );
}

#[test]
fn scored_files_must_hold_what_the_model_was_trained_on() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let rows = |me: &str, run: u32| -> String {
        (1..=40)
            .map(|ls| format!("{run},{ls},{me},\"[{}, {}, 3]\"\n", 5 + ls % 4, 9 + ls % 3))
            .collect()
    };
    let header = "fromrun,fromlumi,hname,histo\n";
    fs::write(folder.join("a.csv"), format!("{header}{}", rows("A", 1))).unwrap();
    fs::write(folder.join("b.csv"), format!("{header}{}", rows("B", 2))).unwrap();
    fs::write(folder.join("both.csv"), format!("{header}{}{}", rows("A", 3), rows("B", 3)))
        .unwrap();
    fs::write(folder.join("notes.md"), "# Notes").unwrap();
    let text = "[data]\ntrain = [\"a.csv\"]\n[split]\nby = \"block\"\nblock = 5\n[train]\nepochs = 1\n[model]\nhidden = [3]\nlatent = 2\n";
    fs::write(folder.join("c.toml"), text).unwrap();
    crate::common::succeed(folder, &["train", "c.toml", "--out", "model", "-q"]);
    let (code, _, err) = run(folder, &["score", "model", "--data", "b.csv", "--out", "s.parquet"]);
    assert!(code == 2 && err.contains("b.csv: holds B, but the model was trained on A"), "{err}");
    crate::common::succeed(
        folder,
        &[
            "score",
            "model",
            "--data",
            "both.csv",
            "--out",
            "s.parquet",
            "--set",
            "data.me=\"A\"",
            "-q",
        ],
    );
    let (code, _, err) = run(
        folder,
        &["score", "model", "--data", "both.csv", "--out", "s.txt", "--set", "data.me=\"A\""],
    );
    assert!(code == 2 && err.contains("ends in .parquet or .csv"), "{err}");

    let (code, _, err) = run(folder, &["check", "c.toml", "--set", "data.train=[\"*.csv\"]"]);
    assert!(
        code == 2 && err.contains("several monitoring elements; choose one with data.me: A, B"),
        "{err}"
    );
    fs::create_dir(folder.join("all")).unwrap();
    for name in ["a.csv", "b.csv", "both.csv", "notes.md"] {
        fs::copy(folder.join(name), folder.join("all").join(name)).unwrap();
    }
    let out = crate::common::succeed(
        folder,
        &[
            "check",
            "c.toml",
            "--set",
            "data.train=[\"all\"]",
            "--set",
            "data.me=\"A\"",
            "--set",
            "split.by=\"run\"",
        ],
    );
    assert!(
        out.contains("notes.md is left out: a document") && out.contains("b.csv (ml4dqm, 0 rows)"),
        "{out}"
    );
}

const FEATURES: &str = "[labels]\ngood = \"label\"\n[weights]\nfrom = \"w\"\n[split]\nby = \"block\"\nblock = 5\n[model]\nhidden = [3]\nlatent = 2\n";

/// What `check` says of a file of features: exit code, standard output, standard error.
fn checked(folder: &Path, file: &str, sets: &[&str]) -> (i32, String, String) {
    fs::write(folder.join("features.toml"), FEATURES).unwrap();
    let train = format!("data.train=[\"{file}\"]");
    let mut arguments = vec!["check", "features.toml", "--set", &train];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    run(folder, &arguments)
}

#[test]
fn a_column_that_is_there_twice_is_no_input_in_any_format() {
    use arrow_array::{ArrayRef, Float64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use std::sync::Arc;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let names = ["run_number", "ls_number", "a", "b", "c", "label", "w"];
    let entry = |at: usize, i: usize| match at {
        0 => 1 + i / 50,
        1 => i % 50 + 1,
        2 => i,
        3 => i * i % 17,
        4 => i % 7,
        _ => usize::from(!i.is_multiple_of(9)),
    };
    let column = |at: usize| (0..100).map(|i| entry(at, i) as f64).collect::<Vec<f64>>();
    // What the second column is called, which it repeats, whether its contents differ, and what is
    // said.
    let cases: Vec<(String, usize, bool, String)> = [0, 1, 2, 5, 6]
        .into_iter()
        .flat_map(|at| {
            let name = names[at];
            let second = [name.to_owned(), format!("{name}.1"), format!("{name}_duplicated_0")];
            second.into_iter().flat_map(move |second| {
                [false, true].map(|differs| {
                    (second.clone(), at, differs, format!("column {} \"{name}\"", at + 1))
                })
            })
        })
        .chain(
            [false, true].map(|differs| ("fromrun".into(), 0, differs, "data.columns.run".into())),
        )
        .chain(
            [false, true]
                .map(|differs| ("Label".into(), 5, differs, "only in case or blanks".into())),
        )
        .chain(
            [false, true].map(|differs| (" W".into(), 6, differs, "only in case or blanks".into())),
        )
        .collect();
    for (second, at, differs, part) in cases {
        let mut columns: Vec<(&str, Vec<f64>)> =
            names.iter().enumerate().map(|(at, name)| (*name, column(at))).collect();
        let mut repeated = column(at);
        repeated[60] += f64::from(u8::from(differs));
        columns.push((&second, repeated));
        let rows: String = (0..100)
            .map(|row| {
                columns
                    .iter()
                    .map(|(_, column)| column[row].to_string())
                    .collect::<Vec<_>>()
                    .join(",")
                    + "\n"
            })
            .collect();
        let header: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        fs::write(folder.join("x.csv"), format!("{}\n{rows}", header.join(","))).unwrap();
        let schema = Arc::new(Schema::new(
            columns
                .iter()
                .map(|(name, _)| Field::new(*name, DataType::Float64, false))
                .collect::<Vec<_>>(),
        ));
        let arrays = columns
            .iter()
            .map(|(_, column)| Arc::new(Float64Array::from(column.clone())) as ArrayRef)
            .collect();
        let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
        let mut parquet = parquet::arrow::ArrowWriter::try_new(
            fs::File::create(folder.join("x.parquet")).unwrap(),
            schema.clone(),
            None,
        )
        .unwrap();
        parquet.write(&batch).unwrap();
        parquet.close().unwrap();
        let mut feather = arrow_ipc::writer::FileWriter::try_new(
            fs::File::create(folder.join("x.feather")).unwrap(),
            &schema,
        )
        .unwrap();
        feather.write(&batch).unwrap();
        feather.finish().unwrap();
        for file in ["x.csv", "x.parquet", "x.feather"] {
            let (code, out, err) = checked(folder, file, &[]);
            let what = format!("{second:?} in {file}: {out}{err}");
            if differs {
                assert!(
                    code == 2
                        && err.contains(&format!(
                            "column 8 \"{}\"",
                            if file == "x.csv" { second.trim() } else { &second }
                        )),
                    "{what}"
                );
                assert!(err.contains(&part) && err.contains("differ"), "{part}: {what}");
            } else {
                assert!(code == 0 && out.contains("3 features: a, b, c"), "{what}");
                assert!(
                    format!("{out}{err}").contains("hold the same; the latter is left out"),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn what_a_table_of_features_holds_is_taken_or_told() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let rows = |line: &dyn Fn(usize) -> String| {
        (1..=100).map(|i| format!("1,{i},{},1,1,{}\n", i % 13, line(i))).collect::<String>()
    };
    let write = |header: &str, line: &dyn Fn(usize) -> String| {
        fs::write(folder.join("x.csv"), format!("run,ls,a,label,w,{header}\n{}", rows(line)))
            .unwrap()
    };
    let refused = |parts: &[&str]| {
        let (code, out, err) = checked(folder, "x.csv", &[]);
        assert!(
            code == 2 && parts.iter().all(|part| err.contains(part)),
            "{parts:?} in {out}{err}"
        );
    };
    let taken = |parts: &[&str]| {
        let (code, out, err) = checked(folder, "x.csv", &[]);
        let all = format!("{out}{err}");
        assert!(code == 0 && parts.iter().all(|part| all.contains(part)), "{parts:?} in {all}");
    };
    write("b", &|i| if i == 71 { "5,9".into() } else { "5".into() });
    refused(&["x.csv:72: 7 fields where the header has 6"]);
    write("note,b", &|i| if i == 71 { "\"open,5".into() } else { "ok,5".into() });
    refused(&["x.csv:72: a quote is opened and not closed"]);
    write("b", &|i| if i == 1 { "NA".into() } else { i.to_string() });
    refused(&["x.csv:2: \"b\" is", "NA"]);
    write("b", &|_| "\"1,234.5\"".into());
    refused(&[
        "x.csv:2: \"b\" is \"1,234.5\"; expected a number with a decimal point",
        "99 more rows",
    ]);
    write("note", &|i| if i < 61 { String::new() } else { "noisy".into() });
    taken(&["1 features: a", "left out of the inputs: column 6 \"note\" (text)"]);
    write("note", &|_| String::new());
    taken(&["1 features: a", "left out of the inputs: column 6 \"note\" (blank)"]);
    let (_, _, err) = checked(folder, "x.csv", &["data.columns.ignore=[\"note\"]"]);
    assert!(!err.contains("left out of the inputs"), "{err}");
    fs::write(folder.join("x.csv"), rows(&|_| "1".into())).unwrap();
    refused(&["x.csv:1: found the numbers", "expected a header"]);
    let wide: Vec<u8> = "\u{feff}run,ls\n1,1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.join("x.csv"), wide).unwrap();
    refused(&["x.csv: is text in UTF-16; save it as UTF-8"]);
}

#[test]
fn seven_numbers_of_histograms_are_scored_in_the_units_they_were_trained_in() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let rows = |run: u32, axis: &str| -> String {
        (1..=60)
            .map(|ls| format!("{run},{ls},\"[{}, {}, 3]\"{axis}\n", 5 + ls % 4, 9 + ls % 3))
            .collect()
    };
    let header = "fromrun,fromlumi,histo";
    fs::write(folder.join("axis.csv"), format!("{header},Xmin,Xmax\n{}", rows(1, ",0,6"))).unwrap();
    fs::write(folder.join("bins.csv"), format!("{header}\n{}", rows(2, ""))).unwrap();
    fs::write(
        folder.join("c.toml"),
        "data.summary = true\n[split]\nby = \"block\"\nblock = 5\n[train]\nepochs = 1\n[model]\nhidden = [3]\nlatent = 2\n",
    )
    .unwrap();
    for (trained, other, said) in [
        (
            "axis.csv",
            "bins.csv",
            "bins.csv: does not say the axis of its histograms, but the model was trained on seven numbers in units of the axis",
        ),
        (
            "bins.csv",
            "axis.csv",
            "axis.csv: says the axis of its histograms, but the model was trained on seven numbers in bins",
        ),
    ] {
        let train = format!("data.train=[\"{trained}\"]");
        let (code, out, err) =
            run(folder, &["train", "c.toml", "--out", "model", "--force", "--set", &train]);
        assert_eq!(
            (code, out.contains("in bins from 0")),
            (0, trained == "bins.csv"),
            "{out}{err}"
        );
        let score =
            |file: &str| run(folder, &["score", "model", "--data", file, "--out", "s.parquet"]);
        let (code, _, err) = score(other);
        assert!(code == 2 && err.contains(said), "{err}");
    }
}

/// A feature table with one row of other values, by its LS.
fn table(folder: &Path, name: &str, run: u32, odd: &[(u32, &str)]) {
    let mut text = "run,ls,a,b,c\n".to_owned();
    for ls in 1..=200 {
        let x = f64::from(ls * 7919 % 101) / 50.0 - 1.0;
        let cells = odd.iter().find(|(at, _)| *at == ls).map_or_else(
            || format!("{x},{},{}", x * x + 0.1, 0.5 - x),
            |(_, cells)| (*cells).to_owned(),
        );
        text += &format!("{run},{ls},{cells}\n");
    }
    fs::write(folder.join(name), text).unwrap();
}

#[test]
fn a_row_that_overflows_is_not_evaluated_and_costs_no_other() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    table(folder, "train.csv", 1, &[]);
    table(
        folder,
        "spoilt.csv",
        1,
        &[(11, "3e38,3e38,3e38"), (150, "1,-3.2e38,1"), (100, "1,1e30,1")],
    );
    table(folder, "new.csv", 2, &[(101, "3e38,3e38,3e38"), (102, "0,-1e20,0"), (103, "1e5,0,0")]);
    let config = "data.train = [\"train.csv\"]\nsplit = { by = \"order\", valid = 0.25 }\nmodel = { hidden = [], latent = 2, latent_activation = \"linear\" }\n\
                  train = { epochs = 5, batch_size = 32 }\nreport = { tensorboard = false, projections = [] }\n";
    fs::write(folder.join("config.toml"), config).unwrap();
    for more in [
        "scale.kind=\"standard\"",
        "scale.kind=\"range\"",
        "scale.kind=\"min-max\"",
        "scale.kind=[\"sqrt\", \"robust\"]",
        "scale.kind=\"none\"",
    ] {
        let train =
            ["train", "config.toml", "--out", "out", "--force", "-q", "--set", more, "--set"];
        crate::common::succeed(folder, &[&train[..], &["data.test=[\"new.csv\"]"]].concat());
        let rows = crate::common::judged(&folder.join("out"));
        let reason = |rows: &[(lumisift::score::row::ScoredRow, Option<f64>)],
                      run: u32,
                      ls: u32| {
            let (row, score) =
                rows.iter().find(|(row, _)| (row.run, row.ls) == (Some(run), Some(ls))).unwrap();
            assert_eq!(row.rejected.is_some(), score.is_none(), "{run}:{ls}");
            row.rejected.as_deref().unwrap_or_default().to_owned()
        };
        assert_eq!(
            (rows.len(), reason(&rows, 2, 101).as_str()),
            (400, "not finite after scaling (a)"),
            "{more}"
        );
        assert_eq!(
            rows.iter().filter(|(row, _)| row.rejected.is_some()).count(),
            if more.contains("sqrt") { 1 } else { 2 },
            "{more}"
        );

        crate::common::succeed(
            folder,
            &["score", "out", "--data", "new.csv", "--out", "scores.csv"],
        );
        let text = fs::read_to_string(folder.join("scores.csv")).unwrap();
        assert_eq!(text.lines().count(), 201);
        assert!(
            text.contains(",2,101,all,,,,not evaluated,not finite after scaling (a)"),
            "{text}"
        );
        assert!(
            text.lines().any(|line| line.contains(",2,103,") && line.contains(",true,bad,")),
            "{more}: {text}"
        );
        crate::common::succeed(
            folder,
            &["encode", "out", "--data", "new.csv", "--out", "latents.csv"],
        );
        assert!(
            !fs::read_to_string(folder.join("latents.csv")).unwrap().to_lowercase().contains("inf")
        );
        crate::common::succeed(
            folder,
            &["certify", "out", "--data", "new.csv", "--out", "golden.json"],
        );
        crate::common::succeed(folder, &["calibrate", "out", "--data", "new.csv"]);
        crate::common::succeed(folder, &["report", "out"]);
    }
    // In training rows.
    for more in ["scale.kind=\"standard\"", "scale.kind=\"range\"", "scale.kind=\"robust\""] {
        let (code, _, error) = run(
            folder,
            &[
                "train",
                "config.toml",
                "--out",
                "out",
                "--force",
                "--set",
                "data.train=[\"spoilt.csv\"]",
                "--set",
                more,
            ],
        );
        assert_eq!(code, 0, "{more}: {error}");
        let rows = crate::common::judged(&folder.join("out"));
        let rejected =
            |ls: u32| rows.iter().find(|(row, _)| row.ls == Some(ls)).unwrap().0.rejected.clone();
        let reasons = [11, 150].map(|ls| rejected(ls).unwrap().to_string());
        assert_eq!(
            reasons,
            ["not finite after scaling (a)", "not finite after scaling (b)"],
            "{more}"
        );
        // What is far off and finite decides the scaling, unless that is robust.
        let told = crate::common::report(&folder.join("out"))
            .warnings
            .iter()
            .any(|warning| warning.starts_with("b is 1e30 in the training row"));
        assert_eq!(
            (told, rejected(100).is_some()),
            (!more.contains("robust"), more.contains("robust")),
            "{more}"
        );
    }
}

#[test]
fn a_row_that_is_divided_by_0_is_not_evaluated() {
    let place = tempfile::tempdir().unwrap();
    let rows: String = (1..=90)
        .map(|ls| format!("1,{ls},{},\"[{ls}, 5, 9]\"\n", if ls == 33 { 0 } else { 2 }))
        .collect();
    fs::write(place.path().join("data.csv"), format!("run_number,ls_number,lumi,data\n{rows}"))
        .unwrap();
    let config = "data.train = [\"data.csv\"]\nscale.divide_by = \"lumi\"\nsplit.by = \"order\"\nmodel = { hidden = [], latent = 2 }\ntrain.epochs = 2\n";
    fs::write(place.path().join("config.toml"), config).unwrap();
    crate::common::succeed(place.path(), &["train", "config.toml", "--out", "out", "-q"]);
    let (row, score) = crate::common::judged(&place.path().join("out"))
        .into_iter()
        .find(|(row, _)| row.ls == Some(33))
        .unwrap();
    assert_eq!((row.rejected.as_deref(), score), (Some("scale.divide_by is 0"), None));
}

#[test]
fn an_existing_folder_is_kept() {
    let place = metsig("0.2");
    let folder = place.path();
    fs::create_dir(folder.join("mine")).unwrap();
    fs::write(folder.join("mine/notes.txt"), "dear").unwrap();
    let config = config("metsig.toml");
    let arguments = [
        "train",
        config.as_str(),
        "--out",
        "mine",
        "--set",
        "data.train=[\"good.csv\"]",
        "--set",
        "data.test=[]",
        "--set",
        "train.epochs=1",
        "-q",
    ];
    let (code, _, err) = run(folder, &arguments);
    assert_eq!(code, 2);
    assert!(
        err.contains("--out mine: is a folder with files in it") && err.contains("--force"),
        "{err}"
    );
    assert_eq!(fs::read_dir(folder.join("mine")).unwrap().count(), 1);
    crate::common::succeed(folder, &[&arguments[..], &["--force"]].concat());
    assert_eq!(fs::read_to_string(folder.join("mine/notes.txt")).unwrap(), "dear");
}

#[test]
fn every_real_file_is_read_or_refused_by_name() {
    let Some(folder) = shared("data") else { return };
    for entry in walk(&folder) {
        let name = entry.display().to_string();
        let no_data = [".md", ".root", "LICENSE"].iter().any(|ending| name.ends_with(ending));
        let (code, out, err) = run(Path::new("."), &["inspect", &name]);
        assert_eq!(code, if no_data { 2 } else { 0 }, "{name}: {out}{err}");
        assert!(if no_data { err.contains(&name) } else { err.is_empty() }, "{name}:\n{err}");
    }
}

#[test]
fn a_pickle_is_refused_with_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("table.pkl"), b"\x80\x04\x95\x00\x00").unwrap();
    let (code, _, err) = run(place.path(), &["inspect", "table.pkl"]);
    assert!(
        code == 2
            && err.contains("table.pkl: is a Python pickle")
            && err.contains("scripts/pickle_to_parquet.py"),
        "{err}"
    );
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn latents_too_wide_for_their_projections_are_refused_before_training() {
    let place = metsig("0.3");
    let command = format!(
        "ulimit -v 3000000; exec {} train {} --out m -q --set data.train=[\\\"good.csv\\\"] --set data.test=[] --set model.latent=65536 --set model.hidden=[2]",
        crate::common::PROGRAM,
        config("metsig.toml")
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &command])
        .current_dir(place.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && error.contains("report.projections = []"),
        "{error}"
    );
}
