"""Runs an exported graph in onnxruntime and holds it to what `lumisift score` wrote.

Usage: check_onnx.py MODEL.onnx SCORES.parquet FILE… [--channel NAME] [--decoded FILE.parquet…]

FILEs are the data that were scored: `LS;[bins]` CSVs, Parquet with DIALS' columns or a column a feature, or HDF5 with a dataset a
feature. --decoded are the tables that `lumisift decode --scaled` wrote, one a member, for the reconstruction.
The graph must pass ONNX's full check, and give one row, all rows and 100,000 rows (or 20 million numbers) the same answers: errors and reconstructions to
1e-5, flags exactly but for scores that equal their threshold to 1e-5. Rows that lumisift did not evaluate because they are empty, not finite or have too few inputs
must not be evaluated, and all with a score must. Exits 1 where it does not.
"""
import argparse, json, pathlib, sys
import numpy as np
import onnx, onnxruntime
import pandas

TOLERANCE = 1e-5
RUNS, NUMBERS = ("run", "run_number", "_run"), ("ls", "ls_number", "_luminosityBlock")

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("scores")
parser.add_argument("files", nargs="+")
parser.add_argument("--channel")
parser.add_argument("--decoded", nargs="*", default=[])
arguments = parser.parse_args()

model = onnx.load(arguments.model)
onnx.checker.check_model(model, full_check=True)
assert model.ir_version <= 9 and [(of.domain, of.version) for of in model.opset_import] == [("", 17)]
session = onnxruntime.InferenceSession(arguments.model, providers=["CPUExecutionProvider"])
metadata = session.get_modelmeta().custom_metadata_map
outputs = [output.name for output in session.get_outputs()]
assert outputs[:3] == ["reconstruction", "error", "flag"], outputs
assert len(metadata["fingerprint"]) == 64 and json.loads(metadata["thresholds"])[0]["value"] is not None and metadata["name"]
assert [port["name"] for port in json.loads(metadata["outputs"])] == outputs
wanted = json.loads(metadata["inputs"])[0]
assert [port.name for port in session.get_inputs()] == ["input_0"]


def read(path):
    """Names of rows and their inputs."""
    if path.suffix == ".csv":
        lines = [line.strip().split(";") for line in open(path).readlines()[1:]]
        return [(path.name, int(number)) for number, _ in lines], np.array([json.loads(bins) for _, bins in lines], np.float32)
    if path.suffix == ".parquet":
        table = pandas.read_parquet(path)
        run, ls = (next((table[name] for name in names if name in table), None) for names in (RUNS, NUMBERS))
        if "data" in table:
            values = np.stack([np.stack(list(row)).ravel() if isinstance(row[0], np.ndarray) else row for row in table["data"]])
        else:
            values = table[wanted["columns"]].to_numpy()
        return list(zip(run, ls)), values.astype(np.float32)
    import h5py

    with h5py.File(path) as file:
        values = np.stack([file[name][()].ravel() for name in wanted["columns"]], axis=1)
    return [(path.name, i) for i in range(len(values))], values.astype(np.float32)


names, values = [], []
for file in arguments.files:
    of_file = read(pathlib.Path(file))
    names += of_file[0]
    values.append(of_file[1])
values = np.concatenate(values)
shape = [len(values)] + wanted["lengths"]
said = dict(zip(outputs, session.run(None, {"input_0": values.reshape(shape)})))
for rows in (1, min(100_000, 20_000_000 // values.shape[1])):
    many = np.resize(values, (rows, values.shape[1])).reshape([rows] + wanted["lengths"])
    again = dict(zip(outputs, session.run(None, {"input_0": many})))
    for name in outputs:
        first = np.resize(said[name], (rows,) + said[name].shape[1:])
        np.testing.assert_allclose(again[name], first, rtol=TOLERANCE, atol=1e-6, err_msg=f"{name} of {rows} rows")

table = pandas.read_parquet(arguments.scores)
number = "event" if "event" in table else "ls"
place = {name: i for i, name in enumerate(names)}
channels = list(dict.fromkeys(table["channel"]))
main = arguments.channel or ("combined" if len(channels) > 1 else channels[0])
ends = {main: ""}
if main == "combined":
    ends |= {name: "_" + name.replace("/", "_") for name in channels if name != "combined"}
worst, compared, flagged, equal = 0.0, 0, 0, 0
for channel, end in ends.items():
    of_channel = table[(table["channel"] == channel)]
    keys = [(row.file if np.isnan(row.run) else int(row.run), int(getattr(row, number))) for row in of_channel.itertuples()]
    at = np.array([place.get(key, -1) for key in keys])
    has_score = of_channel["score"].notna().to_numpy()
    if end == "":
        dropped = of_channel["reason"].fillna("").str.startswith(("empty", "only", "not finite", "score is not finite")).to_numpy()
        assert not said["evaluated"][at[dropped & (at >= 0)]].any() and said["evaluated"][at[has_score & (at >= 0)]].all()
    wanted_rows = has_score & (at >= 0)
    of_channel, at = of_channel[wanted_rows], at[wanted_rows]
    score, error = of_channel["score"].to_numpy(), said[f"error{end}"][at].astype(float)
    # What is combined is a logarithm: it is 0 where scores are usual.
    size = np.maximum(np.abs(score), 1.0) if channel == "combined" else np.abs(score)
    worst = max(worst, (np.abs(error - score) / size).max())
    at_threshold = np.abs(score - of_channel["threshold"]).to_numpy() <= TOLERANCE * size
    differ = (said[f"flag{end}"][at] != of_channel["flagged"].astype(bool).to_numpy()) & ~at_threshold
    assert not differ.any(), f"{channel}: {differ.sum()} flags differ"
    compared, flagged, equal = compared + len(at), flagged + int(of_channel["flagged"].sum()), equal + int(at_threshold.sum())
    if "spread" in said and end == "":
        spread = of_channel["spread"].to_numpy()
        np.testing.assert_allclose(said["spread"][at], spread, rtol=1e-3, atol=TOLERANCE * size.max(), err_msg="spread")

if arguments.decoded:
    tables = [pandas.read_parquet(file) for file in arguments.decoded]
    columns = [port for port in json.loads(metadata["outputs"]) if port["name"] == "reconstruction"][0]["columns"]
    keys = [(row.file if "run" not in tables[0] or np.isnan(row.run) else int(row.run), int(getattr(row, number))) for row in tables[0].itertuples()]
    at = np.array([place[key] for key in keys])
    # A feature of one channel alone is not told by its channel.
    mean = np.mean([np.stack([of[name if name in of else name.split(":", 1)[1]] for name in columns], axis=1) for of in tables], axis=0)
    # A row without any input of a channel has no latents there.
    there = ~np.isnan(mean)
    np.testing.assert_allclose(
        said["reconstruction"][at][there], mean[there], rtol=TOLERANCE, atol=TOLERANCE * np.abs(mean[there]).max(), err_msg="reconstruction"
    )

told = f"{compared} scores compared, largest relative difference {worst:.2e}, {flagged} flagged, {equal} at their threshold"
print(told + (f", {len(at)} reconstructions" if arguments.decoded else ""))
sys.exit(0 if compared and worst < TOLERANCE else 1)
