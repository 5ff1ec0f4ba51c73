//! Maps of a layered detector: made files as the program and other readers find them.

use crate::common::{config, report, run, scores, succeed};
use lumisift::{data::areas::Area, prepare::split::Split, score::patterns::scored};
use std::{fs, path::Path, process::Command};

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

const SMALL: [&str; 8] =
    ["--lumisections", "300", "--test-lumisections", "240", "--layers", "2", "--seed", "5"];

#[test]
fn made_maps_are_what_other_readers_find() {
    let Some(python) = crate::common::python("pandas and pyarrow") else { return };
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &[&["synth", "occupancy", "maps", "--true-shapes"], &SMALL[..]].concat());
    let output =
        Command::new(python).current_dir(place.path()).args(["-c", PYTHON]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn made_maps_are_inspected_and_sizes_out_of_range_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let said = succeed(place.path(), &[&["synth", "occupancy", "maps"], &SMALL[..]].concat());
    assert!(
        said.contains("lumisift inspect maps/test/PXLayer_1.parquet")
            && said.contains("configs/pixel-nmf.toml"),
        "{said}"
    );
    for file in ["train/PXLayer_1.parquet", "test/PXLayer_2.parquet"] {
        let told = succeed(place.path(), &["inspect", &format!("maps/{file}")]);
        assert!(told.contains("72 × 26 bins"), "{told}");
    }
    let mut left: Vec<String> = fs::read_dir(place.path().join("maps"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            ".synth-occupancy.lumisift",
            "automasks.csv",
            "hlt.json",
            "oms.json",
            "test",
            "train",
            "truth.csv"
        ]
    );
    let (code, _, error) = run(place.path(), &["synth", "occupancy", "other", "--layers", "5"]);
    assert!(code == 2 && error.contains("--layers 5: expected from 2 to 4"), "{error}");
    assert!(!place.path().join("other").exists());
}

/// A line of truth.csv that counts as large, in bins of the map as it is scored (the cross of 8
/// columns and 2 rows cut out).
struct Defect {
    run: u32,
    ls: (u32, u32),
    layer: String,
    x: (usize, usize),
    y: (usize, usize),
    kind: String,
    known: bool,
    large: bool,
}

fn truth(folder: &Path) -> Vec<Defect> {
    let text = fs::read_to_string(folder.join("data/truth.csv")).unwrap();
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<u32>().unwrap();
        let range = |at: usize, middle: u32, cut: u32| {
            let scored = |bin: u32| if bin >= middle { bin - cut } else { bin } as usize;
            (scored(number(at)), scored(number(at + 1)))
        };
        Defect {
            run: number(0),
            ls: (number(1), number(2)),
            layer: cells[3].into(),
            x: range(4, 40, 8),
            y: range(6, 14, 2),
            kind: cells[9].into(),
            known: cells[10] == "true",
            large: cells[11] == "true",
        }
    };
    text.lines().skip(1).map(line).collect()
}

/// The keys that tell a shipped config where made data are.
const DATA: [&str; 10] = [
    "--set",
    "data.train=[\"data/train/PXLayer_*.parquet\"]",
    "--set",
    "data.test=[\"data/test/PXLayer_*.parquet\"]",
    "--set",
    "data.oms=[\"data/oms.json\"]",
    "--set",
    "data.hlt=[\"data/hlt.json\"]",
    "--set",
    "patterns.automasks=[\"data/automasks.csv\"]",
];

