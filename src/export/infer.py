"""Runs the exported model on histograms as DIALS hands them out, and writes the bad lumisections as DIALS keeps them.

Usage: infer.py --data FILE.parquet… --out bad.csv [--not-evaluated empty.csv] [--model-id ID]

Each file has the columns run_number, ls_number and data (a list of bins, or for maps a list of rows of bins), and where they are
known me, dataset_id, file_id and me_id. Files beside this script: model.onnx, and model.json with what it takes.
"""
import argparse, json, pathlib, sys
import numpy as np
import onnxruntime
import pandas

HERE = pathlib.Path(__file__).resolve().parent
FACTS = json.loads((HERE / "model.json").read_text())
BATCH = 10_000


def infer(session, data):
    """Of histograms [N, bins] or [N, y, x]: error [N], flag [N], and whether each is evaluated [N]."""
    (taken,) = FACTS["inputs"]
    dims = taken["dims"][1:]
    if list(data.shape[1:]) != dims:
        raise SystemExit(f"histograms of {list(data.shape[1:])} bins; the model takes {dims}")
    names = [output.name for output in session.get_outputs()]
    said = dict(zip(names, session.run(None, {taken["name"]: data.astype(np.float32)})))
    return said["error"], said["flag"], said["evaluated"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--not-evaluated", help="where to write the lumisections that are neither good nor bad")
    parser.add_argument("--model-id", help="the number that DIALS has given the model")
    arguments = parser.parse_args()

    table = pandas.concat([pandas.read_parquet(file) for file in arguments.data], ignore_index=True)
    element = FACTS["inputs"][0]["monitoring_element"]
    if "me" in table and element in set(table["me"]):
        table = table[table["me"] == element]
    elif "me" in table:
        raise SystemExit(f"{', '.join(arguments.data)}: no rows of {element}")
    table = table.sort_values(["run_number", "ls_number"], kind="stable")
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    said = []
    for start in range(0, len(table), BATCH):
        rows = table["data"].iloc[start : start + BATCH]
        # Parquet gives maps as arrays of arrays.
        said.append(infer(session, np.stack([np.stack(list(row)) if isinstance(row[0], np.ndarray) else row for row in rows])))
    error, flag, evaluated = (np.concatenate(part) for part in zip(*said)) if said else (np.zeros(0), np.zeros(0, bool), np.zeros(0, bool))

    known = {name: table[name] if name in table else None for name in ("dataset_id", "file_id", "run_number", "ls_number", "me_id")}
    rows = pandas.DataFrame({"model_id": arguments.model_id, **known}, index=table.index)
    rows["mse"] = error
    bad = rows[flag & evaluated]
    bad.to_csv(arguments.out, index=False)
    if arguments.not_evaluated:
        rows[~evaluated].drop(columns="mse").to_csv(arguments.not_evaluated, index=False)
    told = f"{len(rows)} lumisections: {len(bad)} bad, {int((~evaluated).sum())} not evaluated"
    print(told, file=sys.stderr)


if __name__ == "__main__":
    main()
