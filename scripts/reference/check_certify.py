"""What `lumisift certify` wrote, counted again by pandas (and, where it is there, read by coffea).

Usage, from the repository root:
    .venv/test/bin/python scripts/reference/check_certify.py GOLDEN_OUT [--against GOLDEN.json]

GOLDEN_OUT is what --out named. Prints JSON: lumisections by verdict in the table and in the four JSONs, whether these partition the table,
how many lumisections of each verdict the other golden JSON names and does not, and whether coffea's LumiMask takes the good ones for good
and nothing else (null without coffea).
"""
import argparse
import json
from pathlib import Path

import numpy
import pandas

VERDICTS = {"good": "json", "grey": "grey.json", "bad": "bad.json", "not evaluated": "not-evaluated.json"}


def lumisections(path):
    """The (run, LS) of a JSON of inclusive ranges, as often as it names them."""
    runs = json.loads(Path(path).read_text())
    return [(int(run), ls) for run, ranges in runs.items() for first, last in ranges for ls in range(first, last + 1)]


def coffea_agrees(path, table):
    try:
        from coffea.lumi_tools import LumiMask
    except ImportError:
        return None
    runs, numbers = (numpy.array(table[column], dtype="uint32") for column in ("run", "ls"))
    return bool((LumiMask(str(path))(runs, numbers) == (table.verdict == "good").to_numpy()).all())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    table = pandas.read_csv(options.out.with_suffix(".csv"))
    same = table.astype(object).fillna("") == pandas.read_parquet(options.out.with_suffix(".parquet")).astype(object).fillna("")
    assert same.all().all(), "the CSV and the Parquet file differ"
    files = {verdict: lumisections(options.out.with_suffix("." + ending)) for verdict, ending in VERDICTS.items()}
    named = [(run, ls, verdict) for verdict, all_of in files.items() for run, ls in all_of]
    result = {
        "table": {verdict: int((table.verdict == verdict).sum()) for verdict in VERDICTS},
        "files": {verdict: len(all_of) for verdict, all_of in files.items()},
        "partition": sorted(named) == sorted(zip(table.run, table.ls, table.verdict)),
        "coffea": coffea_agrees(options.out, table),
    }
    if options.against:
        golden = pandas.MultiIndex.from_tuples(sorted(set(lumisections(options.against))), names=["run", "ls"])
        table["golden"] = table.set_index(["run", "ls"]).index.isin(golden)
        crossed = pandas.crosstab(table.verdict, table.golden).reindex(index=list(VERDICTS), columns=[True, False], fill_value=0)
        result["against"] = {verdict: [int(crossed.loc[verdict, True]), int(crossed.loc[verdict, False])] for verdict in VERDICTS}
        result["not_judged"] = int(len(golden) - table.golden.sum())
        differ = table[table.golden != (table.verdict == "good")]
        result["differ"] = {str(run): int(count) for run, count in differ[(differ.verdict == "good") | differ.golden].groupby("run").size().items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