#[test]
fn what_was_put_into_maps_is_found_where_it_is_and_nothing_else_is() {
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &["synth", "occupancy", "data"]);
    let said = succeed(
        place.path(),
        &[&["train", &config("pixel-nmf.toml"), "--out", "pixel"], &DATA[..]].concat(),
    );
    assert!(
        said.contains("PXLayer_4") && said.contains("regions") && said.contains("known"),
        "{said}"
    );
    let tracks = report(&place.path().join("pixel")).patterns.unwrap().tracks;
    let truth = truth(place.path());
    for defect in truth.iter().filter(|defect| defect.large) {
        let told = format!(
            "{} {:?} {} x {:?} y {:?}",
            defect.run, defect.ls, defect.layer, defect.x, defect.y
        );
        let own = tracks
            .iter()
            .filter(|track| track.run == defect.run.to_string() && track.channel == defect.layer);
        let own = own.filter(|track| {
            scored::name(track.side) == defect.kind
                && track.ls.0 <= defect.ls.1
                && track.ls.1 >= defect.ls.0
        });
        let area = Area { x: defect.x, y: defect.y };
        let best = own
            .max_by(|a, b| a.area().iou(area).total_cmp(&b.area().iou(area)))
            .unwrap_or_else(|| panic!("{told} is not found"));
        assert!(best.area().iou(area) >= 0.5, "{told}: {best:?}");
        assert_eq!(
            (best.ls, best.known, best.coincident),
            (defect.ls, defect.known, true),
            "{told}: {best:?}"
        );
    }
    // Flags of lumisections: all with a large defect that is not known, and hardly any other.
    let (mut found, mut wanted, mut wrong, mut good) = (0, 0, 0, 0);
    let scores = scores(&place.path().join("pixel"));
    let combined = scores.main().unwrap();
    for (at, row) in scores.rows.iter().enumerate().filter(|(_, row)| row.split == Split::Test) {
        let Some(flagged) = combined.flagged(at) else { continue };
        let within = |defect: &&Defect| {
            row.run == Some(defect.run)
                && row.ls.is_some_and(|ls| (defect.ls.0..=defect.ls.1).contains(&ls))
        };
        match truth.iter().filter(within).any(|defect| defect.large && !defect.known) {
            true => (found, wanted) = (found + usize::from(flagged), wanted + 1),
            false => (wrong, good) = (wrong + usize::from(flagged), good + 1),
        }
    }
    assert!(wanted > 100 && found == wanted, "{found} of {wanted}");
    assert!(good > 300 && wrong * 100 <= good, "{wrong} of {good}");

    // New data through the folder: the same regions, as a table; a layer alone is no coincidence.
    let score = ["score", "pixel", "--out", "scores.csv", "--regions", "regions.csv", "--data"];
    let layers: Vec<String> =
        (1..=4).map(|layer| format!("data/test/PXLayer_{layer}.parquet")).collect();
    succeed(
        place.path(),
        &[&score[..], &layers.iter().map(String::as_str).collect::<Vec<_>>()].concat(),
    );
    let regions = fs::read_to_string(place.path().join("regions.csv")).unwrap();
    let header = "split,file,run,ls,channel,side,x_first,x_last,y_first,y_last,bins,error,coincident,known,track";
    assert_eq!(regions.lines().next().unwrap(), header);
    let alone = truth
        .iter()
        .find(|defect| {
            !defect.large
                && defect.kind == "dead"
                && defect.x.1 - defect.x.0 == 7
                && defect.y.1 - defect.y.0 == 2
        })
        .unwrap();
    let own = format!(
        ",{},{},{},dead,{},{},{},{},24,",
        alone.run,
        alone.ls.0 + 1,
        alone.layer,
        alone.x.0,
        alone.x.1,
        alone.y.0,
        alone.y.1
    );
    let found = regions.lines().find(|line| line.contains(&own)).unwrap_or_else(|| panic!("{own}"));
    assert!(found.contains(",false,false,"), "{found}");
}

