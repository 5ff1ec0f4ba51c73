//! Maps of several layers: real ones of HCAL and of the pixel detector, made ones, and what users
//! get wrong about them.

use crate::common::{judged, run, scores, shared, succeed};
use std::{fmt::Write as _, ops::RangeInclusive, path::Path};

/// A small model that is trained in no time.
const MODEL: &str = "model = {hidden = [8], latent = 2}\ntrain = {epochs = 2, batch_size = 4}\nthreshold = {on = \"train\", kind = \"mean-std\"}\n";

/// Writes a config of a small model.
fn config(folder: &Path, name: &str, text: &str) -> String {
    std::fs::write(folder.join(name), format!("{MODEL}{text}")).unwrap();
    name.to_owned()
}

/// What the program says of a config that it refuses.
fn refused(folder: &Path, text: &str) -> String {
    let (code, _, err) = run(folder, &["check", &config(folder, "refused.toml", text)]);
    assert_eq!(code, 2, "{err}");
    err
}

/// Maps of 6 columns of some LSs of a run, in the file of one layer. `bins` says what a bin holds
/// by layer, LS, x and y.
fn layer(
    path: &Path,
    layer: u32,
    rows: u32,
    run: u32,
    ls: RangeInclusive<u32>,
    bins: impl Fn(u32, u32, u32, u32) -> f64,
) {
    let mut text = String::from("fromrun,fromlumi,hname,histo\n");
    for ls in ls {
        let row = |y: u32| {
            format!(
                "[{}]",
                (0..6).map(|x| bins(layer, ls, x, y).to_string()).collect::<Vec<_>>().join(",")
            )
        };
        let _ = writeln!(
            text,
            "{run},{ls},D/occupancy_L_{layer},\"[{}]\"",
            (0..rows).map(row).collect::<Vec<_>>().join(",")
        );
    }
    std::fs::write(path, text).unwrap();
}

/// Maps of 6 × 4 bins of two layers, `L_1` and `L_2`, each in its own file.
fn maps(
    folder: &Path,
    run: u32,
    ls: RangeInclusive<u32>,
    bins: impl Fn(u32, u32, u32, u32) -> f64 + Copy,
) {
    (1..=2).for_each(|number| {
        layer(&folder.join(format!("{run}_{number}.csv")), number, 4, run, ls.clone(), bins)
    });
}

/// Something smooth that differs from bin to bin.
fn smooth(layer: u32, ls: u32, x: u32, y: u32) -> f64 {
    f64::from(10 + 3 * layer + (ls * 7 + x * 5 + y * 3) % 11)
}

#[test]
fn seven_depths_of_hcal_are_seven_channels() {
    let Some(file) = shared("data/hcal_occupancy_2017/HCAL_digi+rechit_occ.hdf5") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = format!(
        "data = {{train = [\"{}\"], layers = [\"DigiTask_Occupancy_depth_depth?\"], cut_cross = [4, 0], rebin = [4, 6]}}\nsplit = {{by = \"order\", valid = 0.2}}\n",
        file.display()
    );
    let own = config(
        folder,
        "own.toml",
        &format!("{data}scale = {{kind = [\"mean-one\", \"bin-mean\"], clip = 5.0}}\n"),
    );
    let checked = succeed(folder, &["check", &own]);
    assert!(checked.contains("1680 bins of 7 layers"), "{checked}");
    assert!(
        checked.contains("layer      depth7: 20 × 12 bins of DigiTask_Occupancy_depth_depth7"),
        "{checked}"
    );
    succeed(folder, &["train", &own, "--out", "own", "-q"]);
    let names: Vec<String> =
        scores(&folder.join("own")).channels.into_iter().map(|channel| channel.name).collect();
    assert_eq!(
        names,
        ["depth1", "depth2", "depth3", "depth4", "depth5", "depth6", "depth7", "combined"]
    );
    let channels: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("own/channels.json")).unwrap())
            .unwrap();
    assert_eq!(channels[3]["shape"], serde_json::json!({"y": 12, "x": 20}));
    assert_eq!(
        (&channels[3]["element"], &channels[3]["features"][0]),
        (&"DigiTask_Occupancy_depth_depth4".into(), &"depth4/bin_0".into())
    );

    // Scored again, and with its own means as a reference, it says the same.
    let data_file = file.display().to_string();
    succeed(folder, &["score", "own", "--data", &data_file, "--out", "again.parquet", "-q"]);
    let again = lumisift::score::scores::Scores::read(&folder.join("again.parquet")).unwrap();
    assert_eq!(again.main().unwrap().scores, scores(&folder.join("own")).main().unwrap().scores);
    let reference = "scale = {kind = [\"mean-one\", \"reference\"], reference = \"own/normalisation.parquet\", clip = 5.0}\n";
    succeed(
        folder,
        &[
            "train",
            &config(folder, "other.toml", &format!("{data}{reference}")),
            "--out",
            "other",
            "-q",
        ],
    );
    assert_eq!(judged(&folder.join("other")), judged(&folder.join("own")));

    // Other layers are not those of the reference, and a service of DIALS reads one.
    let rechits = format!("{data}{reference}").replace("DigiTask", "RecHitTask");
    let err = refused(folder, &rechits);
    assert!(
        err.contains("scale.reference:")
            && err
                .contains("has no layer depth1 (RecHitTask_Occupancy_depth_depth1) (did you mean"),
        "{err}"
    );
    let err = refused(folder, &format!("{data}{reference}").replace("[4, 6]", "[4, 4]"));
    assert!(err.contains("depth1 has 20 × 12 bins there, but 20 × 18 here"), "{err}");
    let (code, _, err) = run(folder, &["export", "own", "dism", "--out", "service"]);
    assert!(code == 2 && err.contains("data.rebin adds up or data.cut_cross leaves out"), "{err}");
    succeed(folder, &["export", "own", "onnx", "--out", "all.onnx"]);
    succeed(folder, &["export", "own", "onnx", "--channel", "depth2", "--out", "one.onnx"]);
}

