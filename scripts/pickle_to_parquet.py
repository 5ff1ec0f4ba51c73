"""Turns a pickled pandas table into Parquet, which `lumisift` reads.

Usage: pickle_to_parquet.py TABLE.pkl [TABLE.parquet]

Needs pandas and pyarrow. A pickle can run any code when it is opened: open only those of people you trust. Pickles of old
pandas or of Python 2 may need an old pandas; `encoding="latin1"` is tried as well. An index that is more than a row number
becomes columns, and column names become text.
"""
import pickle
import sys
from pathlib import Path

import pandas as pd


def load(path):
    try:
        return pd.read_pickle(path)
    except (UnicodeDecodeError, ModuleNotFoundError, AttributeError):
        with open(path, "rb") as file:
            return pickle.load(file, encoding="latin1")


def as_table(content, path):
    if isinstance(content, pd.Series):
        content = content.to_frame()
    if isinstance(content, dict) or hasattr(content, "ndim"):
        content = pd.DataFrame(content)
    if not isinstance(content, pd.DataFrame):
        sys.exit(f"{path}: holds a {type(content).__name__}; expected a table")
    if not isinstance(content.index, pd.RangeIndex):
        content = content.reset_index()
    content.columns = ["_".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in content.columns]
    return content


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else source.with_suffix(".parquet")
    table = as_table(load(source), source)
    table.to_parquet(target, index=False)
    print(f"{target}: {len(table)} rows, {len(table.columns)} columns")


if __name__ == "__main__":
    main()
