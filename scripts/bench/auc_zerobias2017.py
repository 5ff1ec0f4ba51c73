"""Area under the ROC curve on real 2017 ZeroBias histograms: Lumisift beside scikit-learn.

Usage, from the repository root, after `scripts/bench/setup` and `cargo build --release`:
    .venv/bench/bin/python scripts/bench/auc_zerobias2017.py [--data FILE] [--seeds 1 2 3 4 5]

For each seed Lumisift trains `configs/zerobias2017.toml`. scikit-learn's MLPRegressor (32-8-32) then trains on the same good
lumisections with the same scaling, and both score the same test lumisections. Lumisift alone also sees the good lumisections of the
validation runs, to stop training. Positive class: not in the golden JSON. Lumisections that Lumisift does not evaluate (empty
histograms) are left out for both. Exits with 1 if Lumisift's mean is the lower one.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPRegressor

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data/ml4dqm_sharedtools_2017/random_subset_MainDiagonal.txt"
SCALING = ["unit-area", "sqrt"]  # `scale.kind` of configs/zerobias2017.toml
# The default tolerance, 1e-4, stops too early for errors this small. Holding rows back for early stopping was worse, too.
SKLEARN = dict(hidden_layer_sizes=(32, 8, 32), tol=1e-7)


def read(path):
    """Labels by (run, ls), and histograms [rows, bins] in the same order."""
    table = pd.read_csv(path, usecols=["fromrun", "fromlumi", "histo", "Json"])
    histograms = np.stack([np.array(text.strip("[]").split(","), float) for text in table.histo])
    rows = pd.DataFrame({"run": table.fromrun, "ls": table.fromlumi, "good": table.Json.astype(bool)})
    return rows, histograms


def scale(x, train):
    """Applies the steps of SCALING; what is fitted is fitted on the rows `train`."""
    for step in SCALING:
        if step == "unit-area":
            total = x.sum(axis=1, keepdims=True)
            x = np.divide(x, total, out=np.zeros_like(x), where=total != 0)
        elif step == "sqrt":
            x = np.sqrt(x)
        elif step == "min-max":
            low, width = x[train].min(axis=0), np.ptp(x[train], axis=0)
            x = np.divide(x - low, width, out=np.zeros_like(x), where=width != 0)
        elif step == "standard":
            mean, std = x[train].mean(axis=0), x[train].std(axis=0)
            x = np.divide(x - mean, std, out=x.copy(), where=std != 0)
        else:
            raise ValueError(f"unknown step of scaling: {step}")
    return x


def train_lumisift(data, seed, out):
    command = ["target/release/lumisift", "train", "configs/zerobias2017.toml", "--out", out, "--force", "-q"]
    settings = ["--set", f"seed={seed}", "--set", f'data.train=["{data}"]']
    subprocess.run([*command, *settings], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return pd.read_parquet(f"{out}/scores.parquet", columns=["split", "run", "ls", "score"])


def sklearn_scores(x, train, seed):
    x = scale(x, train)
    warnings.simplefilter("ignore", ConvergenceWarning)  # 200 epochs, its default, are enough: 500 change nothing
    model = MLPRegressor(random_state=seed, **SKLEARN).fit(x[train], x[train])
    return ((model.predict(x) - x) ** 2).mean(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    options = parser.parse_args()
    data = options.data.resolve()
    rows, histograms = read(data)
    aucs = []
    print("seed  lumisift  scikit-learn  good   bad")
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            scores = train_lumisift(data, seed, f"{folder}/seed{seed}")
            table = rows.merge(scores, on=["run", "ls"], how="left", validate="one_to_one")
            evaluated = table.score.notna()
            train = (table.split == "train") & table.good & evaluated
            test = (table.split == "test") & evaluated
            bad = ~table.good[test]
            theirs = sklearn_scores(histograms, train.to_numpy(), seed)
            pair = roc_auc_score(bad, table.score[test]), roc_auc_score(bad, theirs[test])
            aucs.append(pair)
            print(f"{seed:4}  {pair[0]:8.4f}  {pair[1]:12.4f}  {(~bad).sum():4}  {bad.sum():4}", flush=True)
    aucs = np.array(aucs)
    for name in ("mean", "min", "max"):
        ours, theirs = getattr(aucs, name)(axis=0)
        print(f"{name:4}  {ours:8.4f}  {theirs:12.4f}")
    ours, theirs = aucs.mean(axis=0)
    return int(ours < theirs)


if __name__ == "__main__":
    sys.exit(main())