#[test]
fn the_middle_of_maps_must_be_one() {
    let Some(file) = shared("data/hcal_occupancy_2017/HCAL_digi+rechit_occ.hdf5") else { return };
    let folder = tempfile::tempdir().unwrap();
    let with = |cut: &str| {
        refused(
            folder.path(),
            &format!(
                "data = {{train = [\"{}\"], layers = [\"DigiTask*1\"], cut_cross = {cut}}}",
                file.display()
            ),
        )
    };
    assert!(
        with("[3, 0]").contains("data.cut_cross: ")
            && with("[3, 0]").contains("maps of 84 columns; cutting 3 out of the middle"),
        "{}",
        with("[3, 0]")
    );
    assert!(with("[0, 72]").contains("maps of 72 rows; [0, 72] would leave none"));
    assert!(with("[3]").contains("data.cut_cross"));
}

#[test]
fn maps_of_two_shapes_are_joined_and_lumisections_that_oms_lacks_are_not_evaluated() {
    let Some(maps) = shared("data/dqmio_parquet_2023c") else { return };
    let Some(oms) = shared("data/oms_pixelae_2024/pixel") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = |layers: &str, more: &str| {
        format!(
            "split = {{by = \"order\", valid = 0.2}}\nscale = {{kind = [\"unit-area\", \"sqrt\"]}}\n[data]\ntrain = [\"{}/*.parquet\"]\nlayers = [{layers}]\nrebin = 10\n{more}",
            maps.display()
        )
    };
    let both = config(folder, "both.toml", &data("\"*clusterposition_*\"", ""));
    let checked = succeed(folder, &["check", &both, "--format", "json"]);
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    let shapes: Vec<&serde_json::Value> =
        checked["channels"].as_array().unwrap().iter().map(|channel| &channel["shape"]).collect();
    assert_eq!(
        shapes,
        [&serde_json::json!({"y": 20, "x": 30}), &serde_json::json!({"y": 20, "x": 20})]
    );
    assert_eq!(checked["channels"][1]["name"], "PXForward_clusterposition_xy_ontrack_PXDisk_+1");
    succeed(folder, &["train", &both, "--out", "both", "-q"]);
    assert_eq!(judged(&folder.join("both")).iter().filter(|(_, score)| score.is_some()).count(), 5);

    let err = refused(folder, &data("\"*charge*\", \"*zphi*\"", ""));
    assert!(
        err.contains("no lumisection is in all layers: charge_PXLayer_1 has 45 (run 367094 LS 1"),
        "{err}"
    );
    let err = refused(folder, &data("\"*PXLayers_*\"", ""));
    assert!(
        err.contains("no monitoring element \"*PXLayers_*\"")
            && err.contains("PixelPhase1_Tracks_PXBarrel_charge_PXLayer_1"),
        "{err}"
    );
    let unknown = format!(
        "oms = [\"{}/omsdata_Run2024B-v1.json\"]\n[select]\nwhere = [\"pileup > 5\"]\n",
        oms.display()
    );
    let err = refused(folder, &data("\"*clusterposition_*\"", &unknown));
    assert!(err.contains("no rows left of 5: 5 unknown in OMS"), "{err}");
}

