"""Makes a small data file of every kind that Lumisift reads, and writes down what an independent reader gets from each.

Usage: make_tables.py OUT [--shared DIR]
Needs: numpy pandas pyarrow h5py hdf5plugin tables zstandard

For each case: OUT/<case>.<ext>, OUT/<case>.f32 (the values as little-endian float32, row by row in the order of the file), and an
entry in OUT/cases.json. The files are read back with pandas, pyarrow, h5py, NumPy or json, and what comes back is what is
written down. With real data at DIR (default: shared/data beside the repository) those files get entries too, as they lie there.

Besides what is plain from their names, an entry has
  data       lines for the config's [data] section
  shape      [n], or [y, x] of a map, with underflow and overflow where the file has them
  optional   true for what other programs write and Lumisift need not read
  y_fastest  true where a map lies in the file column by column (index = x * ny + y); its values are given as they lie there
"""
import argparse
import csv
import gzip
import io
import json
import re
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import tables
import zstandard

ROOT = Path(__file__).resolve().parents[2]
RUN = ("fromrun", "run_number", "run")
LS = ("fromlumi", "ls_number", "lumisection_number", "lumi", "ls", "luminosityblock")
HISTOGRAM, ME = ("histo", "data"), ("hname", "me", "title")
X_BINS, Y_BINS = ("xbins", "x_bin"), ("ybins", "y_bin")

random = np.random.default_rng(2017)
cases = []


# What goes into the files.


def counts(rows, *shape):
    """A hill of counts; the second row is empty, the third holds numbers that float32 and float64 cannot tell apart."""
    size = int(np.prod(shape))
    x = np.linspace(-2, 3, size)
    values = random.poisson(400 * np.exp(-(x**2)) * random.uniform(0.2, 2, (rows, 1)))
    values[1] = 0
    # The last one rounds up, but down by way of float64.
    values[2, :5] = 2**24 + 1, 2**24 + 3, 2**53 + 1, 2**62 - 1, 2**60 + 2**36 + 1
    return values.reshape(rows, *shape)


def small_counts(dtype, rows, *shape):
    values = counts(rows, *shape)
    return np.minimum(values, 200 if np.dtype(dtype).itemsize == 1 else 30_000).clip(0, np.iinfo(dtype).max).astype(dtype)


def reals(rows, columns, dtype=np.float64):
    values = random.normal(0, 30, (rows, columns))
    values[random.random(values.shape) < 0.05] = 0
    special = [-0.0, 0.1, -1.5, 2**24 + 1, 6e4, -6e4]
    if np.dtype(dtype).itemsize > 2:
        special += [1e-40, -1e-40, 1e30, -123456.789]
    values[0, : min(columns, len(special))] = special[:columns]
    if np.dtype(dtype).itemsize == 2:
        values = values.clip(-6e4, 6e4)
    return values.astype(dtype)


def numbers(dtype, rows, columns):
    """Whatever fits into the type, negative numbers included."""
    if dtype.kind == "f":
        return reals(rows, columns, dtype)
    values = counts(rows, columns).astype(dtype) if dtype.itemsize == 8 else small_counts(dtype, rows, columns)
    if dtype.kind == "i":
        values[3:9] = -values[3:9]
    return values


