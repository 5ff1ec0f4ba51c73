"""What a second core brings where there are four channels: Lumisift beside itself on one core.

Usage, from the repository root, after `cargo build --release`:
    .venv/bench/bin/python scripts/bench/channels.py [--rounds 5] [--rows 4000] [--epochs 128]

`train` with configs/cms2010b-notebook.toml on `synth cms2010b`: four autoencoders, one-class SVMs, cuts and areas, from the start of
the process to its end, on all cores and held to one (taskset). A ratio is the time on one core over the time on all. What the program
itself says that training took is a row of its own: the sum over the channels, over how many were trained side by side.
"""
import json

from common import CORES, ROOT, Table, measure, parser, run, settings, workplace

CONFIG = ROOT / "configs/cms2010b-notebook.toml"
GOAL = 1.7


def main():
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--rows", type=int, default=4000)
    arguments.add_argument("--epochs", type=int, default=128)
    options = arguments.parse_args()
    with workplace(options) as folder:
        table = Table(options)
        data = folder / "cms2010b"
        run([options.lumisift, "synth", "cms2010b", data, "--rows", options.rows])
        keys = {
            "data.train": [str(data / "features.parquet")],
            "labels.good": str(data / "labels.npy"),
            "labels.subsystems.folder": str(data / "Quality2010"),
            "train.epochs": options.epochs,
        }
        command = [options.lumisift, "train", CONFIG, "--device", "cpu", "--out", folder / "out", "--force", "-q", *settings(keys)]

        def train(cores):
            _, taken = measure(command, cores)
            channels = json.loads((folder / "out/report.json").read_text())["channels"]
            side_by_side = min(len(cores), len(channels))
            return taken | {"training": sum(one["training"]["seconds"] for one in channels) / side_by_side}

        subject, peer = f"four channels, {options.rows} rows", "Lumisift on one core"
        programs = {"Lumisift": lambda: train(CORES), peer: lambda: train(CORES[:1])}
        whole = options.rows >= 4000 and options.epochs == 128 and len(CORES) == 2
        results = table.take_turns(subject, programs, "s", {peer: GOAL} if whole else {})
        if results:
            ours, alone = ([one | {"value": one["training"]} for one in some] for some in results.values())
            table.add(f"{subject}, training alone", peer, ours, alone, "s")
        if len(CORES) == 1:
            table.note("four channels: this machine has one core, so there is nothing to compare")
        table.finish()


if __name__ == "__main__":
    main()