#[test]
fn conditions_of_oms_and_of_layers_select_lumisections() {
    let Some(oms) = shared("data/oms_pixelae_2024/pixel") else { return };
    let known: serde_json::Value =
        serde_json::from_slice(&std::fs::read(oms.join("omsdata_Run2024B-v1.json")).unwrap())
            .unwrap();
    let column = |name: &str| known[name].as_array().unwrap().clone();
    let (runs, numbers, pileup) =
        (column("run_number"), column("lumisection_number"), column("pileup"));
    // The LSs of a run with much pileup, and two that OMS does not know.
    let at = pileup.iter().position(|pileup| pileup.as_f64().unwrap() > 40.0).unwrap();
    let own: Vec<usize> = (0..runs.len()).filter(|&i| runs[i] == runs[at]).collect();
    let last = own.iter().map(|&i| numbers[i].as_u64().unwrap()).max().unwrap() as u32;
    let number = runs[at].as_u64().unwrap() as u32;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    maps(folder, number, 1..=last + 2, |layer, ls, x, y| match (layer, ls) {
        (2, 10) | (_, 11) => 0.0,
        (1, 12) => 0.1,
        _ => smooth(layer, ls, x, y),
    });
    let data = format!(
        "data = {{train = [\"*_?.csv\"], layers = [\"D/occupancy_L_*\"], oms = [\"{}/omsdata_Run2024B-v1.json\"]}}\n",
        oms.display()
    );
    let text = format!(
        "{data}split = {{by = \"order\", valid = 0.2}}\nselect = {{where = [\"pileup > 25\", \"entries_min > 100 or entries_L_1 == 0 or entries_L_2 == 0\"]}}\n"
    );
    let checked: serde_json::Value = serde_json::from_str(&succeed(
        folder,
        &["check", &config(folder, "own.toml", &text), "--format", "json"],
    ))
    .unwrap();
    let reasons: Vec<(String, u64)> =
        serde_json::from_value(checked["not_evaluated"].clone()).unwrap();
    let count = |reason: &str| {
        reasons.iter().find(|(name, _)| name == reason).map_or(0, |(_, count)| *count)
    };
    let low = own.iter().filter(|&&i| pileup[i].as_f64().unwrap() <= 25.0).count() as u64;
    let unknown = u64::from(last) + 2 - own.len() as u64;
    assert_eq!(
        (count("unknown in OMS"), count("fails pileup > 25")),
        (unknown, low),
        "{reasons:?}"
    );
    let high =
        |ls: u64| own.iter().any(|&i| numbers[i] == ls && pileup[i].as_f64().unwrap() > 25.0);
    for (ls, reason) in [
        (10, "empty L_2"),
        (11, "empty (interior)"),
        (12, "fails entries_min > 100 or entries_L_1 == 0 or entries_L_2 == 0"),
    ] {
        assert_eq!(count(reason), u64::from(high(ls)), "{reason}: {reasons:?}");
    }
    let err = refused(folder, &format!("{data}select = {{where = [\"entries_L_3 > 1\"]}}\n"));
    assert!(
        err.contains(
            "select.where[0]: no quantity \"entries_L_3\" (did you mean \"entries_L_1\"?)"
        ) && err.contains("entries_min"),
        "{err}"
    );
}

