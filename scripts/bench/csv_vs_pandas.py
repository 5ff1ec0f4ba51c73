"""Time to read a CSV of histograms: Lumisift beside the pandas code of the METSig notebook.

Usage, from the repository root, after `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/csv_vs_pandas.py [--rows 20000]

The file is made here: `LS;[53 integers]`, lumisections shuffled. Best of five each; the ratio is pandas' time over Lumisift's.
"""
import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
OURS = ["cargo", "bench", "--quiet", "--bench", "read_csv", "--"]
BINS = 53


def write(path, rows):
    random = np.random.default_rng(1)
    peak = np.exp(-0.5 * ((np.arange(BINS) - 20) / 5.5) ** 2)
    histograms = random.poisson(500 * peak * np.exp(-np.arange(rows)[:, None] / rows))
    with open(path, "w") as file:
        file.write("fromlumi;histo\n")
        for i in random.permutation(rows):
            file.write(f"{i + 1};[{','.join(map(str, histograms[i]))}]\n")


def read_with_pandas(path):
    """As in the notebook, to the letter but for the names."""
    df = pd.read_csv(path, names=range(2), sep=";")
    df = df.drop([0])
    df[0] = df[0].astype(int)
    df_s = df.sort_values(by=[0], ignore_index=True)
    df_bins = df_s[1].str.extractall(r"(\d+)")[0].unstack()
    return np.array(df_bins, dtype=np.float64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/histograms.csv"
        write(path, rows)
        ours = json.loads(subprocess.run([*OURS, path, "--json"], cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            table = read_with_pandas(path)
            times.append(time.perf_counter() - start)
    assert table.shape == (rows, BINS) and ours["rows"] == rows, (table.shape, ours)
    print(f"{rows} rows of {BINS} bins: lumisift {ours['seconds']:.4f} s, pandas {pd.__version__} {min(times):.4f} s")
    print(f"ratio {min(times) / ours['seconds']:.1f}")


if __name__ == "__main__":
    main()
