"""Scores ten million events with a network 9-128-64-32-64-128-9: Lumisift beside ONNX Runtime and PyTorch, whole processes.

Usage, from the repository root, after `cargo build --release` and `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/scoring.py [--events 10000000] [--rounds 3] [--file npy|h5|parquet] [--device cuda]

From the start of a process to its end: imports, reading the same file (9 features in single precision, made here), scaling, scoring,
and writing scores to Parquet, on all cores. Lumisift is `lumisift score`, whose table has the file, the threshold, a verdict and more
beside each score; peers read with NumPy, h5py or pyarrow and write event, score and flag with pyarrow. The network is trained here by
Lumisift; peers take its weights, scaling and threshold from the experiment folder, and have to come to the same scores. ONNX Runtime
gets scaling and errors as part of its network. Each peer uses the batch size, of 4,096 to 65,536 events (on a GPU to 1,048,576), that
was fastest on the first million. With `--device cuda` Lumisift and PyTorch use the GPU, the latter from pinned memory.
"""
import json
import sys
import time
from pathlib import Path

from common import CORES, Table, installed, measure, parser, run, say, workplace

FEATURES, HIDDEN, LATENT = 9, [128, 64], 32
BATCHES = {"cpu": [4096, 8192, 16384, 32768, 65536], "cuda": [65536, 262144, 1048576]}
TRAINED_ON, TRIED_ON = 100_000, 1_000_000
TOLERANCE = 1e-3
PEERS = {"ONNX Runtime": "onnx", "PyTorch": "torch"}


def write_events(folder, count, kind):
    """Events with features that depend on each other, in the file's own layout, and the first of them to train on."""
    import numpy as np

    random = np.random.default_rng(1)
    mix = random.normal(0, 1, (FEATURES, FEATURES)).astype(np.float32)
    x = np.empty((count, FEATURES), np.float32)
    for start in range(0, count, 1_000_000):
        x[start : start + 1_000_000] = random.standard_normal((min(1_000_000, count - start), FEATURES), np.float32) @ mix + 50
    paths = []
    for name, rows in (("train", x[:TRAINED_ON]), ("events", x)):
        path = folder / f"{name}.{kind}"
        if kind == "npy":
            np.save(path, rows)
        elif kind == "h5":
            import h5py

            with h5py.File(path, "w") as file:
                file["x"] = rows
        else:
            import pyarrow as pa
            import pyarrow.parquet as parquet

            columns = {f"x_{i}": np.ascontiguousarray(rows[:, i]) for i in range(FEATURES)}
            parquet.write_table(pa.table(columns), path, row_group_size=1 << 20)
        paths.append(path)
    return paths


def read_events(path):
    import numpy as np

    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return file["x"][...]
    import pyarrow.parquet as parquet

    return np.stack([column.to_numpy() for column in parquet.read_table(path).columns], axis=1)


# The peers, in processes of their own.


def load(experiment):
    """Layers as (weights [out, in], bias, activation), what to subtract and to divide by, and the threshold."""
    import numpy as np
    from safetensors.numpy import load_file

    weights = load_file(experiment / "model/all.safetensors")
    count = len(HIDDEN) + 1
    layers = [(weights[f"{half}.{i}.weight"], weights[f"{half}.{i}.bias"]) for half in ("encoder", "decoder") for i in range(count)]
    scaler = json.loads((experiment / "scaler.json").read_text())
    [step] = scaler["steps"]
    shift, divisor = (np.array(step[key], np.float32) for key in ("shift", "divisor"))
    return layers, shift, divisor, json.loads((experiment / "thresholds.json").read_text())[0]["value"]


