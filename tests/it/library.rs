//! The library as programs use it: the examples, and rows in memory.

use crate::common::{config, judged, metsig, root, run, same, succeed};
use lumisift::{TrainedModel, config::DeviceChoice, device, experiment::rows};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An example, which `cargo test` builds beside the tests.
fn example(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    deps.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// A small config of histograms with a list of bins each, its data, and the folder of both.
fn place() -> tempfile::TempDir {
    let place = metsig("0.3");
    let text = format!(
        "extends = {:?}\n[data]\ntrain = [\"good.csv\"]\ntest = []\n[train]\nepochs = 3\n[model]\nhidden = [20]\n",
        config("metsig.toml")
    );
    fs::write(place.path().join("small.toml"), text).unwrap();
    place
}

#[test]
fn the_example_trains_as_the_program_does() {
    let place = place();
    succeed(place.path(), &["train", "small.toml", "--out", "program", "-q"]);
    let output = Command::new(example("train"))
        .current_dir(place.path())
        .args(["small.toml", "library"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().filter(|line| line.starts_with("all ")).count(), 3, "{text}");
    same(&place.path().join("program"), &place.path().join("library"));
}

#[test]
fn rows_in_memory_score_as_those_of_a_file() {
    let place = place();
    succeed(place.path(), &["train", "small.toml", "--out", "m", "-q"]);
    let model = TrainedModel::open(&place.path().join("m")).unwrap();
    let text = fs::read_to_string(place.path().join("good.csv")).unwrap();
    // The file is in no order; in memory, rows are in that of their lumisections.
    let row = |line: &str| {
        let (ls, bins) = line.split_once(";[").unwrap();
        (ls.parse::<u32>().unwrap(), bins.trim_end_matches(']').to_owned())
    };
    let mut rows: Vec<(u32, String)> = text.lines().skip(1).map(row).collect();
    rows.sort_by_key(|(ls, _)| *ls);
    let lines: Vec<String> = rows.into_iter().map(|(_, bins)| bins).collect();
    let values: Vec<f32> = lines
        .iter()
        .flat_map(|line| line.split(','))
        .map(|bin| bin.trim().parse().unwrap())
        .collect();
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let scores = rows::score_rows(&model, &values, &device).unwrap();
    let main = scores.main().unwrap();
    let of_file = judged(&place.path().join("m"));
    assert_eq!(scores.rows.len(), of_file.len());
    let mut flagged = 0;
    for (at, (row, score)) in of_file.iter().enumerate() {
        assert_eq!(main.scores[at], *score, "row {at}, LS {:?}", row.ls);
        flagged += usize::from(main.flagged(at) == Some(true));
    }
    assert!(flagged < of_file.len() / 2);
    let error = rows::score_rows(&model, &values[1..], &device).unwrap_err().to_string();
    assert!(error.contains("are not whole rows of"), "{error}");

    let mut child = Command::new(example("score"))
        .arg(place.path().join("m"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let first = printed.lines().next().unwrap();
    let expected = main.scores[0].map(|score| score.to_string()).unwrap_or_default();
    assert!(output.status.success() && first.starts_with(&format!("0,{expected},")), "{first}");
}

#[test]
fn a_model_that_needs_more_than_rows_says_so() {
    let place = place();
    let each = ["train", "small.toml", "--out", "m", "-q", "--set", "scale.fit_on=\"each-file\""];
    assert_eq!(run(place.path(), &each).0, 0);
    let model = TrainedModel::open(&place.path().join("m")).unwrap();
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let error = rows::score_rows(&model, &vec![1.0; model.scaler.width], &device).unwrap_err();
    assert!(error.to_string().contains("scale.fit_on = \"each-file\""), "{error}");
    assert!(TrainedModel::open(Path::new("/nowhere")).is_err() && root().join("examples").is_dir());
}
