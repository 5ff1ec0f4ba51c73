"""Time to read data files: Lumisift beside Python doing the same.

Usage, from the repository root, after `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/read_vs_python.py [--rows 20000]

The files are made here: CSV with a list of 102 bins a row (ML4DQM) and with a column a bin, Parquet with maps of 200 × 200 as
DQMIO has them, HDF5 with 100 features. Everyone ends with one matrix of float32, the METSig notebook's pandas code with one of
float64, as it is written. Best of five each; a ratio is Python's time over Lumisift's: above 1, Lumisift is faster.
"""
import argparse
import csv
import json
import subprocess
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet

ROOT = Path(__file__).resolve().parents[2]
OURS = ["cargo", "bench", "--quiet", "--bench", "read", "--"]
BINS, FEATURES, SIDE = 102, 100, 200
random = np.random.default_rng(1)


def histograms(rows, bins):
    peak = np.exp(-0.5 * ((np.arange(bins) - 40) / 12) ** 2)
    return random.poisson(4000 * peak * random.uniform(0.3, 1, (rows, 1)))


def write_list_csv(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("fromrun,fromlumi,fromrun,fromlumi,fromrun.1,fromlumi.1,hname,histo,entries,Xmax,Xmin,Xbins,Json,DCSbit".split(","))
        for i, row in enumerate(histograms(rows, BINS)):
            ids = [297050 + i // 500, i % 500 + 1]
            writer.writerow([*ids * 3, "MainDiagonal Position", str(row.tolist()), row.sum(), 2.0, 0.0, BINS - 2, i % 9 > 0, True])


def write_wide_csv(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        names = "run,lumi,hname,metype,entries,xmax,xmin,xbins,ymax,ymin,ybins,good,good_pixel".split(",")
        writer.writerow(["", *names, *(f"bin_{i}" for i in range(BINS)), "y"])
        for i, row in enumerate(histograms(rows, BINS)):
            before = [i, 297050 + i // 500, i % 500 + 1, "chargeInner_PXLayer_1", 3, row.sum(), 80000.0, 0.0, BINS - 2, 1.0, 0.0, 1, 1, 1]
            writer.writerow([*before, *row, int(i % 9 > 0)])


def write_parquet(path, rows):
    x, y = np.meshgrid(np.linspace(-2, 2, SIDE), np.linspace(-2, 2, SIDE))
    maps = random.poisson(8 * np.exp(-((x**2 + y**2 - 1) ** 2) * 4).ravel() * random.uniform(0.3, 1, (rows, 1)))
    table = {"fromrun": 367129 + np.arange(rows) // 100, "fromlumi": np.arange(rows) % 100 + 1, "hname": ["clusterposition_xy"] * rows}
    table |= {"metype": [6] * rows, "histo": list(maps), "entries": maps.sum(axis=1)}
    for axis in "XY":
        table |= {f"{axis}min": [-20.0] * rows, f"{axis}max": [20.0] * rows, f"{axis}bins": [SIDE] * rows}
    parquet.write_table(pa.table(table), path, row_group_size=50, compression="snappy")


def write_hdf5(path, rows, **layout):
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=np.round(random.normal(50, 20, (rows, FEATURES)), 1).astype(np.float32), **layout)


def pandas_list_csv(path):
    """The numbers of the lists as in the METSig notebook."""
    df = pd.read_csv(path)
    return np.array(df["histo"].str.extractall(r"(\d+)")[0].unstack(), dtype=np.float64)


def polars_list_csv(path):
    numbers = pl.col("histo").str.strip_chars("[]").str.split(", ").list.eval(pl.element().cast(pl.Float32))
    lists = pl.read_csv(path).select(numbers)["histo"]
    return lists.explode().to_numpy().reshape(len(lists), -1)


def pandas_wide_csv(path):
    return pd.read_csv(path).filter(regex=r"^bin_\d+$").to_numpy(np.float32)


def polars_wide_csv(path):
    return pl.read_csv(path).select(pl.col(r"^bin_\d+$").cast(pl.Float32)).to_numpy()


def pyarrow_parquet(path):
    table = parquet.read_table(path)
    return table["histo"].combine_chunks().flatten().to_numpy().reshape(len(table), -1).astype(np.float32)


def h5py_hdf5(path):
    with h5py.File(path) as file:
        return file["X"][...].astype(np.float32, copy=False)


def best_of_five(read, path):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        matrix = read(path)
        times.append(time.perf_counter() - start)
    return len(matrix), min(times)


def lumisift(path):
    result = json.loads(subprocess.run([*OURS, path, "--json"], cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return result["rows"], result["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="of the CSV files; Parquet gets a fiftieth, HDF5 five times as many")
    rows = parser.parse_args().rows
    chunks = {"chunks": (min(1024, 5 * rows), FEATURES)}
    list_csv = {"pandas, METSig notebook": pandas_list_csv, "polars": polars_list_csv}
    hdf5 = {"h5py": h5py_hdf5}
    files = [
        ("lists.csv", rows, write_list_csv, {}, list_csv),
        ("wide.csv", rows, write_wide_csv, {}, {"pandas": pandas_wide_csv, "polars": polars_wide_csv}),
        ("maps.parquet", max(1, rows // 50), write_parquet, {}, {"pyarrow": pyarrow_parquet}),
        ("gzip.h5", 5 * rows, write_hdf5, {**chunks, "compression": "gzip", "shuffle": True}, hdf5),
        ("lzf.h5", 5 * rows, write_hdf5, {**chunks, "compression": "lzf"}, hdf5),
        ("plain.h5", 5 * rows, write_hdf5, {}, hdf5),
    ]
    print(f"pandas {pd.__version__}, polars {pl.__version__}, pyarrow {pa.__version__}, h5py {h5py.__version__}; seconds")
    print(f"{'file':13}  {'rows':>7}  {'MB':>6}  {'lumisift':>8}  {'':24}  {'python':>8}  {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for name, count, write, layout, readers in files:
            path = f"{folder}/{name}"
            write(path, count, **layout)
            found, ours = lumisift(path)
            assert found == count, (name, found, count)
            for who, read in readers.items():
                found, theirs = best_of_five(read, path)
                assert found == count, (name, who, found, count)
                size = Path(path).stat().st_size / 1e6
                print(f"{name:13}  {count:7}  {size:6.1f}  {ours:8.4f}  {who:24}  {theirs:8.4f}  {theirs / ours:6.1f}", flush=True)


if __name__ == "__main__":
    main()