def onnx_scorer(layers, shift, divisor, device, batch):
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def node(kind, inputs, **attributes):
        out = f"v{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def constant(value):
        constants.append(numpy_helper.from_array(value, f"c{len(constants)}"))
        return constants[-1].name

    scaled = node("Div", [node("Sub", ["x", constant(shift)]), constant(divisor)])
    y = scaled
    for i, (weight, bias) in enumerate(layers):
        y = node("Gemm", [y, constant(weight), constant(bias)], transB=1)
        if i < len(layers) - 1:
            y = node("Relu", [y])
    difference = node("Sub", [y, scaled])
    squares = node("Mul", [difference, difference])
    nodes.append(helper.make_node("ReduceMean", [squares, constant(np.array([1]))], ["score"], keepdims=0))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, FEATURES])
    scores = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None])
    graph = helper.make_graph(nodes, "score", [x], [scores], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(CORES)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def score(x, out):
        for i in range(0, len(x), batch):
            [out[i : i + batch]] = session.run(None, {"x": x[i : i + batch]})

    return score


def torch_scorer(layers, shift, divisor, device, batch):
    import torch

    torch.set_num_threads(len(CORES))
    modules = []
    for weight, bias in layers:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        modules += [layer, torch.nn.ReLU(inplace=True)]
    model = torch.nn.Sequential(*modules[:-1]).to(device)
    shift, divisor = (torch.from_numpy(values).to(device) for values in (shift, divisor))

    def score(x, out):
        x, out = torch.from_numpy(x), torch.from_numpy(out)
        buffer = torch.empty(batch, FEATURES, pin_memory=True) if device == "cuda" else None
        results = torch.empty(len(x), device=device) if device == "cuda" else out
        with torch.inference_mode():
            for i in range(0, len(x), batch):
                rows = x[i : i + batch]
                if buffer is not None:
                    torch.cuda.current_stream().synchronize()  # the buffer is free again
                    rows = buffer[: len(rows)].copy_(rows).to(device, non_blocking=True)
                scaled = (rows - shift) / divisor
                results[i : i + batch] = (model(scaled) - scaled).square_().mean(1)
            if results is not out:
                out.copy_(results)

    return score


def peer(kind, device, experiment, events, out, batch):
    """Scores the file; without a batch size it says which is the fastest instead."""
    import numpy as np

    layers, shift, divisor, threshold = load(Path(experiment))
    make = {"onnx": onnx_scorer, "torch": torch_scorer}[kind]
    x = read_events(Path(events))
    if batch is None:
        x, times = x[:TRIED_ON], {}
        scores = np.empty(len(x), np.float32)
        for batch in BATCHES[device]:
            score = make(layers, shift, divisor, device, batch)
            score(x[:batch], scores[:batch])
            for _ in range(2):
                start = time.perf_counter()
                score(x, scores)
                times[batch] = min(times.get(batch, float("inf")), time.perf_counter() - start)
        print(min(times, key=times.get))
        return
    scores = np.empty(len(x), np.float32)
    make(layers, shift, divisor, device, batch)(x, scores)
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"event": np.arange(len(x)), "score": scores, "flagged": scores > threshold}), out)


# What is measured.


def same_scores(ours, theirs):
    """Largest difference, relative to the mean score, of the first hundred thousand."""
    import numpy as np
    import pyarrow.parquet as parquet

    first, second = (next(parquet.ParquetFile(path).iter_batches(100_000, columns=["score"]))["score"].to_numpy() for path in (ours, theirs))
    return float(np.abs(first - second).max() / first.mean())


def main():
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--events", type=int, default=10_000_000)
    arguments.add_argument("--file", choices=["npy", "h5", "parquet"], default="npy")
    arguments.add_argument("--device", choices=BATCHES, default="cpu")
    options = arguments.parse_args()
    if options.worker:
        peer(**json.loads(options.worker))
        return
    missing = [name for name in ("numpy", "pyarrow", "safetensors", *(["h5py"] if options.file == "h5" else [])) if not installed(name)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")
    with workplace(options) as folder:
        table = Table(options)
        training, events = write_events(folder, options.events, options.file)
        experiment, config, scores = folder / "experiment", folder / "events.toml", folder / "lumisift.parquet"
        config.write_text(
            f'data.train = ["{training}"]\nsplit.valid = 0.0\nscale.kind = "min-max"\nthreshold.on = "train"\n'
            f"model = {{ hidden = {HIDDEN}, latent = {LATENT} }}\ntrain = {{ epochs = 3, batch_size = 512 }}\n"
        )
        run([options.lumisift, "train", config, "--device", "cpu", "--out", experiment, "-q"])
        command = [options.lumisift, "score", experiment, "--data", events, "--out", scores, "--device", options.device, "-q"]
        programs = {"Lumisift": lambda: measure(command)[1]}
        try:
            run(command)  # the file and, on a GPU, kernels into their caches
        except RuntimeError as error:
            table.skip("Lumisift", str(error))
            programs = {}
        for who, kind in PEERS.items() if programs else []:
            need = ["onnx", "onnxruntime"] if kind == "onnx" else ["torch"]
            if not all(map(installed, need)):
                table.skip(who, f"{' or '.join(need)} is not installed")
                continue
            if kind == "onnx" and options.device == "cuda":
                continue
            task = {"kind": kind, "device": options.device, "experiment": str(experiment), "events": str(events), "out": str(folder / f"{kind}.parquet")}
            worker = [sys.executable, __file__, "--worker"]
            try:
                say(f"{who} looks for its batch size")
                task["batch"] = int(run([*worker, json.dumps(task | {"batch": None})]).split()[-1])
                run([*worker, json.dumps(task)])
            except RuntimeError as error:
                table.skip(who, str(error))
                continue
            difference = same_scores(scores, task["out"])
            if not difference < TOLERANCE:
                table.skip(who, f"its scores differ by {difference:.1e} of the mean score")
                continue
            say(f"{who}: batches of {task['batch']}, scores differ by up to {difference:.1e} of the mean")
            done = [*worker, json.dumps(task)]
            programs[f"{who}, batches of {task['batch']}"] = lambda done=done: measure(done)[1]
        if programs:
            written = [scores, *(folder / f"{kind}.parquet" for kind in PEERS.values())]
            where = ", cuda" if options.device == "cuda" else ""
            table.take_turns(f"score {options.events:,} events, {options.file}{where}", programs, "s")
            table.note("scoring: " + ", ".join(f"{path.stem} {path.stat().st_size / 1e6:.0f} MB" for path in written if path.exists()) + " written")
        table.finish()


if __name__ == "__main__":
    main()
