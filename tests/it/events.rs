//! Collision events in HDF5: made files as h5py and PyTables read them, and large ones.

use crate::common::{run, succeed};
use std::{fs, process::Command};

/// Reads a made file in two ways and holds it against its truth.
const PYTHON: &str = r#"
import csv, h5py, numpy as np, tables
with h5py.File("events.h5") as file:
    names = list(file)
    columns = {name: file[name][:] for name in names}
    assert all(file[name].shape == (40000,) and file[name].dtype == np.float32 for name in names)
    assert all(file[name].compression == "gzip" and file[name].shuffle for name in names)
    assert np.array_equal(file["MET_pt"][16380:16390], columns["MET_pt"][16380:16390])
assert len(names) == 30 and names == sorted(names), names
with tables.open_file("events.h5") as file:
    assert sorted(node.name for node in file.root) == names
    assert all(np.array_equal(getattr(file.root, name)[:], columns[name]) for name in names)
ids = columns["Dataset_ID"].astype(int)
assert list(np.unique(ids)) == [1, 2, 3, 4] and 0.34 < np.mean(ids == 1) < 0.38 and 0.6 < np.mean(ids == 2) < 0.64
truth = list(csv.DictReader(open("truth.csv")))
assert {int(row["event"]) for row in truth if row["anomaly"] == "signal"} == set(np.flatnonzero(ids > 2))
assert all(int(row["class"]) == ids[int(row["event"])] for row in truth)
filled = sum((columns[f"{channel}_Zmass"] > 0).astype(int) for channel in "ABCD")
assert set(np.flatnonzero(filled != 1)) == {int(row["event"]) for row in truth if row["anomaly"] == "noisy channel"}
assert np.array_equal(columns["A_Zmass"] > 0, columns["A_Dr_Z"] > 0) and np.array_equal(columns["D_Zmass"] > 0, columns["D_Zpt"] > 0)
"#;

#[test]
fn made_events_are_what_other_readers_find() {
    let Some(python) = crate::common::python("h5py and tables") else { return };
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &["synth", "events", ".", "--events", "40000", "--columns", "30"]);
    let output =
        Command::new(python).current_dir(place.path()).args(["-c", PYTHON]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn seeds_make_events_and_sizes_out_of_range_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let make = |out: &str, seed: &str| {
        let said =
            succeed(place.path(), &["synth", "events", out, "--events", "1000", "--seed", seed]);
        assert!(said.contains("lumisift train configs/events.toml"), "{said}");
        fs::read(place.path().join(out).join("events.h5")).unwrap()
    };
    assert!(make("one", "5") == make("two", "5"));
    assert!(make("one", "5") != make("three", "6"));
    let (code, _, error) = run(place.path(), &["synth", "events", "four", "--columns", "9"]);
    assert!(code == 2 && error.contains("--columns 9: expected from 12 to 80"), "{error}");
    assert!(!place.path().join("four").exists());
}