#[test]
fn parts_are_scored_one_by_one_as_all_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    (1..=7).for_each(|run| maps(folder, run, 1..=run + 3, smooth));
    let data = "data = {train = [\"*_?.csv\"], layers = [\"D/occupancy_L_*\"]}\nscale = {kind = \"mean-one\"}\nsplit = {by = \"run\", valid = 0.2}\n";
    succeed(folder, &["train", &config(folder, "all.toml", data), "--out", "all", "-q"]);
    let all = judged(&folder.join("all"));
    let files: Vec<String> =
        (1..=7).flat_map(|run| [1, 2].map(|layer| format!("{run}_{layer}.csv"))).collect();
    let mut parts = vec![];
    for part in 1..=3 {
        let (out, part) = (format!("part{part}.parquet"), format!("{part} of 3"));
        let mut arguments = vec!["score", "all", "--out", &out, "--part", &part, "--data"];
        arguments.extend(files.iter().map(String::as_str));
        let told = succeed(folder, &arguments);
        assert!(told.contains(&format!("part {part}: ")), "{told}");
        let scores = lumisift::score::scores::Scores::read(&folder.join(&out)).unwrap();
        let main = scores.main().unwrap().scores.clone();
        parts.extend(scores.rows.into_iter().map(|row| (row.run, row.ls)).zip(main));
    }
    let expected: Vec<_> = all.into_iter().map(|(row, score)| ((row.run, row.ls), score)).collect();
    assert_eq!(parts, expected);
    let trained = config(folder, "part.toml", &data.replace("L_*\"]", "L_*\"], part = \"2 of 3\""));
    let checked = succeed(folder, &["check", &trained]);
    assert!(checked.contains("part 2 of 3: 2 of 7 runs"), "{checked}");
    let (code, _, err) = run(
        folder,
        &["score", "all", "--data", "1_1.csv", "--out", "x.parquet", "--part", "4 of 3"],
    );
    assert!(
        code == 2 && err.contains("--part: found \"4 of 3\"; expected a part such as \"2 of 8\""),
        "{err}"
    );
    let err = refused(folder, &data.replace("L_*\"]", "L_*\"], part = \"1 of 50\""));
    assert!(err.contains("part 1 of 50: no run falls into it; there are 7"), "{err}");
}

#[test]
fn a_model_of_layers_takes_the_same_layers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    maps(folder, 5, 1..=12, smooth);
    let data = "data = {train = [\"5_?.csv\"], layers = [\"D/occupancy_L_*\"]}\nscale = {kind = [\"unit-area\", \"sqrt\"]}\nsplit = {by = \"order\", valid = 0.2}\n";
    succeed(folder, &["train", &config(folder, "own.toml", data), "--out", "own", "-q"]);
    let score = |files: &[&str]| {
        run(folder, &[&["score", "own", "--out", "x.parquet", "--data"], files].concat())
    };
    let (code, _, err) = score(&["5_1.csv"]);
    assert!(
        code == 2 && err.contains("no monitoring element \"D/occupancy_L_2\", the layer L_2 of the model (did you mean \"D/occupancy_L_1\"?)"),
        "{err}"
    );
    layer(&folder.join("narrow.csv"), 2, 3, 5, 1..=12, smooth);
    let (code, _, err) = score(&["5_1.csv", "narrow.csv"]);
    assert!(
        code == 2
            && err.contains("narrow.csv: L_2 has 6 × 3 bins, but the model was trained on 6 × 4"),
        "{err}"
    );
    // A third layer does not disturb it, nor does the order of the files.
    maps(folder, 6, 1..=3, smooth);
    layer(&folder.join("third.csv"), 3, 4, 5, 1..=12, smooth);
    let (code, out, err) = score(&["third.csv", "6_2.csv", "6_1.csv"]);
    assert!(code == 0, "{out}{err}");
    let inspected = succeed(folder, &["inspect", "third.csv"]);
    assert!(inspected.contains("D/occupancy_L_3: 12 rows, 6 × 4 bins"), "{inspected}");
}

#[test]
fn what_goes_not_with_layers_is_told() {
    let folder = tempfile::tempdir().unwrap();
    maps(folder.path(), 5, 1..=4, smooth);
    let err = refused(
        folder.path(),
        "[data]\ntrain = [\"5_?.csv\"]\nlayers = [\"D/*\"]\nme = \"D/occupancy_L_1\"\nsummary = true\nkeep_duplicates = true\npart = \"all\"\n[scale]\nkind = [\"standard\", \"bin-mean\", \"reference\"]\nclip = 0.0\n",
    );
    for part in [
        "data.me: data.layers chooses",
        "data.summary: the seven numbers are of a single",
        "data.keep_duplicates: layers",
        "data.part: found \"all\"; expected a part such as \"2 of 8\"",
        "scale.kind: \"bin-mean\" and \"reference\" each divide",
        "scale.reference: missing",
        "scale.clip: found 0; expected a number above 0",
    ] {
        assert!(err.contains(part), "{part} in\n{err}");
    }
}
