"""Recomputes the scores of an experiment in NumPy from its weights and scaling, and compares them with scores.parquet.

Usage: check_scores.py EXPERIMENT FILE...        (FILEs are `LS;[bins]` CSVs that the experiment scored)
Exits 1 where a score differs by more than 1e-5 relative.
"""
import json, sys, tomllib
import numpy as np
import pyarrow.parquet as parquet
from safetensors.numpy import load_file

folder, files = sys.argv[1], sys.argv[2:]
weights = load_file(f"{folder}/model/all.safetensors")
scaler = json.load(open(f"{folder}/scaler.json"))
config = tomllib.load(open(f"{folder}/experiment.toml", "rb"))
assert scaler["fit_on"] == "train" and config["score"]["kind"] == "mse"
ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh, "linear": lambda x: x}


def scale(x):
    for step in scaler["steps"]:
        if step["kind"] in ("range", "min-max", "standard"):
            shift, divisor = np.array(step["shift"]), np.array(step["divisor"])
            x = np.divide(x - shift, divisor, out=np.zeros_like(x), where=divisor != 0)
        elif step["kind"] == "unit-area":
            total = x.sum(axis=1, keepdims=True)
            x = np.divide(x, total, out=np.zeros_like(x), where=total > 0)
        elif step["kind"] == "sqrt":
            x = np.sqrt(x)
    return x.astype(np.float32).astype(np.float64)


def reconstruct(x):
    model = config["model"]
    hidden = len(model["hidden"])
    layers = [f"encoder.{i}" for i in range(hidden + 1)] + [f"decoder.{i}" for i in range(hidden + 1)]
    for i, layer in enumerate(layers):
        kind = model["latent_activation"] if i == hidden else model["output_activation"] if i == len(layers) - 1 else model["activation"]
        x = ACTIVATIONS[kind](x @ weights[f"{layer}.weight"].T.astype(np.float64) + weights[f"{layer}.bias"])
    return x


found = {(row["file"], row["ls"]): row["score"] for row in parquet.read_table(f"{folder}/scores.parquet").to_pylist() if row["score"] is not None}
worst, compared = 0.0, 0
for file in files:
    rows = [line.strip().split(";") for line in open(file).readlines()[1:]]
    ls, bins = [int(a) for a, _ in rows], np.array([json.loads(b) for _, b in rows], float)
    x = scale(bins)
    scores = ((x - reconstruct(x)) ** 2).mean(axis=1)
    for number, score in zip(ls, scores):
        if (file, number) in found:
            compared += 1
            worst = max(worst, abs(found[file, number] / score - 1))
print(f"{compared} scores compared, largest relative difference {worst:.2e}")
sys.exit(0 if compared and worst < 1e-5 else 1)