def lumisections(rows, first_run=297050):
    """Runs and LSs in no order."""
    order = random.permutation(rows)
    return (first_run + 6 * (order // 20)).astype(np.int64), (order % 20 * 3 + 1).astype(np.int64)


# What an independent reader gets from them.


def case(name, path, format, values, *, shape, written=None, flow_bins=False, features=None, runs=None, ls=None, extra=None, data="", **marks):
    values = np.asarray(values)
    assert written is None or np.array_equal(values.reshape(written.shape), written), f"{name}: not what was written"
    matrix = values.reshape(len(values), -1).astype(np.float32)
    assert np.isfinite(matrix).all() and matrix.shape[1] == np.prod(shape) and all(other["name"] != name for other in cases), name
    whole = lambda column: None if column is None else [int(float(number)) for number in column]
    plain = lambda value: value.item() if isinstance(value, np.generic) else value
    matrix.astype("<f4").tofile(OUT / f"{name}.f32")
    cases.append({
        "name": name,
        "file": path.name if path.parent == OUT else str(path.resolve()),
        "data": data,
        "format": format,
        "rows": len(matrix),
        "shape": [int(size) for size in shape],
        "flow_bins": bool(flow_bins),
        "features": features,
        "runs": whole(runs),
        "ls": whole(ls),
        "extra": {key: [plain(value) for value in column] for key, column in (extra or {}).items()},
        "values": f"{name}.f32",
        **marks,
    })
    print(f"{name:44} {format:8} {len(matrix):6} × {' × '.join(map(str, shape))}{'  (optional)' if marks.get('optional') else ''}")


def column(table, names):
    """The first column of one of these names, or None."""
    return next((table[key] for key in table if str(key).lower().lstrip("_") in names), None)


def choose(me):
    return "" if me is None else f"me = {json.dumps(me)}"


def bins_of(table, width):
    """Shape of a histogram and whether it has flow bins, from the columns of bin numbers."""
    first = lambda names: None if column(table, names) is None else int(float(list(column(table, names))[0]))
    nx, ny, kind = first(X_BINS), first(Y_BINS), first(("metype",))
    if nx is None:
        return [width], False
    if (ny or 0) > 1 or (kind or 0) >= 6:
        flow = width == (nx + 2) * (ny + 2)
        assert flow or width == nx * ny, (width, nx, ny)
        return [ny + 2 * flow, nx + 2 * flow], flow
    assert width in (nx, nx + 2), (width, nx)
    return [width], width == nx + 2


def lists(name, path, format, table, me=None, extra=(), data="", **more):
    """A case from a table with a list column; `table` maps names to columns, the lists being one array."""
    values = column(table, HISTOGRAM)
    shape, flow = bins_of(table, int(np.prod(values.shape[1:])))
    if values.ndim == 3:
        assert list(values.shape[1:]) == shape, name
    extra = {key: list(table[key]) for key in extra}
    ids = {"runs": column(table, RUN), "ls": column(table, LS)}
    case(name, path, format, values, shape=shape, flow_bins=flow, **ids, extra=extra, data=data or choose(me), **more)


def wide(name, path, format, frame, me=None, extra=(), **more):
    """A case from a table with a column for each bin or feature."""
    bins = sorted((c for c in frame if re.fullmatch(r"bin_\d+", c)), key=lambda c: int(c[4:]))
    known = [c for c in frame if c.lower().lstrip("_") in RUN + LS or c.startswith("Unnamed: ")]
    chosen = bins or [c for c in frame.select_dtypes("number") if c not in known]
    values = np.stack([frame[c].to_numpy().astype(np.float32) for c in chosen], axis=1)
    shape, flow = bins_of(frame, len(bins)) if bins else ([len(chosen)], False)
    extra = {key: frame[key].tolist() for key in extra}
    ids = {"runs": column(frame, RUN), "ls": column(frame, LS), "features": None if bins else chosen}
    case(name, path, format, values, shape=shape, flow_bins=flow, **ids, extra=extra, data=choose(me), **more)


def read_csv(path, **options):
    return pd.read_csv(path, encoding="utf-8-sig", **options)


def text_lists(frame, me=None):
    """Columns of a data frame whose lists are text."""
    if me is not None:
        frame = frame[column(frame, ME) == me]
    name = next(c for c in frame if c in HISTOGRAM)
    return {c: np.array([json.loads(text) for text in frame[c]]) if c == name else frame[c].tolist() for c in frame}


def arrow_lists(table, me=None):
    """Columns of an Arrow table; the lists, at whatever depth, become one array of the type they are stored in."""
    if me is not None:
        name = next(c for c in table.column_names if c in ME)
        table = table.filter(pc.equal(table[name].cast(pa.string()), me))
    out = {}
    for name in table.column_names:
        if name not in HISTOGRAM:
            out[name] = table[name].to_pylist()
            continue
        array, sizes = table[name].combine_chunks(), [len(table)]
        if pa.types.is_string(array.type):
            out[name] = np.array([json.loads(text) for text in array.to_pylist()])
            continue
        while not pa.types.is_primitive(array.type):
            array = array.flatten()
            sizes.append(len(array) // int(np.prod(sizes)))
        out[name] = array.to_numpy(zero_copy_only=False).reshape(sizes)
    return out


def array_case(name, path, format, arrays, matrix, features_of=None, extra=(), **more):
    """A case from named arrays, of which one is the matrix."""
    values = arrays[matrix][...]
    features = None if values.ndim == 3 else [f"{features_of or matrix}_{i}" for i in range(values.shape[1])]
    ids = {key: arrays[key][...] for key in arrays if key in RUN + LS}
    extra = {key: arrays[key][...] for key in extra}
    case(name, path, format, values, shape=values.shape[1:], features=features, runs=column(ids, RUN), ls=column(ids, LS), extra=extra, **more)


# CSV


def text(header, rows, sep=",", end="\n"):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=sep, lineterminator=end)
    writer.writerows(([header] if header else []) + rows)
    return out.getvalue()


def csv_files(name, content, take):
    """Writes the text as it is, gzip- and zstd-compressed; `take` makes a case of each."""
    content = content.encode()
    for ending, packed in ("csv", content), ("csv.gz", gzip.compress(content, mtime=0)), ("csv.zst", zstandard.compress(content)):
        path = OUT / f"{name}.{ending}"
        path.write_bytes(packed)
        take(name + ending[3:].replace(".", "-"), path)


def make_list_csv():
    def ls_bins(name, content, written, **options):
        csv_files(name, content, lambda name, path: lists(name, path, "ls-bins", text_lists(read_csv(path, sep=";", **options)), written=written))

    rows = 40
    x, (_, ls) = counts(rows, 53), lumisections(20 * rows)
    ls = ls[:rows]
    tight = lambda row: str(row.tolist()).replace(" ", "")
    ls_bins("ls-bins", text(["fromlumi", "histo"], [[n, tight(row)] for n, row in zip(ls, x)], ";"), x)
    spaced = [[n, f"[ {', '.join(map(str, row))} ]"] for n, row in zip(ls, x)]
    ls_bins("ls-bins-spaces-crlf", text(["fromlumi", "histo"], spaced, ";", "\r\n"), x)
    ls_bins("ls-bins-bom", "\ufeff" + text(["lumi", "data"], spaced, ";"), x)
    ls_bins("ls-bins-no-header", text(None, spaced, ";").rstrip("\n"), x, names=["ls", "histo"])
    fractions = np.abs(reals(rows, 53))
    ls_bins("ls-bins-fractions", text(["ls", "histo"], [[f"{n}.0", str(row.tolist())] for n, row in zip(ls, fractions)], ";"), fractions)

    def ml4dqm(name, content, written, names=None, **options):
        def take(name, path):
            frame = read_csv(path).rename(columns=names or {})
            lists(name, path, "ml4dqm", text_lists(frame, options.get("me")), written=written, **options)

        csv_files(name, content, take)

    run, ls = lumisections(rows)
    x = counts(rows, 102)
    repeated = "fromrun,fromlumi,fromrun,fromlumi,fromrun.1,fromlumi.1,hname,histo,entries,Xmax,Xmin,Xbins,Json,DCSbit".split(",")
    flags = random.choice(["True", "False"], (rows, 2)).tolist()
    line = lambda a, b, row: [a, b, a + 1, b + 1, a + 2, b + 2, "Main Diagonal", str(row.tolist()), int(row.sum() // 2), 2.0, 0.0, 100]
    lines = [line(a, b, row) + flag for a, b, row, flag in zip(run, ls, x, flags)]

    def as_text(name, path):
        frame = read_csv(path, dtype={"Json": str})
        lists(name, path, "ml4dqm", text_lists(frame), written=x, extra=("Json", "entries"))

    whole = text(repeated, lines)
    csv_files("ml4dqm-flow", whole, as_text)
    csv_files("ml4dqm-flow-bom-crlf", "\ufeff" + text(repeated, lines, end="\r\n"), as_text)
    cut = whole.index("\n", len(whole) // 2) - 30
    parts = [part.encode() for part in (whole[:100], whole[100:cut], "", whole[cut:])]
    path = OUT / "ml4dqm-flow-members.csv.gz"
    path.write_bytes(b"".join(gzip.compress(part, mtime=0) for part in parts))
    as_text("ml4dqm-flow-members", path)
    path = OUT / "ml4dqm-flow-frames.csv.zst"
    path.write_bytes(b"".join(zstandard.compress(part) for part in parts))
    as_text("ml4dqm-flow-frames", path)

    floats = [[f"{line[0]}.0", f"{line[1]}.0", *line[6:12]] for line in lines]
    ml4dqm("ml4dqm-float-numbers", text(["fromrun", "fromlumi", *repeated[6:12]], [[*line[:-1], "100.0"] for line in floats]), x)
    x = counts(rows, 100)
    lines = [[i, a, b, "chargeInner_PXLayer_4", 3, str(row.tolist()), int(row.max() // 2), 100] for i, (a, b, row) in enumerate(zip(run, ls, x))]
    header = ["", "fromrun", "fromlumi", "hname", "metype", "histo", "entries", "Xbins"]
    ml4dqm("ml4dqm-no-flow", text(header, lines).rstrip("\n"), x, extra=("entries",))
    notes, heading = [f'shift {i}, "quoted"\nsecond line; [1, 2]' for i in range(rows)], 'note, with "quotes"'
    lines = [[a, b, note, str(row.tolist())] for a, b, note, row in zip(run, ls, notes, x)]
    ml4dqm("ml4dqm-quoted-fields", text(["run", "LS", heading, "Histo"], lines), x, names={"Histo": "histo"}, extra=(heading,))
    data, names = 'columns = { run = "r", ls = "l", histogram = "h" }', {"r": "run", "l": "ls", "h": "histo"}
    ml4dqm("ml4dqm-other-names", text(["r", "l", "remark", "h"], lines), x, names=names, data=data)
    mixed = np.abs(np.where(random.random(x.shape) < 0.5, reals(rows, 100), random.integers(0, 9, x.shape)))
    shortest = lambda row: str([int(v) if v == int(v) and v < 1e9 else v for v in row.tolist()])
    lines = [[a, b, shortest(row)] for a, b, row in zip(run, ls, mixed)]
    ml4dqm("ml4dqm-fractions", text(["fromrun", "fromlumi", "histo"], lines), mixed)

    wanted, other = counts(rows, 22), counts(rows, 7)
    lines = []
    for a, b, one, two in zip(run, ls, wanted, other):
        lines += [[a, b, "B", str(two.tolist()), 5], [a, b, "A, inner\\outer", str(one.tolist()), 20]]
    ml4dqm("ml4dqm-several-mes", text(["fromrun", "fromlumi", "hname", "histo", "Xbins"], lines), wanted, me="A, inner\\outer")

    header = "fromrun,fromlumi,hname,fromrun,fromlumi,metype,hname,histo,entries,Xmax,Xmin,Xbins,Ymax,Ymin,Ybins".split(",")
    kinds = ("2d-flow", 11, (12, 7), True), ("2d", 6, (6, 15), False), ("ybins-1", 3, (1, 100), True), ("ybins-0", 3, (0, 100), False)
    for name, kind, (ny, nx), flow in kinds:
        width = (nx + 2 * flow) * (ny + 2 * flow) if ny > 1 else nx + 2 * flow
        x = counts(rows, width)
        lines = [[a, b, "M", a, b, kind, "M", str(row.tolist()), int(row[0]), 16.0, 0.0, nx, 80.0, 0.0, ny] for a, b, row in zip(run, ls, x)]
        ml4dqm(f"ml4dqm-{name}", text(header, lines), x)
    x = counts(rows, 6, 15)
    lines = [[a, b, "M", str(row.tolist()), 15, 6] for a, b, row in zip(run, ls, x)]
    ml4dqm("ml4dqm-nested", text(["run_number", "ls_number", "me", "data", "x_bin", "y_bin"], lines), x)


def make_wide_csv():
    def make(name, header, rows, extra=(), me=None, before="", drop=(), **how):
        def take(name, path):
            frame = read_csv(path, comment="#" if before else None).drop(columns=list(drop))
            wide(name, path, "csv", frame if me is None else frame[column(frame, ME) == me], extra=extra, me=me)

        csv_files(name, before + text(header, rows, **how), take)

    rows = 40
    run, ls = lumisections(rows)
    before = ["", "run", "lumi", "hname", "metype", "entries", "xmax", "xmin", "xbins", "ymax", "ymin", "ybins", "good"]
    for name, nx, ny, width, kind in ("csv-bins", 100, 1, 102, 3), ("csv-bins-no-flow", 100, 1, 100, 3), ("csv-bins-2d", 6, 8, 80, 6):
        x, order = counts(rows, width), random.permutation(width)
        ids = [[i, a, b, "M", kind, int(x[i].max() // 2), 8e4, 0.0, nx, 1.0, 0.0, ny, int(i % 3 > 0)] for i, (a, b) in enumerate(zip(run, ls))]
        lines = [[*line, *row[order], int(i % 5 > 0)] for i, (line, row) in enumerate(zip(ids, x))]
        make(name, before + [f"bin_{i}" for i in order] + ["y"], lines, extra=("y", "hname"))
    x = counts(rows, 11)
    lines = [[a, "AB"[i % 2], b, *row] for i, (a, b, row) in enumerate(zip(run, ls, x))]
    make("csv-bins-several-mes", ["run", "me", "ls", *(f"bin_{i}" for i in range(11))], lines, me="B")
    plain = [[b, *row] for b, row in zip(ls, np.abs(reals(rows, 11)).tolist())]
    make("csv-bins-no-run", ["luminosityBlock", *(f"bin_{i}" for i in range(11))], plain, end="\r\n")

    x, whole = reals(rows, 6).tolist(), counts(rows, 7)[:, :5]
    names = ["pt, leading", "eta", "phi", "mass", "ρ", 'd0 "signed"']
    text_column = [f"ECAL, {i}\nEB" for i in range(rows)]
    lines = [[i, a, b, *row, note, bool(i % 2), *more] for i, (a, b, row, note, more) in enumerate(zip(run, ls, x, text_column, whole))]
    header = ["", "run_number", "ls_number", *names, "where", "isGood", *"abcde"]
    make("csv-features", header, lines, extra=("where",))
    make("csv-features-crlf", header, [line[:9] + ["here"] + line[10:] for line in lines], end="\r\n")
    make("csv-features-events", header[3:9], [line[3:9] for line in lines])
    lines = [line[1:9] + [line[3], line[2]] for line in lines]
    make("csv-features-repeated", [*header[1:9], header[3], "ls_number"], lines, drop=(f"{header[3]}.1", "ls_number.1"))
    make("csv-features-comments", header[1:9], [line[:8] for line in lines], before="# made by hand\n# run, ls; and more\n")
    make("csv-features-cr", header[1:9], [line[:8] for line in lines], end="\r")
    late = [line[:8] + ["" if i < 30 else "noisy", ""] for i, line in enumerate(lines)]
    make("csv-features-late-text", [*header[1:9], "remark", "nothing"], late, drop=("nothing",))
    lines = [[a, b, n, f"{v:.3e}"] for a, b, n, v in zip(run, ls, whole[:, 0], random.normal(0, 40, rows))]
    make("csv-features-nano", ["_run", "_luminosityBlock", "nMuon", "MET"], lines)


# Parquet and Arrow


def dials(run, ls, values, me="Pixel/ME 1", nx=None, ny=None):
    """Columns as DIALS names them; `me` is one name or one a row."""
    rows, nx = len(run), nx or values.shape[-1]
    ny = ny or (values.shape[1] if values.ndim == 3 else None)
    table = {"dataset": ["/ZeroBias/Run2024A-PromptReco-v1/DQMIO"] * rows, "me": [me] * rows if isinstance(me, str) else me}
    table |= {"dataset_id": [14] * rows, "file_id": range(rows), "run_number": run, "ls_number": ls, "me_id": [3] * rows}
    table |= {"x_min": [0.0] * rows, "x_max": [1.0] * rows, "x_bin": [float(nx)] * rows}
    if ny:
        table |= {"y_min": [-1.0] * rows, "y_max": [1.0] * rows, "y_bin": [float(ny)] * rows}
    return table | {"entries": [int(number) for number in values.reshape(rows, -1)[:, 0]], "data": values.tolist()}


def dqmio(run, ls, values, kind, nx, ny):
    rows = len(run)
    frame = {"fromrun": run, "fromlumi": ls, "hname": ["PixelPhase1_ME"] * rows, "metype": [kind] * rows, "histo": list(values)}
    frame |= {"entries": values[:, 5:].sum(axis=1), "Xmin": 0.0, "Xmax": 1.0, "Xbins": nx, "Ymin": 0.0, "Ymax": 1.0, "Ybins": ny}
    return pd.DataFrame(frame)


def feature_frame(rows, columns):
    """Columns of float32, float64, int64, int32 and uint8 in turn."""
    x, whole = reals(rows, columns), counts(rows, columns)
    kinds = [np.float32, np.float64, np.int64, np.int32, np.uint8]
    column = lambda i: x[:, i] if i % 5 < 2 else whole[:, i] if i % 5 == 2 else small_counts(kinds[i % 5], rows, columns)[:, i]
    return pd.DataFrame({f"f{i}": column(i).astype(kinds[i % 5]) for i in range(columns)})


def make_parquet():
    rows = 60
    run, ls = lumisections(rows)

    def make(name, table, written=None, me=None, extra=(), read=lists, schema=None, marks={}, **options):
        path = OUT / f"parquet-{name}.parquet"
        parquet.write_table(table if isinstance(table, pa.Table) else pa.table(table, schema=schema), path, **options)
        back = parquet.read_table(path)
        if read is wide:
            wide(path.stem, path, "parquet", back.to_pandas(), me=me, extra=extra, **marks)
        else:
            lists(path.stem, path, "parquet", arrow_lists(back, me), written=written, me=me, extra=extra, **marks)

    x = np.floor(np.abs(reals(rows, 50)))
    make("dials-1d", dials(run, ls, x), x, extra=("entries", "dataset"))
    maps = counts(rows, 6, 11).astype(float)
    make("dials-2d-nested", dials(run, ls, maps), maps)
    make("dials-2d-flat", dials(run, ls, maps.reshape(rows, 66), nx=11, ny=6), maps)
    mixed = dials(run, ls, maps, me=["A", "B", "C"] * 20)
    make("dials-several-mes", mixed, maps[1::3], me="B")
    ragged = dials(run, ls, x, me=["A", "B"] * 30) | {"x_bin": [20.0, 50.0] * 30}
    ragged["data"] = [row[: 50 if i % 2 else 20].tolist() for i, row in enumerate(x)]
    make("dials-several-widths", ragged, x[1::2], me="B", row_group_size=7)

    base = {"run": run, "ls": ls}
    whole = counts(rows, 53)
    for dtype in np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64:
        values = whole if np.dtype(dtype).itemsize == 8 else small_counts(dtype, rows, 53)
        make(f"list-{np.dtype(dtype)}", base | {"histo": pa.array(list(values.astype(dtype)))}, values)
    for dtype in np.float16, np.float32, np.float64:
        values = np.abs(reals(rows, 53, dtype))
        make(f"list-{np.dtype(dtype)}", base | {"histo": pa.array(list(values))}, values, marks={"optional": True} if dtype == np.float16 else {})
    make("large-list", base | {"me": pa.array(["A"] * rows, pa.large_string()), "histo": pa.array(whole.tolist(), pa.large_list(pa.int64()))}, whole)
    make("fixed-size-list", base | {"histo": pa.array(whole.tolist(), pa.list_(pa.int64(), 53))}, whole)
    nested = whole[:, :48].reshape(rows, 8, 6)
    for name, kind in ("large", pa.large_list(pa.large_list(pa.int64()))), ("fixed-size", pa.list_(pa.list_(pa.int64(), 6), 8)):
        make(f"nested-{name}-list", base | {"histo": pa.array(nested.tolist(), kind), "Xbins": [6] * rows, "Ybins": [8] * rows}, nested)
    never_null = lambda name, kind: pa.field(name, kind, nullable=False)
    histo = never_null("histo", pa.list_(never_null("item", pa.int64())))
    solid = pa.schema([never_null("run", pa.int32()), never_null("ls", pa.uint16()), histo])
    make("not-nullable", {"run": run, "ls": ls, "histo": whole.tolist()}, whole, schema=solid)
    make("list-as-text", base | {"histo": [str(row.tolist()) for row in whole]}, whole)

    # As dqmiotools writes them: by pandas, a map's columns one after the other, and no flow bins.
    make("dqmio-1d", pa.Table.from_pandas(dqmio(run, ls, whole, 3, 53, 0)), whole, extra=("entries", "hname"))
    make("dqmio-1d-flow", pa.Table.from_pandas(dqmio(run, ls, whole, 3, 51, 1)), whole)
    by_column = maps.astype(np.int64).transpose(0, 2, 1).reshape(rows, 66)
    make("dqmio-2d", pa.Table.from_pandas(dqmio(run, ls, by_column, 6, 11, 6)), by_column, marks={"y_fastest": True})
    flow = counts(rows, 8 * 13)
    make("dqmio-2d-flow", pa.Table.from_pandas(dqmio(run, ls, flow, 6, 11, 6)), flow)

    plain = dials(run, ls, whole.astype(float))
    for codec in "none", "snappy", "gzip", "zstd", "lz4", "brotli":
        make(f"compression-{codec}", plain, whole.astype(float), compression=codec)
    make("row-groups", base | {"histo": whole.tolist()}, whole, row_group_size=7)
    make("row-groups-pages", plain, whole.astype(float), row_group_size=25, data_page_size=300, write_batch_size=4)
    for codec in "none", "zstd", "snappy":
        make(f"page-v2-{codec}", plain, whole.astype(float), compression=codec, data_page_version="2.0", data_page_size=300, write_batch_size=4)
    make("version-1", plain, whole.astype(float), version="1.0", use_dictionary=False)
    names = pa.array(["A", "B", "C"] * 20).dictionary_encode()
    make("dictionary-me", base | {"me": names, "histo": whole.tolist()}, whole[2::3], me="C", row_group_size=11)
    delta = {name: "DELTA_BINARY_PACKED" for name in ("run", "ls", "histo.list.element")}
    make("delta", base | {"histo": whole.tolist()}, whole, use_dictionary=False, column_encoding=delta)
    make("byte-stream-split", base | {"histo": x.tolist()}, x, use_dictionary=False, column_encoding={"histo.list.element": "BYTE_STREAM_SPLIT"})

    frame = feature_frame(rows, 2000)
    make("features", pa.Table.from_pandas(frame), read=wide)
    frame = feature_frame(rows, 12)
    frame["text"], frame["flag"] = [f'LS {i}, "x"' for i in range(rows)], [bool(i % 2) for i in range(rows)]
    frame.insert(3, "run", run.astype(np.uint32))
    frame.insert(7, "luminosityBlock", ls.astype(np.uint32))
    make("features-run-ls", pa.Table.from_pandas(frame, preserve_index=False), read=wide, extra=("text",), row_group_size=9)
    make("features-pandas-index", pa.Table.from_pandas(frame[frame.f1 > 0]), read=wide, marks={"optional": True})
    order = random.permutation(53)
    bins = base | {"entries": whole[:, 0] // 3, "xbins": [51] * rows} | {f"bin_{i}": whole[:, i] for i in order}
    make("bins", bins, read=wide, extra=("entries",))


def make_arrow():
    rows = 60
    run, ls = lumisections(rows)
    whole = counts(rows, 53)
    base = {"run_number": run, "ls_number": ls}

    def make(name, table, written=None, me=None, extra=(), read=lists, **options):
        kind = options.pop("kind", "file")
        path = OUT / f"arrow-{name}{ {'file': '.arrow', 'stream': '.arrows', 'feather': '.feather'}[kind]}"
        table = table if isinstance(table, (pa.Table, list)) else pa.table(table)
        if kind == "feather":
            feather.write_feather(table, path, **options)
            back = feather.read_table(path)
        else:
            batches = table if isinstance(table, list) else table.to_batches(max_chunksize=options.pop("chunk", None))
            new, open = (pa.ipc.new_file, pa.ipc.open_file) if kind == "file" else (pa.ipc.new_stream, pa.ipc.open_stream)
            with new(path, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            with pa.OSFile(str(path)) as file:
                back = open(file).read_all()
        if read is wide:
            wide(path.stem, path, "arrow", back.to_pandas(), extra=extra)
        else:
            lists(path.stem, path, "arrow", arrow_lists(back, me), written=written, me=me, extra=extra)

    table = dials(run, ls, whole.astype(float))
    dictionary = base | {"me": pa.array(["A", "B", "C"] * 20).dictionary_encode(), "histo": whole.tolist()}
    nested = whole[:, :48].reshape(rows, 8, 6)
    frame = feature_frame(rows, 40)
    frame["text"], frame["flag"] = [f"LS {i}" for i in range(rows)], [bool(i % 2) for i in range(rows)]
    for kind in "file", "stream":
        make(f"{kind}", table, whole.astype(float), extra=("entries", "dataset"), kind=kind)
        make(f"{kind}-batches", base | {"histo": whole.tolist()}, whole, chunk=7, kind=kind)
        make(f"{kind}-dictionary-me", dictionary, whole[1::3], me="B", chunk=11, kind=kind)
        make(f"{kind}-features", pa.Table.from_pandas(frame), read=wide, extra=("text",), chunk=13, kind=kind)
        for codec in "lz4", "zstd":
            make(f"{kind}-{codec}", table, whole.astype(float), compression=codec, chunk=20, kind=kind)
    for codec in "uncompressed", "lz4", "zstd":
        make(f"feather-{codec}", table, whole.astype(float), kind="feather", compression=codec)
        make(f"feather-{codec}-chunks", dictionary, whole[1::3], me="B", kind="feather", compression=codec, chunksize=9)
    # Each batch with a dictionary of its own, which only a stream can say.
    def batch(names, at):
        me, histo = pa.array(names * 10).dictionary_encode(), pa.array(whole[at].tolist())
        return pa.record_batch({"run": run[at], "ls": ls[at], "me": me, "histo": histo})

    batches = [batch(["A", "B", "C"], slice(0, 30)), batch(["B", "D", "A"], slice(30, 60))]
    make("stream-dictionary-replaced", batches, np.concatenate([whole[1:30:3], whole[30::3]]), me="B", kind="stream")
    # A slice starts in the middle of its buffers.
    make("sliced", pa.table(base | {"histo": whole.tolist()}).slice(13, 31), whole[13:44])
    make("large-list", base | {"me": pa.array(["A"] * rows, pa.large_string()), "histo": pa.array(whole.tolist(), pa.large_list(pa.int64()))}, whole)
    make("fixed-size-list", base | {"histo": pa.array(whole.tolist(), pa.list_(pa.int64(), 53))}, whole)
    make("nested", dials(run, ls, nested), nested)
    for dtype in np.uint8, np.uint16, np.int32, np.uint64:
        values = whole if np.dtype(dtype).itemsize == 8 else small_counts(dtype, rows, 53)
        make(f"list-{np.dtype(dtype)}", base | {"histo": pa.array(list(values.astype(dtype)))}, values)
    values = np.abs(reals(rows, 53, np.float32))
    make("list-float32", base | {"histo": pa.array(list(values))}, values)


# HDF5


def make_hdf5():
    rows = 150
    run, ls = lumisections(rows)

    def make(name, fill, matrix, me=None, extra=(), marks={}, **options):
        path = OUT / f"hdf5-{name}.h5"
        with h5py.File(path, "w", **options) as file:
            fill(file)
        with h5py.File(path) as file:
            arrays = {matrix: file[matrix]} | {key: file[key] for key in file if isinstance(file[key], h5py.Dataset)}
            array_case(path.stem, path, "hdf5", arrays, matrix, extra=extra, data=choose(me), **marks)

    def with_ids(file, **matrix):
        file["run"], file["ls"] = run, ls.astype(np.int32)
        file.create_dataset("X", **matrix)

    x = reals(rows, 40, np.float32)
    kinds = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float16, np.float32, np.float64]
    for dtype in kinds + [">i2", ">i4", ">i8", ">u8", ">f2", ">f4", ">f8"]:
        dtype = np.dtype(dtype)
        values = numbers(dtype, rows, 20)
        make(f"{'big-' if dtype.byteorder == '>' else ''}{dtype.name}", lambda file: with_ids(file, data=values), "X")
    layouts = {
        "contiguous": {},
        "chunked": {"chunks": (16, 7)},
        "gzip": {"chunks": (32, 40), "compression": "gzip", "compression_opts": 4},
        "gzip-shuffle": {"chunks": (16, 11), "compression": "gzip", "shuffle": True},
        "lzf": {"chunks": (16, 40), "compression": "lzf"},
        "lzf-shuffle": {"chunks": (7, 13), "compression": "lzf", "shuffle": True},
        "fletcher32": {"chunks": (16, 40), "fletcher32": True},
        "gzip-shuffle-fletcher32": {"chunks": (16, 11), "compression": "gzip", "shuffle": True, "fletcher32": True},
        "single-chunk": {"chunks": (rows, 40), "compression": "gzip"},
        "many-chunks": {"chunks": (1, 3)},
        "growing": {"chunks": (16, 11), "maxshape": (None, 40), "compression": "gzip"},
        "growing-both-ways": {"chunks": (16, 11), "maxshape": (None, None), "shuffle": True, "compression": "gzip"},
        "growing-many-chunks": {"chunks": (1, 5), "maxshape": (None, 40)},
        "growing-both-ways-many-chunks": {"chunks": (1, 3), "maxshape": (None, None)},
    }
    for name, layout in layouts.items():
        make(name, lambda file: with_ids(file, data=x, **layout), "X")
        make(f"{name}-v110", lambda file: with_ids(file, data=x, **layout), "X", libver=("v110", "v110"))
        make(f"{name}-latest", lambda file: with_ids(file, data=x, **layout), "X", libver="latest")
    make("noise-lzf-gzip", lambda file: with_ids(file, data=random.integers(0, 2**62, (rows, 30)), chunks=(16, 30), compression="lzf"), "X")

    def low_level(prepare):
        """A dataset whose creation properties h5py's own interface does not reach."""
        def fill(file):
            file["run"], file["ls"] = run, ls
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            prepare(plist)
            dataset = h5py.h5d.create(file.id, b"X", h5py.h5t.py_create(np.dtype("f4")), h5py.h5s.create_simple((rows, 40)), plist)
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, x)
        return fill

    def implicit(plist):
        plist.set_chunk((16, 11))
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)

    for version, options in ("", {}), ("-latest", {"libver": "latest"}):
        make(f"compact{version}", low_level(lambda plist: plist.set_layout(h5py.h5d.COMPACT)), "X", **options)
        make(f"allocated-early{version}", low_level(implicit), "X", **options)

        def unwritten(file):
            with_ids(file, shape=(rows, 40), dtype="f4", chunks=(16, 11), compression="gzip", fillvalue=2.5)
            file["X"][20:60] = x[20:60]
        make(f"unwritten-chunks{version}", unwritten, "X", **options)

    maps = np.abs(reals(rows, 12 * 9, np.float32)).reshape(rows, 12, 9)

    def elements(file, names=("digi_depth1", "digi_depth2", "rechit_depth1"), **options):
        file["run_number"], file["ls_number"] = run, ls
        for i, name in enumerate(names):
            file.create_dataset(name, data=np.roll(maps, i, axis=1), chunks=(3, 6, 5), **options)

    make("maps", lambda file: elements(file, compression="lzf"), "digi_depth2", me="digi_depth2")
    make("maps-latest", lambda file: elements(file, compression="gzip", shuffle=True), "rechit_depth1", me="rechit_depth1", libver="latest")
    deep = ("EB/digi/eta-phi", "EB/rechit/eta-phi", "EE/digi")
    make("nested-groups", lambda file: elements(file, deep), "EB/rechit/eta-phi", me="EB/rechit/eta-phi")
    make("nested-groups-latest", lambda file: elements(file, deep), "EE/digi", me="EE/digi", libver="latest")
    make("one-map", lambda file: file.create_dataset("occupancy", data=counts(rows, 12, 9)), "occupancy")
    many = [f"detector/element_{i:03}" for i in range(300)]
    some = lambda file: [file.create_dataset(name, data=maps[:20] + i) for i, name in enumerate(many)]
    make("many-elements", some, many[217], me=many[217])
    make("many-elements-latest", some, many[217], me=many[217], libver="latest")
    make("many-elements-track-order", some, many[3], me=many[3], libver="latest", track_order=True)

    def matrices(file):
        file["digi"], file["rechit"], file["run"], file["ls"] = x, x[:, ::-1], run, ls
    make("two-matrices", matrices, "rechit", me="rechit")

    def labelled(file):
        with_ids(file, data=x)
        file["y"], file["weight"] = (run % 4 == 0).astype(np.int8), np.abs(x[:, 3])
        file["X"].attrs["title"], file.attrs["note"] = "features", "attributes are not columns"
    make("labels", labelled, "X", extra=("y", "weight"))

    def other_types(file):
        with_ids(file, data=x)
        file["names"] = [f"LS {i}" for i in range(rows)]
        file["fixed"] = np.array([f"LS {i}" for i in range(rows)], "S8")
        file["flag"] = run % 4 == 0
        file["one"] = 3.5
        file["short"] = np.arange(5)
        file["link"] = h5py.SoftLink("/run")
    make("other-types", other_types, "X")

    make("plugin-blosc", lambda file: with_ids(file, data=x, chunks=(50, 40), **hdf5plugin.Blosc(cname="zstd")), "X")
    for name, plugin in {"zstd": hdf5plugin.Zstd(), "lz4": hdf5plugin.LZ4(), "bitshuffle": hdf5plugin.Bitshuffle()}.items():
        make(f"plugin-{name}", lambda file: with_ids(file, data=x, chunks=(50, 40), **plugin), "X", marks={"optional": True})

    def columns(name, data, inside=None, **options):
        """A file of columns, as datasets or as the fields of one."""
        marks = {"optional": options.pop("optional")} if "optional" in options else {}
        path = OUT / f"hdf5-{name}.h5"
        if inside is None:
            with h5py.File(path, "w", **options) as file:
                for key in data:
                    file[key] = data[key]
        else:
            inside(path, np.rec.fromarrays(list(data.values()), names=list(data)))
        with h5py.File(path) as file:
            back = {key: file[key][...] for key in file} if inside is None else {key: file["events"][key] for key in file["events"].dtype.names}
        wide(path.stem, path, "hdf5", pd.DataFrame(back), **marks)

    frame = feature_frame(rows, 12)
    data = {key: frame[key].to_numpy() for key in sorted(frame)}
    columns("columns", data | {"ls_number": ls, "run_number": run})
    columns("columns-latest", data | {"ls_number": ls, "run_number": run}, libver="latest")
    columns("columns-events", data)
    columns("columns-bool", data | {"flag": run % 4 == 0})
    # Enough links for a group's B-tree, or its fractal heap, to have several levels.
    frame = feature_frame(20, 700)
    data = {key: frame[key].to_numpy() for key in sorted(frame)}
    columns("columns-many", data)
    columns("columns-many-latest", data, libver="latest")

    frame = feature_frame(rows, 12)
    data = {"run": run, "ls": ls.astype(np.int32)} | {key: frame[key].to_numpy() for key in frame}

    def compound(path, records):
        with h5py.File(path, "w") as file:
            file.create_dataset("events", data=np.asarray(records).astype(records.dtype.descr), chunks=(32,), compression="gzip", shuffle=True)
    columns("compound", data, compound)
    for library in "blosc", "blosc:lz4", "blosc:zstd", "zlib", "blosc2:lz4":
        def table(path, records):
            with tables.open_file(path, "w") as file:
                file.create_table("/", "events", obj=np.asarray(records).astype(records.dtype.descr), filters=tables.Filters(5, library))
        columns(f"pytables-table-{library.replace(':', '-')}", data, table, **({"optional": True} if "blosc2" in library else {}))

    def carray(library, bitshuffle=False, shuffle=True):
        name = f"pytables-{library.replace(':', '-')}{'-bitshuffle' if bitshuffle else '' if shuffle else '-no-shuffle'}"
        path = OUT / f"hdf5-{name}.h5"
        with tables.open_file(path, "w") as file:
            filters = tables.Filters(5, library, shuffle=shuffle and not bitshuffle, bitshuffle=bitshuffle)
            file.create_carray("/", "X", obj=x, filters=filters, chunkshape=(64, 40))
            file.create_carray("/", "run", obj=run, filters=filters)
            file.create_carray("/", "ls", obj=ls, filters=filters)
        with h5py.File(path) as file:
            array_case(path.stem, path, "hdf5", file, "X", written=x, **({"optional": True} if library in ("bzip2",) or "blosc2" in library else {}))

    for library in "zlib", "blosc", "blosc:blosclz", "blosc:lz4", "blosc:lz4hc", "blosc:zlib", "blosc:zstd", "blosc2:zstd", "bzip2":
        carray(library)
    carray("blosc:lz4", bitshuffle=True)
    carray("blosc:zstd", shuffle=False)
    path = OUT / "hdf5-pytables-maps-blosc.h5"
    with tables.open_file(path, "w") as file:
        file.create_earray("/occupancy/EB", "digi", obj=maps, filters=tables.Filters(9, "blosc:zstd"), createparents=True)
        file.create_carray("/", "run", obj=run)
        file.create_array("/", "ls", obj=ls)
    with h5py.File(path) as file:
        arrays = {name: file[name] for name in ("run", "ls", "occupancy/EB/digi")}
        array_case(path.stem, path, "hdf5", arrays, "occupancy/EB/digi", written=maps)

    frame.insert(0, "run", run)
    frame.insert(1, "ls", ls)
    ways = {"fixed": {}, "table": {"format": "table"}, "table-columns": {"format": "table", "data_columns": True}}
    ways["table-columns-blosc"] = ways["table-columns"] | {"complib": "blosc", "complevel": 5}
    for name, options in ways.items():
        path = OUT / f"hdf5-pandas-{name}.h5"
        path.unlink(missing_ok=True)
        frame.to_hdf(path, key="df", **options)
        wide(path.stem, path, "hdf5", pd.read_hdf(path, "df"), optional=True)


# NumPy


def make_numpy():
    rows = 50

    def npy(name, values, version=None):
        path = OUT / f"npy-{name}.npy"
        with open(path, "wb") as file:
            np.lib.format.write_array(file, values, version=version)
        array_case(path.stem, path, "npy", {"x": np.load(path)}, "x", written=values)

    npy("bool", random.random((rows, 9)) < 0.4)
    for code in "i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 >i2 >u2 >i4 >u4 >i8 >u8 >f2 >f4 >f8".split():
        dtype = np.dtype(code)
        values = numbers(dtype, rows, 21)
        if dtype.kind == "u" and dtype.itemsize == 8:
            values[4, :3] = 2**64 - 1, 2**63, 2**63 + 2**39 + 1
        npy(f"{'big-' if code[0] == '>' else ''}{dtype.name}", values)
    x, maps = reals(rows, 21), counts(rows, 7, 11)
    npy("fortran", np.asfortranarray(x))
    npy("big-fortran", np.asfortranarray(x.astype(">f4")))
    npy("maps", maps)
    npy("maps-fortran", np.asfortranarray(maps.astype(np.float32)))
    npy("version-2", x, (2, 0))
    npy("version-3", x, (3, 0))
    npy("one-column", x[:, :1].copy())
    npy("one-row", x[:1].copy())

    def npz(name, matrix, save=np.savez, me=None, extra=(), **arrays):
        path = OUT / f"npz-{name}.npz"
        save(path, **arrays)
        with np.load(path) as archive:
            array_case(path.stem, path, "npz", archive, matrix, written=arrays[matrix], extra=extra, data=choose(me))

    run, ls = lumisections(rows)
    y = (x[:, 0] > 0).astype(np.int64)
    for name, save in ("stored", np.savez), ("compressed", np.savez_compressed):
        npz(name, "X", save, X=x, y=y, extra=("y",))
        npz(f"{name}-uint8", "X", save, X=small_counts(np.uint8, rows, 9), y=y.astype(np.uint8), extra=("y",))
        npz(f"{name}-fortran", "X", save, X=np.asfortranarray(x), y=y, extra=("y",))
        npz(f"{name}-run-ls", "hist", save, hist=counts(rows, 30), run=run, ls=ls.astype(np.uint16), weight=np.abs(x[:, 1]), extra=("weight",))
        npz(f"{name}-maps", "B", save, me="B", A=maps, B=maps[:, ::-1].astype(np.float32), C=maps[:, :3], run_number=run, ls_number=ls)
    npz("one-map", "occupancy", occupancy=maps)
    columns = {"eta": x[:, 0], "nHits": maps[:, 0, 0], "pt": x[:, 1].astype(np.float32)}
    for name, data in ("columns", columns), ("columns-run-ls", {"eta": x[:, 0], "ls": ls, "pt": x[:, 1], "run": run}):
        path = OUT / f"npz-{name}.npz"
        np.savez(path, **data)
        with np.load(path) as archive:
            wide(path.stem, path, "npz", pd.DataFrame(dict(archive)))


# DIALS


def json_table(results, me=None):
    if me is not None:
        results = [row for row in results if row.get("me", row.get("title")) == me]
    table = {key: [row.get(key) for row in results] for key in results[0]}
    return table | {"data": np.array(table["data"])}


def make_dials():
    rows = 30
    run, ls = lumisections(rows)

    def make(name, table, written, page=None, me=None, extra=(), indent=None):
        path = OUT / f"dials-{name}.json"
        plain = lambda value: value.item() if isinstance(value, np.generic) else value
        results = [dict(zip(table, map(plain, row))) for row in zip(*table.values())]
        page = page or {"count": rows, "next": None, "previous": None}
        path.write_text(json.dumps(page | {"results": results}, indent=indent))
        lists(path.stem, path, "dials", json_table(json.loads(path.read_text())["results"], me), written=written, me=me, extra=extra)

    x, maps = counts(rows, 50), np.floor(np.abs(reals(rows, 48))).reshape(rows, 6, 8)
    make("1d", dials(run, ls, x), x, extra=("entries", "dataset"))
    make("1d-float", dials(run, ls, np.abs(reals(rows, 50))), None, indent=2)
    make("1d-whole-x-bin", dials(run, ls, x) | {"x_bin": [50] * rows}, x)
    make("2d", dials(run, ls, maps), maps)
    make("2d-several-mes", dials(run, ls, maps, me=["A/B é", "A/C"] * (rows // 2)), maps[::2], me="A/B é")
    cursor = {"next": "cj0yMDI0LTAxLTE3", "previous": None}
    make("cursor-1d", dials(run, ls, x), x, page=cursor, indent=2)
    make("cursor-2d", dials(run, ls, maps), maps, page=cursor | {"exact_total": None})


# Real data




def some(elements):
    """At most three, spread evenly."""
    elements = list(dict.fromkeys(elements))
    return elements[:: max(1, -(-len(elements) // 3))][:3]


def read_shared(folder):
    def slug(path, me=""):
        return re.sub(r"[^A-Za-z0-9]+", "-", f"shared-{path.relative_to(folder).with_suffix('')}-{me or ''}").strip("-")

    def found(pattern):
        paths = sorted(folder.glob(pattern))
        if not paths:
            print(f"{folder / pattern}: absent, skipped")
        return paths

    for path in found("ml4dqm_sharedtools_2017/*.txt") + found("mlplayground_2018a/*.csv"):
        frame = pd.read_csv(path, dtype={"Json": str})
        elements = frame.hname.unique()
        extra = [name for name in ("Json", "entries") if name in frame]
        for me in some(elements) if len(elements) > 1 else [None]:
            lists(slug(path, me), path, "ml4dqm", text_lists(frame, me), me=me, extra=extra)
    for path in found("zerobias2017b_chargeinner/small/train.csv"):
        wide(slug(path), path, "csv", pd.read_csv(path), extra=("y", "good_pixel"))
    for path in found("dqmio_parquet_2023c/*.parquet"):
        table = arrow_lists(parquet.read_table(path))
        is_map = len(bins_of(table, table["histo"].shape[1])[0]) == 2
        lists(slug(path), path, "parquet", table, extra=("entries", "hname"), **({"y_fastest": True} if is_map else {}))
    for path in found("hcal_occupancy_2017/*.hdf5") + found("rpc_occupancy/*.hdf5"):
        with h5py.File(path) as file:
            for me in some(file):
                array_case(slug(path, me), path, "hdf5", {me: file[me]}, me, data=choose(me if len(file) > 1 else None))
    for path in found("adbench/*.npz"):
        try:
            with np.load(path, allow_pickle=False) as archive:
                array_case(slug(path), path, "npz", archive, "X", extra=("y",))
        except ValueError as error:
            print(f"{path}: {error}, skipped")
    for path in found("dials_mocks/histograms*.json"):
        results = json.loads(path.read_text())["results"]
        for me in some(row["title"] for row in results):
            lists(slug(path, me), path, "dials", json_table(results, me), me=me, extra=("entries",))


def main():
    global OUT
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    OUT = arguments.out.resolve()
    OUT.mkdir(parents=True, exist_ok=True)
    for make in make_list_csv, make_wide_csv, make_parquet, make_arrow, make_hdf5, make_numpy, make_dials:
        make()
    read_shared(arguments.shared.resolve())
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(cases)} cases, {sum(file.stat().st_size for file in OUT.iterdir()) / 1e6:.0f} MB in {OUT}")


if __name__ == "__main__":
    main()
