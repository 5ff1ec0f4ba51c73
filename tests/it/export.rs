//! Exported models, run by other programs, say what `lumisift score` says.

use crate::common::{config, metsig, root, run, succeed};
use std::{fs, path::Path, process::Command};

/// Runs a script of ours or a piece of Python, and expects success; returns what it printed.
fn python(python: &str, place: &Path, arguments: &[&str]) -> String {
    let output = Command::new(python).current_dir(place).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Trains a shipped config with some keys set.
fn train(place: &Path, name: &str, out: &str, sets: &[&str]) {
    let config = config(name);
    let mut arguments = vec!["train", &config, "--out", out, "-q"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    succeed(place, &arguments);
}

/// A short training on METSig.
fn train_metsig(place: &Path, out: &str, more: &[&str]) {
    train(
        place,
        "metsig.toml",
        out,
        &[&["data.train=[\"good.csv\"]", "data.test=[\"bad1.csv\"]", "train.epochs=8"], more]
            .concat(),
    );
}

/// Scores files, exports the graph, and holds the one to the other in onnxruntime; `members` of
/// each ensemble.
fn check(
    interpreter: &str,
    place: &Path,
    experiment: &str,
    files: &[&str],
    members: usize,
    more: &[&str],
) -> String {
    let (graph, scores) = (format!("{experiment}.onnx"), format!("{experiment}.scores.parquet"));
    succeed(place, &[&["score", experiment, "--out", &scores, "-q", "--data"], files].concat());
    succeed(place, &["export", experiment, "onnx", "--out", &graph, "-q", "--force"]);
    let script = root().join("scripts/reference/check_onnx.py").display().to_string();
    let mut arguments = vec![script, graph, scores];
    arguments.extend(files.iter().chain(more).map(|argument| (*argument).to_owned()));
    arguments.push("--decoded".into());
    for member in 1..=members {
        let (member, latents, decoded) = (
            member.to_string(),
            format!("{experiment}.latents.{member}.parquet"),
            format!("{experiment}.{member}.parquet"),
        );
        succeed(
            place,
            &[
                &["encode", experiment, "--out", &latents, "-q", "--member", &member, "--data"],
                files,
            ]
            .concat(),
        );
        succeed(
            place,
            &[
                "decode", experiment, "--data", &latents, "--out", &decoded, "-q", "--member",
                &member, "--scaled",
            ],
        );
        arguments.push(decoded);
    }
    python(interpreter, place, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

const MODULES: &str = "onnx, onnxruntime, pandas, h5py and pyarrow";

#[test]
fn a_graph_on_histograms_scores_as_lumisift_does() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = metsig("0.3");
    let place = place.path();
    train_metsig(place, "plain", &[]);
    let said = check(&interpreter, place, "plain", &["good.csv", "bad1.csv"], 1, &[]);
    assert!(!said.contains(" 0 flagged"), "something is flagged, so that flags can differ: {said}");
}

/// Every kind of scaling, activation and score, in turns.
#[test]
fn every_scaling_activation_and_score_has_its_operators() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = metsig("0.2");
    let place = place.path();
    let kinds = [
        ("none", "[\"sqrt\", \"min-max\"]", "gelu", "selu", "mae"),
        ("area", "[\"unit-area\", \"standard\"]", "elu", "linear", "sse"),
        ("log", "[\"log1p\", \"robust\"]", "leaky_relu", "tanh", "mse"),
        ("whole", "[\"none\", \"range\"]", "selu", "sigmoid", "mse"),
    ];
    for (out, scale, activation, output, score) in kinds {
        let sets = [
            format!("scale.kind={scale}"),
            format!("model.activation=\"{activation}\""),
            format!("model.latent_activation=\"{activation}\""),
            format!("model.output_activation=\"{output}\""),
            format!("score.kind=\"{score}\""),
            "train.epochs=3".into(),
        ];
        train_metsig(place, out, &sets.iter().map(String::as_str).collect::<Vec<_>>());
        check(&interpreter, place, out, &["good.csv", "bad1.csv"], 1, &[]);
    }
}

#[test]
fn variational_networks_their_slopes_and_divergences_are_in_the_graph() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = metsig("0.3");
    let place = place.path();
    let sets = [
        "model.variational=true",
        "model.activation=\"prelu\"",
        "loss.kl=1e-3",
        "score.kl=1e-3",
        "train.ensemble=2",
    ];
    train_metsig(place, "variational", &sets);
    check(&interpreter, place, "variational", &["good.csv", "bad1.csv"], 2, &[]);
}

#[test]
fn batch_norm_and_ensembles_are_in_the_graph() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = metsig("0.3");
    let place = place.path();
    train_metsig(
        place,
        "three",
        &[
            "train.ensemble=3",
            "model.batch_norm=true",
            "threshold.kind=\"mean-std\"",
            "threshold.log=true",
        ],
    );
    check(&interpreter, place, "three", &["good.csv", "bad1.csv"], 3, &[]);
}

