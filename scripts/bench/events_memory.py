"""Memory and time of `train` on a million events of 80 HDF5 columns, nine of them used.

Usage, from the repository root, after `cargo build --release`:
    python3 scripts/bench/events_memory.py [--events 1000000] [--deep] [--blosc]

Ten epochs with scores and report, on two cores, on the events of `lumisift synth events`; with `--blosc` also on the same columns as
PyTables packs them with Blosc, as real files of this kind are (wants h5py and PyTables: .venv/test/bin/python has them). Goal: resident
memory never above 2.5 × the columns used in single precision + 300 MB. The peak is the kernel's own figure; peaks of stages are looked
up every 5 ms. Ends with 1 where the goal is missed.
"""
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from common import CORES, parser, pinned, run, settings, workplace

COLUMNS, USED, CORES_USED = 80, 9, 2
CONFIG = """
data = {train = ["events.h5"], columns.features = ["?_Zmass", "?_Dr_Z", "MET_pt"]}
labels.good = {column = "Dataset_ID", values = [1, 2], bad_values = "others"}
split = {by = "random", valid = 0.1, test = 0.1}
scale.kind = "min-max"
model = {hidden = [16], latent = 4}
train = {epochs = 10, batch_size = 1024}
"""
DEEP = {"model.hidden": [128, 64], "model.latent": 32}
# What `train -v` says when a stage begins.
STAGES = {"training rows": "training", "fitting error baselines": "error baselines", "scoring": "scores", "figures": "figures"}


def pack(source, target):
    """The same columns, as PyTables writes them."""
    import h5py
    import tables

    with h5py.File(source) as columns, tables.open_file(target, "w", filters=tables.Filters(5, "blosc", shuffle=True)) as out:
        for name in columns:
            out.create_carray("/", name, obj=columns[name][:])


def resident(process):
    """MB that a process has in memory now."""
    try:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def watch(command):
    """Runs a command; returns [stage, seconds, peak MB] of each stage, and of the whole."""
    stages = [["reading", time.perf_counter(), 0.0]]
    start = stages[0][1]

    def listen(lines):
        for line in lines:
            said.append(line)
            stage = next((stage for words, stage in STAGES.items() if words in line), None)
            if stage and stage != stages[-1][0]:
                stages.append([stage, time.perf_counter(), 0.0])

    said = []
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    listener = threading.Thread(target=listen, args=[process.stderr])
    listener.start()
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        stages[-1][2] = max(stages[-1][2], resident(process))
        time.sleep(0.005)
    end = time.perf_counter()
    process.returncode = os.waitstatus_to_exitcode(status)
    listener.join()
    if process.returncode != 0:
        sys.exit("".join(said[-3:]))
    ends = [begin for _, begin, _ in stages[1:]] + [end]
    stages = [[stage, until - begin, peak] for (stage, begin, peak), until in zip(stages, ends)]
    return stages, ["in all", end - start, usage.ru_maxrss * 1024 / 1e6]


def main():
    options = parser(__doc__, rounds=1)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--deep", action="store_true", help="9-128-64-32-64-128-9 instead of 9-16-4-16-9")
    options.add_argument("--blosc", action="store_true", help="also packed with Blosc")
    options = options.parse_args()
    goal = 2.5 * options.events * USED * 4 / 1e6 + 300
    missed = False
    with workplace(options) as folder:
        run([options.lumisift, "synth", "events", folder, "--events", options.events, "--columns", COLUMNS])
        files = {"gzip": folder / "events.h5"}
        if options.blosc:
            files["Blosc"] = folder / "blosc.h5"
            pack(files["gzip"], files["Blosc"])
        config = folder / "events.toml"
        config.write_text(CONFIG)
        for packing, path in files.items():
            keys = {"data.train": [str(path)]} | (DEEP if options.deep else {})
            command = [options.lumisift, "train", config, *settings(keys), "--device", "cpu", "--out", folder / "out", "--force", "-v"]
            stages, whole = watch([*pinned(CORES[:CORES_USED]), *command])
            print(f"{options.events:,} events, {COLUMNS} columns ({packing}, {path.stat().st_size / 1e6:.0f} MB), {USED} used")
            for stage, seconds, peak in [*stages, whole]:
                print(f"  {stage:14}{seconds:8.1f} s {peak:8.0f} MB")
            met = whole[2] <= goal
            missed |= not met
            print(f"  goal: {goal:.0f} MB, {'met' if met else 'missed'}", flush=True)
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
