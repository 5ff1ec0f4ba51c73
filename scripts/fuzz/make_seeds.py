"""Small whole files of every format that lumisift reads, to be damaged by the fuzz run.

    make_seeds.py DIR

Files in DIR/features hold run, ls, label and the features a, b, c; files in DIR/histograms hold run, ls and histograms of 8 bins: the two
experiments that the fuzz run trains take any of them. DIR/beside has what is known beside the data.
"""
import csv
import gzip
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

ROWS = 48
BINS = 8
RUNS = (297050, 297056)


def identities():
    run = np.repeat(RUNS, ROWS // 2).astype("int64")
    return run, np.tile(np.arange(1, ROWS // 2 + 1), 2).astype("int64")


def features(folder, random):
    run, ls = identities()
    frame = pd.DataFrame({"run": run, "ls": ls, "label": np.arange(ROWS) % 7 != 0})
    for name in "abc":
        frame[name] = random.normal(10, 1, ROWS).round(3)
    text = frame.to_csv(index=False)
    (folder / "comma.csv").write_text(text)
    (folder / "semicolon.csv").write_text(frame.to_csv(index=False, sep=";"))
    (folder / "tab.csv").write_text(frame.to_csv(index=False, sep="\t", quoting=csv.QUOTE_ALL, lineterminator="\r\n"))
    (folder / "packed.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (folder / "packed.csv.zst").write_bytes(pa.compress(text.encode(), codec="zstd", asbytes=True))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
        pq.write_table(table, folder / f"{codec}.parquet", compression=codec, row_group_size=20)
    encodings = {"run": "DELTA_BINARY_PACKED", "ls": "DELTA_BINARY_PACKED", "note": "DELTA_BYTE_ARRAY", "a": "BYTE_STREAM_SPLIT", "b": "PLAIN", "c": "PLAIN"}
    noted = table.append_column("note", pa.array([f"note {i}" for i in range(ROWS)]))
    pq.write_table(noted, folder / "deltas.parquet", use_dictionary=False, column_encoding=encodings, data_page_version="2.0")
    odd = pa.table(
        {
            "run": pa.array([str(r) for r in run]),
            "ls": pa.array(ls).cast(pa.float64()),
            "label": pa.array(frame["label"]),
            "a": pa.array(frame["a"]).cast(pa.float32()).dictionary_encode(),
            "b": pa.array(frame["b"]).cast(pa.decimal128(9, 3)),
            "c": pa.array(frame["c"]).cast(pa.float16()),
            "nothing": pa.nulls(ROWS),
            "nested": pa.array([{"x": 1, "y": [1, 2]}] * ROWS),
            "time": pa.array(np.arange(ROWS), pa.timestamp("ms")),
        }
    )
    feather.write_feather(odd, folder / "odd.feather", compression="uncompressed")
    pq.write_table(odd.drop_columns(["c"]).append_column("c", pa.array(frame["c"])), folder / "odd.parquet")
    for codec in ("uncompressed", "lz4", "zstd"):
        feather.write_feather(table, folder / f"{codec}.feather", compression=codec)
    with pa.OSFile(str(folder / "stream.arrows"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=20)
    columns = {name: frame[name].to_numpy() for name in frame}
    for name, options in {
        "plain": {},
        "gzip": {"chunks": (16,), "compression": "gzip", "shuffle": True, "fletcher32": True},
        "lzf": {"chunks": (16,), "compression": "lzf"},
        "szip": {"chunks": (16,), "compression": "szip"},
        "offset": {"chunks": (16,), "scaleoffset": 3},
    }.items():
        with h5py.File(folder / f"{name}.h5", "w", libver="latest" if name == "gzip" else None) as file:
            for column, values in columns.items():
                options_of = {} if name == "offset" and values.dtype.kind != "f" or name == "szip" and values.dtype.kind == "b" else options
                file.create_dataset(column, data=values, **options_of)
                file[column].attrs["unit"] = "GeV"
    with h5py.File(folder / "odd.h5", "w", userblock_size=512) as file:
        group = file.create_group("group")
        for column, values in columns.items():
            group[column] = values.reshape(-1, 1) if column == "c" else values
        file["soft"] = h5py.SoftLink("/group/a")
        file["dangling"] = h5py.SoftLink("/nothing")
        file["far"] = h5py.ExternalLink("other.h5", "/d")
        file["words"] = np.array([b"x"] * ROWS, dtype=h5py.string_dtype())
        file["empty"] = h5py.Empty("f4")
        file["one"] = 3.5
        file["kind"] = np.zeros(ROWS, h5py.enum_dtype({"RED": 0, "BLUE": 1}, "i1"))
        file.create_virtual_dataset("virtual", h5py.VirtualLayout((3,), "f4"))
    with h5py.File(folder / "table.h5", "w") as file:
        file.create_dataset("table", data=np.rec.fromarrays(list(columns.values()), names=list(columns)), chunks=(16,), compression="gzip")
    frame.to_hdf(folder / "pandas.h5", key="df", format="table", index=False)
    frame.to_hdf(folder / "fixed.h5", key="df", format="fixed")
    np.savez(folder / "stored.npz", **columns)
    np.savez_compressed(folder / "deflated.npz", **columns)


def histograms(folder, random):
    run, ls = identities()
    counts = random.poisson(50, (ROWS, BINS)).astype("float32")
    lists = [row.astype(int).tolist() for row in counts]
    (folder / "run_297050.csv").write_text("fromlumi;histo\n" + "".join(f"{number};{row}\n" for number, row in zip(range(1, ROWS + 1), lists)))
    with open(folder / "ml4dqm.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["fromrun", "fromlumi", "hname", "histo", "Xbins", "Xmin", "Xmax"])
        writer.writerows([r, number, "me", str(row), BINS, 0, 1] for r, number, row in zip(run, ls, lists))
    columns = pd.DataFrame({"run": run, "ls": ls, **{f"bin_{i}": counts[:, i] for i in range(BINS)}})
    columns.to_csv(folder / "bins.csv", index=False)
    table = pa.table({"run_number": run, "ls_number": ls, "me": ["me"] * ROWS, "x_bin": [BINS] * ROWS, "data": lists})
    pq.write_table(table, folder / "lists.parquet", compression="zstd")
    feather.write_feather(table, folder / "lists.feather", compression="lz4")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(counts.ravel()), BINS)
    feather.write_feather(pa.table({"run": run, "ls": ls, "data": fixed}), folder / "fixed.feather", compression="zstd")
    view = pa.ListViewArray.from_arrays(np.arange(ROWS, dtype="int32") * BINS, np.full(ROWS, BINS, "int32"), pa.array(counts.ravel()))
    with pa.OSFile(str(folder / "views.arrow"), "wb") as sink:
        views = pa.table({"run": run, "ls": ls, "data": view})
        with pa.ipc.new_file(sink, views.schema) as writer:
            writer.write_table(views)
    for name, options in {"matrix": {}, "chunked": {"chunks": (16, BINS), "compression": "gzip", "shuffle": True}}.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["run"], file["ls"] = run, ls
            file.create_dataset("data", data=counts, **options)
    np.savez(folder / "matrix.npz", run=run, ls=ls, data=np.asfortranarray(counts))
    page = [{"run_number": int(r), "ls_number": int(number), "me": "me", "x_bin": BINS, "x_min": 0.0, "x_max": 1.0, "data": row} for r, number, row in zip(run, ls, lists)]
    (folder / "dials.json").write_text(json.dumps({"next": None, "previous": None, "results": page}))


def beside(folder):
    run, ls = identities()
    np.save(folder / "labels.npy", (np.arange(ROWS) % 7 != 0).astype("i1"))
    golden = {str(r): [[1, 10], [12, ROWS // 2]] for r in RUNS}
    (folder / "golden.json").write_text(json.dumps(golden))
    (folder / "list.txt").write_text("".join(f"{r} {number}\n" for r, number in zip(run, ls)))
    oms = {"run_number": run.tolist(), "lumisection_number": ls.tolist(), "pileup": [30.5] * ROWS, "beams_stable": [True] * ROWS}
    (folder / "oms.json").write_text(json.dumps(oms))
    hlt = {str(r): {"HLT_ZeroBias_v6": {"first_lumisection_number": list(range(1, ROWS // 2 + 1)), "rate": [10.0] * (ROWS // 2)}} for r in RUNS}
    (folder / "hlt.json").write_text(json.dumps(hlt))
    lines = ["#Data tag : v1", "#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/ub),avgpu,source"]
    lines += [f"{r}:6000,{number}:{number},06/01/17 10:00:00,STABLE BEAMS,6500,100.0,95.0,30.0,DT" for r, number in zip(run, ls)]
    (folder / "brilcalc.csv").write_text("\n".join(lines) + "\n")
    (folder / "decisions.csv").write_text("run,ls,decision,comment\n" + "".join(f"{r},{number},good,\n" for r, number in zip(run[:9], ls[:9])))
    (folder / "truth.csv").write_text("file,first_ls,last_ls,anomaly\ncomma.csv,1,3,hot\n")
    pq.write_table(pa.table({"run": run, "ls": ls, "pileup": [30.5] * ROWS}), folder / "side.parquet")


def main():
    place = Path(sys.argv[1])
    for number, (name, make) in enumerate({"features": features, "histograms": histograms}.items()):
        (place / name).mkdir(parents=True, exist_ok=True)
        make(place / name, np.random.default_rng(number))
    (place / "beside").mkdir(exist_ok=True)
    beside(place / "beside")


main()