#[test]
fn events_have_their_graph() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    succeed(place, &["synth", "events", ".", "--events", "6000", "-q"]);
    train(
        place,
        "events.toml",
        "events",
        &["data.train=[\"events.h5\"]", "train.epochs=4", "report.projections=[]"],
    );
    check(&interpreter, place, "events", &["events.h5"], 1, &[]);
    let (code, _, error) = run(place, &["export", "events", "dism", "--out", "package"]);
    assert!(
        code == 2 && error.contains("its inputs are features") && !place.join("package").exists(),
        "{error}"
    );
}

/// A table of runs and a config with ensembles in channels that share a feature.
const CHANNELS: &str = r#"
import numpy as np, pandas
chance = np.random.default_rng(2)
hidden = chance.normal(size=(900, 3))
names = [f"{lepton}_{quantity}" for lepton in ("e", "mu") for quantity in ("pt", "eta", "phi", "mass")] + ["MET"]
values = np.tanh(hidden @ chance.normal(size=(3, 9))) + 0.1 * chance.normal(size=(900, 9))
table = pandas.DataFrame(values.astype(np.float32), columns=names)
table.insert(0, "run", 100 + np.arange(900) // 100)
table.insert(1, "ls", 1 + np.arange(900) % 100)
table.to_parquet("table.parquet")
open("channels.toml", "w").write("""
data.train = ["table.parquet"]
scale.kind = "min-max"
model = { hidden = [6], latent = 2, activation = "tanh" }
train = { epochs = 5, ensemble = 2 }
score.combine = "sum"
report = { projections = [], on = "all" }
[channels]
levels = ["lepton", "quantity"]
spread = ["shared"]
rules = [{ pattern = '(?<lepton>e|mu)_(?<quantity>[a-z]+)' }, { pattern = '(?<quantity>MET)', insert = { lepton = "shared" } }]
""")
"#;

#[test]
fn ensembles_in_channels_agree_on_error_and_spread() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    python(&interpreter, place, &["-c", CHANNELS]);
    succeed(place, &["train", "channels.toml", "--out", "channels", "-q"]);
    check(&interpreter, place, "channels", &["table.parquet"], 2, &[]);
}

#[test]
fn channels_say_something_together_and_each_alone() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    succeed(place, &["synth", "cms2010b", ".", "--rows", "2000", "-q"]);
    let sets = [
        "data.train=[\"features.parquet\"]",
        "labels.good=\"labels.npy\"",
        "labels.subsystems.folder=\"Quality2010\"",
        "train.epochs=3",
    ];
    for (out, combine) in [("standardised", "standardised"), ("mean", "mean")] {
        let combine = format!("score.combine=\"{combine}\"");
        train(place, "cms2010b.toml", out, &[&sets[..], &[&combine]].concat());
        check(&interpreter, place, out, &["features.parquet"], 1, &[]);
    }
    succeed(
        place,
        &["export", "mean", "onnx", "--out", "muons.onnx", "--channel", "muons/muons", "-q"],
    );
    let script = root().join("scripts/reference/check_onnx.py").display().to_string();
    python(
        &interpreter,
        place,
        &[
            &script,
            "muons.onnx",
            "mean.scores.parquet",
            "features.parquet",
            "--channel",
            "muons/muons",
        ],
    );
    let (code, _, error) =
        run(place, &["export", "mean", "onnx", "--out", "muon.onnx", "--channel", "muons/muon"]);
    assert!(
        code == 2 && error.contains("there is no such channel (did you mean \"muons/muons\"?)"),
        "{error}"
    );
}

