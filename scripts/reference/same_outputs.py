"""Do two builds of lumisift give the same numbers? Trains every shipped config with both on the same data and compares the folders.

    python scripts/reference/same_outputs.py BEFORE AFTER [EPOCHS]

BEFORE and AFTER are programs. Configs for made data train on data that BEFORE makes, those for real data on ../shared/data, where
it is there. Weights, scores, thresholds, scalers, channels and the other tables must be equal byte for byte, and history.csv
and report.json but for times, versions and fingerprints.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MADE = {
    "metsig": ['data.train=["good.csv"]', 'data.test=["bad1.csv", "bad2.csv"]'],
    "cms2010b": ['data.train=["2010/features.parquet"]', 'labels.good="2010/labels.npy"', 'labels.subsystems.folder="2010/Quality2010"'],
    "certification": ['data.train=["certification/features.parquet"]', 'labels.good="certification/golden.json"'],
    "pixel": ['data.train=["pixel/train/*.parquet"]', 'data.test=["pixel/test/*.parquet"]', 'data.oms=["pixel/oms.json"]',
              'data.hlt=["pixel/hlt.json"]', 'patterns.automasks=["pixel/automasks.csv"]'],
    "events": ['data.train=["collisions/events.h5"]'],
}
SYNTH = [
    "metsig . --size 0.3",
    "cms2010b 2010 --rows 1500",
    "occupancy pixel --lumisections 300 --test-lumisections 240",
    "events collisions --events 3000",
    "certification certification --lumisections 1500",
]
# What runs differ in that are the same.
VOLATILE = {"seconds", "version", "fingerprint", "device", "created"}


def run(program, place, *arguments):
    done = subprocess.run([program, *arguments, "-q"], cwd=place, capture_output=True, text=True)
    return done.returncode, done.stderr


def sets_of(name):
    if "2017" in name:
        return []
    return next((sets for start, sets in MADE.items() if name.startswith(start)), [])


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in VOLATILE and "seconds" not in key}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def content(path):
    if path.name == "history.csv":
        rows = [line.split(",") for line in path.read_text().splitlines()]
        seconds = rows[0].index("seconds")
        return [row[:seconds] + row[seconds + 1:] for row in rows]
    if path.name in ("report.json", "provenance.json"):
        return without_times(json.loads(path.read_text()))
    return path.read_bytes()


def differences(before, after):
    leave_out = {"log.txt", "report.html"}
    files = {path.relative_to(folder) for folder in (before, after) for path in folder.rglob("*") if path.is_file()}
    files = sorted(file for file in files if file.name not in leave_out and file.parts[0] not in ("checkpoints", "tensorboard"))
    for file in files:
        one, other = before / file, after / file
        if not one.exists() or not other.exists():
            yield f"{file}: only in {before.name if one.exists() else after.name}"
        elif content(one) != content(other):
            yield f"{file}: differs"


def main():
    before, after = (str(pathlib.Path(program).resolve()) for program in sys.argv[1:3])
    epochs = sys.argv[3] if len(sys.argv) > 3 else "4"
    failed = trained = 0
    with tempfile.TemporaryDirectory() as place:
        for line in SYNTH:
            assert run(before, place, "synth", *line.split())[0] == 0, line
        for config in sorted((ROOT / "configs").glob("*.toml")):
            sets = [word for text in sets_of(config.stem) for word in ("--set", text)] + ["--set", f"train.epochs={epochs}"]
            results = [
                run(program, place, "train", str(config), "--out", f"{which}/{config.stem}", *sets)
                for which, program in (("before", before), ("after", after))
            ]
            if results[0] != results[1]:
                print(f"{config.stem}: {results[0]} and {results[1]}")
                failed += 1
                continue
            if results[0][0] != 0:
                print(f"{config.stem}: not trained: {results[0][1].splitlines()[-1]}")
                continue
            trained += 1
            folders = [pathlib.Path(place) / which / config.stem for which in ("before", "after")]
            found = list(differences(*folders))
            failed += bool(found)
            print(f"{config.stem}: {'; '.join(found) or 'the same'}", flush=True)
    print(f"{trained} configs trained by both, {failed} differ")
    sys.exit(bool(failed) or not trained)


main()
