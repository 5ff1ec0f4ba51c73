"""How far flags are chance, and what ensembles do to that: the notebook's job with several seeds, alone and as ensembles.

Usage, from the repository root, after `cargo build --release`:
    .venv/test/bin/python scripts/reference/ensemble_flags.py DATA [--seeds 7] [--members 1 8 32]

DATA holds good.csv, bad1.csv and bad2.csv, as `lumisift synth metsig DATA` makes them. For each size and run: how many lumisections
are flagged by every seed and by any, on average, and how alike the flagged sets of two seeds are (their intersection over their union).
"""
import argparse
import itertools
import statistics
import subprocess
import tempfile
from pathlib import Path

import pyarrow.parquet as parquet

ROOT = Path(__file__).resolve().parents[2]


def flags(data, seed, members, out):
    """The flagged lumisections of each run."""
    sets = [f'data.train=["{data}/good.csv"]', f'data.test=["{data}/bad1.csv","{data}/bad2.csv"]', f"seed={seed}", f"train.ensemble={members}"]
    # The order of batches is drawn too, so that seeds differ in all they can.
    sets += ["train.shuffle=true"]
    command = [ROOT / "target/release/lumisift", "train", ROOT / "configs/metsig-notebook.toml", "--out", out, "-q"]
    subprocess.run(command + [part for one in sets for part in ("--set", one)], check=True, stdout=subprocess.DEVNULL)
    rows = parquet.read_table(Path(out) / "scores.parquet").to_pylist()
    found = {}
    for row in rows:
        if row["split"] == "test":
            found.setdefault(row["file"], set()).update([row["ls"]] if row["flagged"] else [])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    print(f"{'members':>7}  {'run':10}  {'flagged':>7}  {'always':>6}  {'ever':>4}  {'alike':>5}")
    for members in options.members:
        with tempfile.TemporaryDirectory() as folder:
            found = [flags(options.data.resolve(), seed, members, f"{folder}/{seed}") for seed in range(1, options.seeds + 1)]
        for run in sorted(found[0]):
            sets = [one[run] for one in found]
            alike = [len(a & b) / len(a | b) if a | b else 1.0 for a, b in itertools.combinations(sets, 2)]
            mean = statistics.mean(map(len, sets))
            print(f"{members:7}  {run:10}  {mean:7.1f}  {len(set.intersection(*sets)):6}  {len(set.union(*sets)):4}  {statistics.mean(alike):5.2f}", flush=True)


if __name__ == "__main__":
    main()