/// Two trained tables, of histograms with bins that were always 0 or 7 and of features, each with
/// rows that change there or overflow.
const ODD: &str = r#"
import numpy as np, pandas
chance = np.random.default_rng(4)
def histograms(run, odd):
    values = chance.poisson(200, (400, 8)).astype(float)
    values[:, 3], values[:, 6] = 0, 7
    if odd:
        values[10, 3], values[11, 3], values[12, 6], values[13] = 1e5, 1, 90, 0
    return pandas.DataFrame(dict(run_number=run, ls_number=np.arange(1, 401), data=list(values)))
def features(run, odd):
    values = chance.normal(size=(400, 5)).astype(np.float32)
    values[:, 2] = 3
    if odd:
        values[10, 2], values[11], values[12, 0], values[13, 4] = 4, 3e38, -2e38, 1e19
    table = pandas.DataFrame(values, columns=list("abcde"))
    table.insert(0, "run_number", run)
    table.insert(1, "ls_number", np.arange(1, 401))
    return table
for name, make in (("histograms", histograms), ("features", features)):
    make(1, False).to_parquet(f"{name}.parquet")
    make(2, True).to_parquet(f"{name}.odd.parquet")
"#;

/// What a graph says of rows with one or all inputs that are not finite, and of an ordinary one.
const NOT_FINITE: &str = r#"
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
width, extra = session.get_inputs()[0].shape[1], {port.name: np.full((1, port.shape[1]), 2, np.float32) for port in session.get_inputs()[1:]}
def evaluated(row, **more):
    return bool(session.run(["evaluated"], {"input_0": row[None].astype(np.float32), **extra, **more})[0][0])
usual = np.full(width, 3.0)
assert evaluated(usual)
for value in (3e38, np.inf, -np.inf, np.nan):
    one = usual.copy()
    one[width // 2] = value
    assert not evaluated(one) and not evaluated(np.full(width, value)), value
    for name in extra if not np.isfinite(value) else ():
        assert not evaluated(usual, **{name: np.full((1, 1), value, np.float32)}), (name, value)
if "input_1" in extra:
    assert not evaluated(usual, input_1=np.zeros((1, 1), np.float32)), "divided by 0"
"#;

#[test]
fn bins_that_never_changed_and_rows_that_overflow_are_the_same_in_the_graph() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    python(&interpreter, place, &["-c", ODD]);
    let config = "split = { by = \"order\", valid = 0.25 }\nmodel = { hidden = [8], latent = 2 }\ntrain = { epochs = 10, batch_size = 32 }\n\
                  report = { tensorboard = false, projections = [] }\n";
    fs::write(place.join("config.toml"), config).unwrap();
    let trained = |name: &str, data: &str, more: &[&str]| {
        let data = format!("data.train=[\"{data}.parquet\"]");
        let mut arguments = vec!["train", "config.toml", "--out", name, "-q", "--set", &data];
        more.iter().for_each(|set| arguments.extend(["--set", set]));
        succeed(place, &arguments);
    };
    let kinds = [
        "\"range\"",
        "\"min-max\"",
        "\"robust\"",
        "[\"unit-area\", \"bin-mean\"]",
        "[\"sqrt\", \"standard\"]",
        "[\"log1p\", \"range\"]",
        "\"none\"",
    ];
    for (at, kind) in kinds.into_iter().enumerate() {
        for data in ["histograms", "features"] {
            let (name, kind) = (format!("{data}.{at}"), format!("scale.kind={kind}"));
            let clip = if at % 2 == 0 { &["scale.clip=50.0"][..] } else { &[] };
            trained(&name, data, &[&[kind.as_str()], clip].concat());
            check(&interpreter, place, &name, &[&format!("{data}.odd.parquet")], 1, &[]);
            python(&interpreter, place, &["-c", NOT_FINITE, &format!("{name}.onnx")]);
        }
    }
    trained("divided", "histograms", &["scale.divide_by=\"ls + 1\""]);
    succeed(place, &["export", "divided", "onnx", "--out", "divided.onnx", "-q"]);
    python(&interpreter, place, &["-c", NOT_FINITE, "divided.onnx"]);
    trained("blind", "histograms", &["scale.constant=\"zero\""]);
    succeed(place, &["export", "blind", "onnx", "--out", "blind.onnx", "-q"]);
    let names = "import onnxruntime; print(onnxruntime.InferenceSession('blind.onnx').get_modelmeta().custom_metadata_map['blind_inputs'])";
    assert_eq!(python(&interpreter, place, &["-c", names]).trim(), "[\"bin_3\",\"bin_6\"]");
}

