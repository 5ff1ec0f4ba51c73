"""Recomputes what an experiment with channels says, with NumPy and scikit-learn, from its weights and its data.

Usage: check_channels.py EXPERIMENT FEATURES.parquet LATENTS.parquet DECODED.parquet UNITS.csv
LATENTS are `lumisift encode` of FEATURES, DECODED and UNITS `lumisift decode` of those, the first with --scaled.
Exits 1 where latents, decoded rows, errors, areas, precisions, curves or the one-class SVM differ.
"""
import json, sys
import numpy as np
import pandas
from safetensors.numpy import load_file
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.svm import OneClassSVM

folder, features, latents, decoded, units = sys.argv[1:]
table = pandas.read_parquet(features)
table.index = pandas.MultiIndex.from_arrays([table["_run"].astype(int), table["_luminosityBlock"].astype(int)])
scores = pandas.read_parquet(f"{folder}/scores.parquet")
report = json.load(open(f"{folder}/report.json"))
channels = json.load(open(f"{folder}/channels.json"))
curves = pandas.read_parquet(f"{folder}/roc.parquet")
scaler = json.load(open(f"{folder}/scaler.json"))
latents, decoded, units = pandas.read_parquet(latents), pandas.read_parquet(decoded), pandas.read_csv(units)
sigmoid = lambda x: 1 / (1 + np.exp(-x))


def near(what, found, expected, tolerance):
    far = np.max(np.abs(np.asarray(found) - np.asarray(expected)) / np.maximum(1, np.abs(np.asarray(expected))), initial=0)
    print(f"{what}: {far:.1e}")
    if not far <= tolerance:
        sys.exit(f"{what}: differs by {far:e}, more than {tolerance:e}")


names = list(dict.fromkeys(name for channel in channels for name in channel["features"]))
(step,) = scaler["steps"]
shift, divisor = np.array(step["shift"]), np.array(step["divisor"])
for channel in channels:
    name = channel["name"]
    weights = load_file(f"{folder}/model/{name.replace('/', '_')}.safetensors")
    layer = lambda x, layer: x @ weights[f"{layer}.weight"].T.astype(float) + weights[f"{layer}.bias"]
    at = [names.index(feature) for feature in channel["features"]]
    codes = latents[latents.channel == name].set_index(["run", "ls"]).filter(like="latent_")
    rows = table.loc[codes.index, channel["features"]].to_numpy(float)
    inputs = ((rows - shift[at]) / divisor[at]).astype(np.float32).astype(float)
    near(f"{name} latents", codes, sigmoid(layer(sigmoid(layer(inputs, "encoder.0")), "encoder.1")), 1e-5)
    outputs = layer(sigmoid(layer(codes.to_numpy(float), "decoder.0")), "decoder.1")
    column = lambda feature, table: feature if feature in table else f"{name}:{feature}"
    found = decoded.set_index(["run", "ls"]).loc[codes.index]
    near(f"{name} decoded", found[[column(feature, found) for feature in channel["features"]]], outputs, 1e-5)
    found = units.set_index(["run", "ls"]).loc[codes.index]
    near(f"{name} units", found[[column(feature, found) for feature in channel["features"]]], outputs * divisor[at] + shift[at], 1e-4)
    own = scores[(scores.channel == name) & scores.score.notna()].set_index(["run", "ls"])
    near(f"{name} errors", own.score, pandas.Series(((inputs - outputs) ** 2).sum(1), codes.index).loc[own.index], 1e-4)
    near(f"{name} ln ratio", own.log_ratio, np.log(own.score / channel["mean_field_error"]), 1e-9)

    train = [id for id in table.index if id in own.index and own.split[id] == "train"]
    svm = OneClassSVM(nu=0.1, gamma=2 / len(at)).fit(codes.loc[train], sample_weight=own.weight.loc[train])
    near(f"{name} one-class SVM", own.svm, svm.decision_function(codes.loc[own.index]), 1e-4)

for auc in report["auc"]:
    rows = scores[(scores.channel == auc["channel"]) & scores.score.notna() & scores[f"label_{auc['labels']}"].notna()]
    bad = ~rows[f"label_{auc['labels']}"].astype(bool)
    weight = rows.weight.astype(float) if auc["weighted"] else None
    what = f"{auc['channel']} by {auc['labels']}"
    if bad.all() or not bad.any():
        assert auc["auc"] is None and auc["average_precision"] is None and auc["note"], what
        continue
    near(f"{what}: area", auc["auc"], roc_auc_score(bad, rows.score, sample_weight=weight), 1e-9)
    near(f"{what}: precision", auc["average_precision"], average_precision_score(bad, rows.score, sample_weight=weight), 1e-9)
    curve = curves[(curves.channel == auc["channel"]) & (curves.labels == auc["labels"])]
    false, true, thresholds = roc_curve(bad, rows.score, sample_weight=weight, drop_intermediate=False)
    place = {threshold: i for i, threshold in enumerate(thresholds)}
    at = [place[threshold] for threshold in curve.threshold]
    near(f"{what}: curve", curve[["false_positive_rate", "true_positive_rate"]], np.column_stack([false, true])[at], 1e-9)
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    near(f"{what}: area under the curve", area, auc["auc"], 1e-9)