#[test]
fn an_autoencoder_on_the_same_maps_is_a_config_away() {
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &[&["synth", "occupancy", "data"], &SMALL[..]].concat());
    let few = ["--set", "train.epochs=2", "--set", "model.hidden=[8]"];
    let said = succeed(
        place.path(),
        &[&["train", &config("pixel-autoencoder.toml"), "--out", "pixel"], &DATA[..], &few]
            .concat(),
    );
    assert!(said.contains("number of bins with a squared error above 0.04"), "{said}");
    let weights = fs::read(place.path().join("pixel/model/PXLayer_1.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&weights[..600]).contains("encoder.0.weight"));
    let (code, _, error) = run(place.path(), &["export", "pixel", "onnx", "--out", "pixel.onnx"]);
    assert!(code == 2 && error.contains("export: [patterns] flags regions of a map"), "{error}");
}

#[test]
fn a_factorisation_goes_on_where_it_stopped_and_its_components_are_read_again() {
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &[&["synth", "occupancy", "data"], &SMALL[..]].concat());
    let train = |out: &str, more: &[&str]| {
        let nmf = config("pixel-nmf.toml");
        run(
            place.path(),
            &[
                &[
                    "train",
                    nmf.as_str(),
                    "--out",
                    out,
                    "--set",
                    "train.batch_size=64",
                    "--set",
                    "train.stop.tolerance=0.0",
                ],
                &DATA[..],
                more,
            ]
            .concat(),
        )
    };
    let (code, _, error) = train("whole", &["--set", "train.epochs=12"]);
    assert_eq!(code, 0, "{error}");
    let (code, _, error) =
        train("paused", &["--set", "train.epochs=12", "--set", "train.time_limit=\"0.001s\""]);
    assert_eq!(code, 75, "{error}");
    let (code, _, error) = run(
        place.path(),
        &[
            "train",
            "paused/experiment.toml",
            "--out",
            "paused",
            "--resume",
            "--set",
            "train.time_limit=\"1h\"",
        ],
    );
    assert_eq!(code, 0, "{error}");
    for file in [
        "model/PXLayer_1.safetensors",
        "model/PXLayer_2.safetensors",
        "scores.parquet",
        "regions.parquet",
    ] {
        let read = |out: &str| fs::read(place.path().join(out).join(file)).unwrap();
        assert!(read("whole") == read("paused"), "{file}");
    }
    // The same components, not trained: the same scores.
    let (code, _, error) =
        train("again", &["--set", "train.epochs=0", "--set", "train.init=\"whole/model\""]);
    assert_eq!(code, 0, "{error}");
    let read = |out: &str| fs::read(place.path().join(out).join("regions.parquet")).unwrap();
    assert!(read("whole") == read("again"));
    let (code, _, error) = run(place.path(), &["export", "whole", "onnx", "--out", "x.onnx"]);
    assert!(code == 2 && error.contains("finds coefficients step by step"), "{error}");
    succeed(place.path(), &["export", "whole", "safetensors", "--out", "x.safetensors"]);
}

#[test]
fn what_does_not_go_with_factorisations_and_patterns_is_told() {
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &[&["synth", "occupancy", "data"], &SMALL[..]].concat());
    for (set, told) in [
        ("model.hidden=[8]", "model.hidden: has no meaning with model.kind = \"nmf\""),
        ("loss.l2=0.1", "loss.l2: has no meaning with model.kind = \"nmf\""),
        (
            "loss.kind=\"mae\"",
            "loss.kind: found \"mae\"; model.kind = \"nmf\" minimises squared errors",
        ),
        (
            "train.ensemble=2",
            "train.ensemble: members that start from singular vectors are identical",
        ),
        (
            "patterns.windows=[{x = 65, y = 1}]",
            "a window of 65 × 1 bins (x × y) is larger than the maps of PXLayer_1, which have 64 × 24",
        ),
        ("patterns.layers=3", "patterns.layers: found 3; expected at least 1 and at most 2"),
        ("patterns.fill=0.0", "patterns.fill: found 0.0; expected"),
        ("patterns.automasks=[\"no.csv\"]", "no.csv"),
    ] {
        let (code, _, error) = run(
            place.path(),
            &[&["train", &config("pixel-nmf.toml"), "--out", "pixel"], &DATA[..], &["--set", set]]
                .concat(),
        );
        assert!(code == 2 && error.contains(told), "{set}: {error}");
    }
    fs::write(place.path().join("dense.toml"), "data.train = [\"a\"]\nmodel.nmf.solver = \"mu\"")
        .unwrap();
    let (code, _, error) = run(place.path(), &["check", "dense.toml"]);
    assert!(
        code == 2 && error.contains("model.nmf.solver: has no meaning with model.kind = \"dense\""),
        "{error}"
    );
    // Negative inputs have no factors: told before anything is trained.
    let (code, _, error) = run(
        place.path(),
        &[
            &["train", &config("pixel-nmf.toml"), "--out", "pixel"],
            &DATA[..],
            &["--set", "scale.kind=\"standard\""],
        ]
        .concat(),
    );
    assert!(code == 2 && error.contains("scale.kind"), "{error}");
}

