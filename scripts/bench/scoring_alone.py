"""Scores rows that are in memory with a network 9-128-64-32-64-128-9: Lumisift beside ONNX Runtime and PyTorch, without reading and writing.

Usage, from the repository root, after `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/scoring_alone.py [--rounds 5] [--score-program PATH]

Two million rows, mean squared error of each, all cores; the median of five in each turn. Peers use the batch size that is fastest for
them. A ratio is Lumisift's rate over the peer's.
"""
import json
import statistics
import time
from pathlib import Path

from common import CORES, Table, Worker, answer_questions, installed, parser, run, workplace

WIDTHS = [9, 128, 64, 32, 64, 128, 9]
ROWS, REPEATS = 2_000_000, 5
BATCHES = [4096, 16384, 65536]


def onnx_scorer():
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(1)
    nodes, weights, value = [], [], "x"
    for i, (inputs, outputs) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        weights.append(numpy_helper.from_array(random.normal(0, 0.1, (inputs, outputs)).astype(np.float32), f"w{i}"))
        weights.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"b{i}"))
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"z{i}"]))
        value = f"z{i}"
        if i < len(WIDTHS) - 2:
            nodes.append(helper.make_node("Relu", [value], [f"a{i}"]))
            value = f"a{i}"
    nodes += [helper.make_node("Sub", [value, "x"], ["d"]), helper.make_node("Mul", ["d", "d"], ["s"])]
    nodes.append(helper.make_node("ReduceMean", ["s"], ["y"], axes=[1], keepdims=0))
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTHS[0]])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])]
    model = helper.make_model(helper.make_graph(nodes, "score", *ends, weights), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(CORES)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def torch_scorer():
    import torch

    torch.set_num_threads(len(CORES))
    layers = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])

    @torch.inference_mode()
    def score(x):
        x = torch.from_numpy(x)
        return (model(x) - x).square().mean(1).numpy()

    return score


def work(kind):
    import numpy as np

    score = {"onnx": onnx_scorer, "torch": torch_scorer}[kind]()
    x = np.random.default_rng(1).random((ROWS, WIDTHS[0]), np.float32)

    def seconds(batch):
        start = time.perf_counter()
        np.concatenate([score(x[i : i + batch]) for i in range(0, ROWS, batch)])
        return time.perf_counter() - start

    best = min(BATCHES, key=lambda batch: min(seconds(batch) for _ in range(2)))
    answer_questions(lambda _: {"value": statistics.median(seconds(best) for _ in range(REPEATS))})


def main():
    options = parser(__doc__, rounds=5)
    options.add_argument("--score-program", type=Path, metavar="PATH", help="the bench `score`, built before, instead of cargo")
    options = options.parse_args()
    if options.worker:
        return work(options.worker)
    ours = [options.score_program, "--bench", "--json"] if options.score_program else ["cargo", "bench", "-q", "--bench", "score", "--", "--json"]

    def lumisift():
        found = json.loads(run(ours))
        return {"value": found["rows"] / found["million_rows_per_second"] / 1e6, "others": 0.0}

    with workplace(options):
        table = Table(options)
        lumisift()  # builds the benchmark, so that no round waits for the compiler
        workers = {}
        for who, kind, package in (("ONNX Runtime", "onnx", "onnxruntime"), ("PyTorch", "torch", "torch")):
            if installed(package):
                workers[who] = Worker(__file__, kind)
            else:
                table.skip(who, "not installed")
        programs = {"Lumisift": lumisift} | {who: lambda worker=worker: worker.ask({}) for who, worker in workers.items()}
        table.take_turns(f"scoring {ROWS:,} rows in memory", programs, "s", goals={"ONNX Runtime": 1})
        for worker in workers.values():
            worker.end()
        table.finish()


if __name__ == "__main__":
    main()
