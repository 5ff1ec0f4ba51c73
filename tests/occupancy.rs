//! Maps of a layered detector: made files as the program and other readers find them.

mod common;

use common::{run, succeed};
use std::{fs, process::Command};

/// Reads the made maps as pandas users do and holds them against OMS, the automasks and the truth.
const PYTHON: &str = r#"
import json, numpy as np, pandas as pd
oms = pd.DataFrame(json.load(open("maps/oms.json")))
assert not oms.duplicated(["run_number", "lumisection_number"]).any() and oms.beams_stable.dtype == bool and oms.notna().all(axis=None)
truth, masks = pd.read_csv("maps/truth.csv"), pd.read_csv("maps/automasks.csv")
assert masks.layer.isna().any() and set(masks.layer.dropna()) <= {"PXLayer_1", "PXLayer_2"}
large = truth[truth.large].groupby(["run", "first_ls", "last_ls", "x_first", "x_last"]).layer.nunique()
assert len(large) == 12 and (large == 2).all(), large
for part, rows in [("train", 300), ("test", 240)]:
    for layer, height in [("PXLayer_1", 26), ("PXLayer_2", 58)]:
        table = pd.read_parquet(f"maps/{part}/{layer}.parquet")
        assert list(table) == "dataset run_number ls_number me x_min x_max x_bin y_min y_max y_bin entries data".split()
        maps = np.array([np.stack(rows) for rows in table["data"]])
        assert maps.shape == (rows, height, 72) and maps.dtype == np.int64 and (maps >= 0).all()
        assert (table.x_bin == 72).all() and (table.y_bin == height).all() and (table.y_max == height / 4).all() and (table.x_min == -4.5).all()
        assert table.me.nunique() == 1 and table.me[0].endswith("_" + layer) and not table.duplicated(["run_number", "ls_number"]).any()
        assert (maps.sum((1, 2)) == table.entries).all() and maps[:, :, 32:40].sum() == 0 and maps[:, height // 2 - 1 : height // 2 + 1].sum() == 0
        for defect in truth[(truth.layer == layer) & (truth.kind == "dead")].itertuples():
            here = (table.run_number == defect.run) & table.ls_number.between(defect.first_ls, defect.last_ls)
            inside = maps[here][:, defect.y_first : defect.y_last + 1, defect.x_first : defect.x_last + 1]
            assert inside.sum() == 0 and (len(inside) > 3) == (part == "test")
"#;

const SMALL: [&str; 8] = ["--lumisections", "300", "--test-lumisections", "240", "--layers", "2", "--seed", "5"];

#[test]
fn made_maps_are_what_other_readers_find() {
    let Some(python) = common::python("pandas and pyarrow") else { return };
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &[&["synth", "occupancy", "maps", "--true-shapes"], &SMALL[..]].concat());
    let output = Command::new(python).current_dir(place.path()).args(["-c", PYTHON]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn made_maps_are_inspected_and_sizes_out_of_range_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let said = succeed(place.path(), &[&["synth", "occupancy", "maps"], &SMALL[..]].concat());
    assert!(said.contains("lumisift inspect maps/test/PXLayer_1.parquet") && said.contains("configs/pixel-nmf.toml"), "{said}");
    for file in ["train/PXLayer_1.parquet", "test/PXLayer_2.parquet"] {
        let told = succeed(place.path(), &["inspect", &format!("maps/{file}")]);
        assert!(told.contains("72 × 26 bins"), "{told}");
    }
    let mut left: Vec<String> =
        fs::read_dir(place.path().join("maps")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["automasks.csv", "hlt.json", "oms.json", "test", "train", "truth.csv"]);
    let (code, _, error) = run(place.path(), &["synth", "occupancy", "other", "--layers", "5"]);
    assert!(code == 2 && error.contains("--layers 5: expected from 2 to 4"), "{error}");
    assert!(!place.path().join("other").exists());
}