/// Maps as DIALS hands them out: lists of rows of bins.
const MAPS: &str = r#"
import numpy as np, pandas
chance = np.random.default_rng(1)
y, x = np.mgrid[0:6, 0:9]
rows = []
for run in range(360001, 360009):
    for ls in range(1, 61):
        mean = (50 + 5 * x + 3 * y) * chance.uniform(0.8, 1.2)
        if run == 360008 and 20 <= ls < 26:
            mean[2:5, 3:7] = 0
        data = chance.poisson(mean) * (ls > 2)
        rows.append(dict(dataset="/ZeroBias/Run2023C/DQMIO", run_number=run, ls_number=ls, me="Pixel/occupancy", me_id=7, file_id=run, dataset_id=5,
            x_min=0.0, x_max=9.0, x_bin=9, y_min=0.0, y_max=6.0, y_bin=6, entries=int(data.sum()), data=data.astype(float).tolist()))
pandas.DataFrame(rows).to_parquet("maps.parquet")
"#;

/// The rows that the packaged script writes are those that Lumisift flags, and the template is one
/// that DISM takes.
const PACKAGE: &str = r#"
import json, pandas, onnx
from dism_core import InferenceServiceValidator, Template
bad, scores = pandas.read_csv("bad.csv"), pandas.read_parquet("maps.scores.parquet")
flagged = scores[scores["flagged"] == True]
assert len(flagged) > 3 and list(zip(bad["run_number"], bad["ls_number"])) == list(zip(flagged["run"], flagged["ls"])), (bad, flagged)
assert list(bad.columns) == ["model_id", "dataset_id", "file_id", "run_number", "ls_number", "me_id", "mse"]
assert (abs(bad["mse"].to_numpy() / flagged["score"].to_numpy() - 1) < 1e-5).all() and set(bad["me_id"]) == {7} and set(bad["model_id"]) == {17}
empty = pandas.read_csv("empty.csv")
assert set(empty["ls_number"]) == {1, 2} and len(empty) == 16
graph = onnx.load("package/model.onnx").graph
shapes = {port.name: [-1] + [axis.dim_value for axis in port.type.tensor_type.shape.dim][1:] for port in [*graph.input, *graph.output]}
(resource,) = Template.from_yaml_file("package/template.yaml").Resources.values()
properties = resource.Properties
assert {of.Name: of.Dims for of in [*properties.InputSignature, *properties.OutputSignature]} == shapes, shapes
assert shapes["input_0"] == [-1, 6, 9] and properties.InputSignature[0].MonitoringElement == "Pixel/occupancy" and resource.Workspace == "tracker"
kinds = {of.Name: of.DataType.value for of in [*properties.InputSignature, *properties.OutputSignature]}
assert kinds == {"input_0": "FP32", "reconstruction": "FP32", "error": "FP32", "flag": "BOOL", "evaluated": "BOOL"}, kinds
import os; os.chdir("package")
InferenceServiceValidator(Template.from_yaml_file("template.yaml"))()
assert len(json.load(open("model.json"))["fingerprint"]) == 64
"#;

#[test]
fn a_package_for_dials_flags_the_same_maps() {
    let Some(interpreter) =
        crate::common::python("onnx, onnxruntime, pandas, pyarrow and dism-core")
    else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    python(&interpreter, place, &["-c", MAPS]);
    fs::write(
        place.join("maps.toml"),
        "name = \"Maps, tried\"\ndata.train = [\"maps.parquet\"]\nsplit.by = \"run\"\nscale.kind = [\"unit-area\", \"standard\"]\n\
         model.hidden = [24]\nmodel.latent = 3\ntrain.epochs = 20\n[report]\non = \"all\"\n",
    )
    .unwrap();
    succeed(place, &["train", "maps.toml", "--out", "maps", "-q"]);
    check(&interpreter, place, "maps", &["maps.parquet"], 1, &[]);
    succeed(place, &["export", "maps", "dism", "--out", "package", "--workspace", "tracker", "-q"]);
    let script = "package/infer.py";
    python(
        &interpreter,
        place,
        &[
            script,
            "--data",
            "maps.parquet",
            "--out",
            "bad.csv",
            "--not-evaluated",
            "empty.csv",
            "--model-id",
            "17",
        ],
    );
    python(&interpreter, place, &["-c", PACKAGE]);
}