#[test]
fn jobs_by_layer_are_joined() {
    let place = tempfile::tempdir().unwrap();
    succeed(place.path(), &[&["synth", "occupancy", "data"], &SMALL[..]].concat());
    let text = format!(
        "extends = \"{}\"\n[sweep]\nobjective = \"channels.training.train_loss\"\ngoal = \"min\"\nstrategy = \"grid\"\n\
         [sweep.space]\n\"data.layers\" = {{ choice = [[\"*_PXLayer_1\"], [\"*_PXLayer_2\"]] }}\n[patterns]\nlayers = 1\nautomasks = []\n[train]\nepochs = 3\n\
         [data]\ntrain = [\"data/train/*.parquet\"]\ntest = [\"data/test/*.parquet\"]\noms = [\"data/oms.json\"]\nhlt = [\"data/hlt.json\"]\n",
        config("pixel-nmf.toml")
    );
    fs::write(place.path().join("jobs.toml"), text).unwrap();
    succeed(place.path(), &["sweep", "jobs.toml", "--out", "jobs"]);
    let said = succeed(place.path(), &["sweep", "collect", "jobs", "--join", "all"]);
    assert!(said.contains("all/scores.parquet") && said.contains("all/regions.parquet"), "{said}");
    let Some(python) = crate::common::python("pandas and pyarrow") else { return };
    let check = "import pandas as pd\n\
         all = pd.read_parquet('all/scores.parquet')\n\
         assert list(all)[:3] == ['trial', 'data.layers', 'split'], list(all)\n\
         parts = [pd.read_parquet(f'jobs/trials/{trial}/scores.parquet') for trial in sorted(all.trial.unique())]\n\
         assert len(parts) == 2 and len(all) == sum(map(len, parts))\n\
         joined = pd.concat(parts, ignore_index=True)\n\
         pd.testing.assert_frame_equal(all[list(joined)], joined)\n\
         assert all.groupby('data.layers').channel.nunique().eq(1).all()\n";
    let output =
        Command::new(python).current_dir(place.path()).args(["-c", check]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_factorisation_is_as_good_as_that_of_scikit_learn() {
    let Some(python) = crate::common::python("pandas, pyarrow, safetensors and scikit-learn")
    else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let script = |arguments: &[&str]| {
        let script = crate::common::root().join("scripts/reference/check_nmf.py");
        let output = Command::new(&python)
            .current_dir(place.path())
            .arg(script)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    };
    succeed(
        place.path(),
        &[
            "synth",
            "occupancy",
            "data",
            "--lumisections",
            "800",
            "--test-lumisections",
            "200",
            "--layers",
            "2",
        ],
    );
    script(&["make", "data"]);
    fs::write(
        place.path().join("nmf.toml"),
        "data.train = [\"train.npy\"]\nsplit = {by = \"order\", valid = 0.0}\nscale.kind = \"none\"\nmodel = {kind = \"nmf\", latent = 5}\n\
         train.epochs = 300\nthreshold.on = \"train\"\nreport = {tensorboard = false, projections = []}",
    )
    .unwrap();
    succeed(place.path(), &["train", "nmf.toml", "--out", "whole"]);
    script(&["check", "whole"]);
    let batches = [
        "--set",
        "train.batch_size=128",
        "--set",
        "model.nmf.forget=0.7",
        "--set",
        "train.epochs=30",
        "--set",
        "train.stop.tolerance=0.0",
    ];
    succeed(place.path(), &[&["train", "nmf.toml", "--out", "batches"], &batches[..]].concat());
    script(&["check", "batches", "128"]);
}
