"""Are the weights of an experiment folder PyTorch's? Loads them into torch.nn.Linear, scores anew, compares with scores.parquet.

Usage, from the repository root, after `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/torch_weights.py DIR DATA...

DIR is what `lumisift train --out DIR` wrote, DATA the files it scored: CSVs with a `histo` column. Exits with 1 if a score differs by
more than 1e-5, relative.
"""
import argparse
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

TOLERANCE = 1e-5
ACTIVATIONS = {
    "relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU, "elu": torch.nn.ELU,
    "selu": torch.nn.SELU, "leaky_relu": torch.nn.LeakyReLU, "linear": torch.nn.Identity,
}


def read(path):
    """Rows [run, ls] (run 0 where the file has none) and histograms [rows, bins] of a CSV, comma- or semicolon-separated."""
    with open(path) as file:
        header = file.readline()
    table = pd.read_csv(path, sep=";" if ";" in header else ",")
    rows = pd.DataFrame({"run": table.get("fromrun", 0), "ls": table.fromlumi})
    return rows, np.stack([np.array(text.strip("[]").split(","), np.float32) for text in table.histo])


def load_model(folder, config):
    """The network of `model/all.safetensors`."""
    weights = load_file(folder / "model/all.safetensors")
    layers = []
    for half, last in (("encoder", config.get("latent_activation", config["activation"])), ("decoder", config["output_activation"])):
        count = sum(name.startswith(f"{half}.") and name.endswith(".weight") for name in weights)
        for i in range(count):
            weight, bias = weights[f"{half}.{i}.weight"], weights[f"{half}.{i}.bias"]
            layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
            layer.load_state_dict({"weight": weight, "bias": bias})
            layers += [layer, ACTIVATIONS[last if i == count - 1 else config["activation"]]()]
    return torch.nn.Sequential(*layers)


def scale(raw, scaler):
    """Scaled features [rows, features] from raw ones, by the steps of `scaler.json`."""
    if scaler["fit_on"] == "each-file":
        sys.exit("scaler.json: scaled by each file's own range, which is not in the folder")
    x = raw
    for step in scaler["steps"]:
        if step["kind"] == "sqrt":
            x = np.sqrt(np.maximum(x, 0))
        elif step["kind"] == "unit-area":
            x = divide(x, x.sum(axis=1, keepdims=True, dtype=np.float64))
        elif step["kind"] != "none":
            x = divide(x - np.array(step["shift"]), np.array(step["divisor"]))
    return x


def divide(x, by):
    """As float32, with 0 where it divides by 0."""
    return np.divide(x, by, out=np.zeros(x.shape), where=by != 0).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("data", metavar="DATA", type=Path, nargs="+")
    options = parser.parse_args()
    config = tomllib.loads((options.folder / "experiment.toml").read_text())
    model = load_model(options.folder, config["model"])
    error = torch.square if config["score"]["kind"] == "mse" else torch.abs
    scaler = json.loads((options.folder / "scaler.json").read_text())
    scores = pd.read_parquet(options.folder / "scores.parquet", columns=["file", "run", "ls", "score"]).dropna(subset="score")
    scores["file"] = scores.file.map(lambda name: Path(name).name)
    worst, count = 0.0, 0
    for path in options.data:
        rows, raw = read(path)
        x = torch.tensor(scale(raw, scaler), dtype=torch.float32)
        with torch.no_grad():
            rows["torch"] = error(model(x) - x).mean(dim=1).numpy()
        ours = scores[scores.file == path.name]
        keys = ["run", "ls"] if rows.run.any() else ["ls"]
        both = ours.merge(rows, on=keys, validate="one_to_one")
        if len(both) < len(ours):
            sys.exit(f"{path}: {len(ours) - len(both)} scored lumisections are not in this file")
        count += len(both)
        worst = max(worst, ((both.score - both.torch).abs() / both.torch.abs()).max())
    print(f"{count} scores, largest relative difference {worst:.1e}")
    return int(count == 0 or worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