#[test]
fn what_a_graph_cannot_do_is_refused_with_the_reason() {
    let place = metsig("0.2");
    let place = place.path();
    let refused = |arguments: &[&str], wanted: &str| {
        let (code, _, error) = run(place, &[&["export"], arguments].concat());
        assert!(code == 2 && error.contains(wanted), "{error}");
    };
    train_metsig(place, "each", &["scale.fit_on=\"each-file\"", "train.epochs=1"]);
    refused(
        &["each", "onnx", "--out", "x.onnx"],
        "scale.fit_on = \"each-file\" scales a file by its own rows",
    );
    train_metsig(place, "scored", &["threshold.on=\"scored\"", "train.epochs=1"]);
    refused(&["scored", "onnx", "--out", "x.onnx"], "`lumisift calibrate` sets one on good data");
    refused(
        &["scored", "onnx", "--out", "x.onnx", "--me", "METSig"],
        "only `lumisift export … dism` has this option",
    );
    assert!(!place.join("x.onnx").exists());
    succeed(place, &["calibrate", "scored", "--data", "good.csv", "-q"]);
    refused(
        &["scored", "dism", "--out", "package"],
        "the data do not say which monitoring element they hold",
    );
    succeed(
        place,
        &[
            "export",
            "scored",
            "dism",
            "--out",
            "package",
            "--me",
            "JetMET/MET/pfMETT1/Cleaned/METSig",
            "-q",
        ],
    );
    refused(
        &["scored", "dism", "--out", "package", "--me", "JetMET/MET/pfMETT1/Cleaned/METSig"],
        "exists; choose another folder",
    );
    let files = ["README.md", "infer.py", "model.json", "model.onnx", "template.yaml"];
    let mut written: Vec<String> = fs::read_dir(place.join("package"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    assert_eq!(written, files);
}

/// A model of PyTorch's, saved by hand as its `state_dict` names things.
const TORCH: &str = r#"
import numpy as np
from safetensors.numpy import save_file
chance = np.random.default_rng(3)
widths = [53, 16, 4, 16, 53]
names = ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]
model = {}
for name, into, out in zip(names, widths, widths[1:]):
    model[f"{name}.weight"] = chance.normal(0, into**-0.5, (out, into)).astype(np.float32)
    model[f"{name}.bias"] = chance.normal(0, 0.1, out).astype(np.float32)
save_file(model, "torch.safetensors")
"#;

#[test]
fn a_model_trained_elsewhere_comes_in_by_its_weights_and_goes_out_as_a_graph() {
    let Some(interpreter) =
        crate::common::python("onnx, onnxruntime, safetensors, pandas and pyarrow")
    else {
        return;
    };
    let place = metsig("0.2");
    let place = place.path();
    python(&interpreter, place, &["-c", TORCH]);
    let shape = [
        "model.hidden=[16]",
        "model.latent=4",
        "train.init=\"torch.safetensors\"",
        "train.epochs=0",
    ];
    train_metsig(place, "foreign", &shape);
    check(&interpreter, place, "foreign", &["good.csv", "bad1.csv"], 1, &[]);
    let weights = "import sys; from safetensors.numpy import load_file; a, b = (load_file(path) for path in sys.argv[1:]); \
                   assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)";
    python(
        &interpreter,
        place,
        &["-c", weights, "torch.safetensors", "foreign/model/all.safetensors"],
    );
}

/// Tables with missing cells, blank or -999: of features, of which some rows lack a whole channel,
/// and of histograms.
const HOLES: &str = r#"
import numpy as np, pandas
mixing = np.random.default_rng(1).normal(size=(2, 8))
chance = np.random.default_rng(7)
def punch(values):
    values[chance.random(values.shape) < 0.1] = np.nan
    values[chance.random(values.shape) < 0.05] = -999
    values[20], values[21, 1:] = np.nan, np.nan
    return values
def features(run):
    values = punch(5 + chance.normal(size=(500, 2)) @ mixing + 0.1 * chance.normal(size=(500, 8)))
    values[30:60, :4] = np.nan
    table = pandas.DataFrame(values.astype(np.float32), columns=[f"{side}_{name}" for side in ("low", "high") for name in "abcd"])
    table.insert(0, "run_number", run)
    table.insert(1, "ls_number", np.arange(1, 501))
    return table
def histograms(run):
    values = punch(chance.poisson(200 * np.arange(1, 9), (500, 8)).astype(float))
    return pandas.DataFrame(dict(run_number=run, ls_number=np.arange(1, 501), data=list(values)))
for name, make in (("features", features), ("histograms", histograms)):
    make(1).to_parquet(f"{name}.parquet")
    make(2).to_parquet(f"{name}.new.parquet")
"#;

#[test]
fn missing_inputs_are_filled_and_left_out_in_the_graph_too() {
    let Some(interpreter) = crate::common::python(MODULES) else { return };
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    python(&interpreter, place, &["-c", HOLES]);
    let config = "data.missing = [-999]\nsplit = { by = \"order\", valid = 0.25 }\nmodel = { hidden = [8], latent = 2 }\ntrain = { epochs = 5, batch_size = 32 }\n\
                  report = { tensorboard = false, projections = [] }\n";
    let channels = "[channels]\nlevels = [\"side\", \"feature\"]\ndepth = 1\n[[channels.rules]]\npattern = '(?<side>[a-z]+)_(?<feature>[a-d])'\n";
    let mut at = 0;
    let mut same = |data: &str, members: usize, channels: &str, sets: &[&str]| {
        at += 1;
        fs::write(place.join("config.toml"), format!("{config}{channels}")).unwrap();
        let (name, train) = (format!("model{at}"), format!("data.train=[\"{data}.parquet\"]"));
        let mut arguments = vec!["train", "config.toml", "--out", &name, "-q", "--set", &train];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        succeed(place, &arguments);
        check(&interpreter, place, &name, &[&format!("{data}.new.parquet")], members, &[]);
    };
    for (fill, scale, score) in [
        ("mask", "\"standard\"", "sse"),
        ("mask", "\"min-max\"", "mae"),
        ("median", "\"robust\"", "mse"),
        ("zero", "\"range\"", "mse"),
    ] {
        same(
            "features",
            1,
            "",
            &[
                &format!("data.fill=\"{fill}\""),
                &format!("scale.kind={scale}"),
                &format!("score.kind=\"{score}\""),
            ],
        );
    }
    for (fill, scale) in [
        ("mask", "[\"mean-one\", \"bin-mean\"]"),
        ("mask", "[\"sqrt\", \"unit-area\", \"standard\"]"),
        ("median", "[\"unit-area\", \"min-max\"]"),
        ("zero", "[\"log1p\", \"mean-one\"]"),
    ] {
        same(
            "histograms",
            1,
            "",
            &[&format!("data.fill=\"{fill}\""), &format!("scale.kind={scale}"), "scale.clip=50.0"],
        );
    }
    for combine in ["standardised", "max", "mean", "sum"] {
        same(
            "features",
            2,
            channels,
            &[
                "data.fill=\"mask\"",
                "data.min_present=0.3",
                "train.ensemble=2",
                &format!("score.combine=\"{combine}\""),
            ],
        );
    }
    let asked = "import onnxruntime, numpy as np\nsession = onnxruntime.InferenceSession('model9.onnx')\n\
                 row = np.full((1, 8), 5, np.float32); row[0, :4] = -999\n\
                 names = [output.name for output in session.get_outputs()]; said = dict(zip(names, session.run(None, {'input_0': row})))\n\
                 assert said['evaluated'][0] and said['evaluated_high'][0] and not said['evaluated_low'][0] and np.isfinite(said['error'][0]), said\n\
                 for value in (np.inf, -np.inf):\n  row[0, 6] = value\n  assert not session.run(['evaluated'], {'input_0': row})[0][0]";
    python(&interpreter, place, &["-c", asked]);
}
