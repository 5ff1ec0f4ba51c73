"""Time of a training step: Lumisift beside eager PyTorch, one thread each, Adam, mean squared error.

Usage, from the repository root, after `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/step_vs_pytorch.py [--rounds 3]

The two take turns, so that a busy machine slows both. PyTorch's Adam is timed as it comes and as its fused form. A ratio is
PyTorch's time over Lumisift's: above 1, Lumisift is faster.
"""
import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"
import torch

ROOT = Path(__file__).resolve().parents[2]
OURS = ["cargo", "bench", "--quiet", "--bench", "step", "--", "--json"]
# Network: batch, activation, output activation.
NETWORKS = {
    "52-103-82-103-52": (42, torch.nn.ReLU, torch.nn.Sigmoid),
    "273-150-20-150-273": (128, torch.nn.Sigmoid, torch.nn.Identity),
}
WARM_UP, REPEATS, STEPS = 200, 15, 100


def lumisift():
    result = json.loads(subprocess.run(OURS, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    return {name: result[name]["microseconds"] for name in NETWORKS}


def pytorch_step(name, fused):
    """Median microseconds a step over REPEATS times STEPS steps."""
    batch, activation, output_activation = NETWORKS[name]
    widths = [int(width) for width in name.split("-")]
    torch.manual_seed(1)
    layers = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(inputs, outputs), activation()]
    layers[-1] = output_activation()
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    x = torch.rand(batch, widths[0])

    def steps(count):
        for _ in range(count):
            loss = torch.nn.functional.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    steps(WARM_UP)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        steps(STEPS)
        times.append((time.perf_counter() - start) / STEPS * 1e6)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    lumisift()  # builds the benchmark, so that no round waits for the compiler
    print(f"PyTorch {torch.__version__}, microseconds a step")
    print(f"{'round':5}  {'network':18}  {'lumisift':>8}  {'PyTorch':>8}  {'ratio':>5}  {'fused':>8}  {'ratio':>5}")
    ratios = {name: ([], []) for name in NETWORKS}
    for turn in range(1, rounds + 1):
        ours = lumisift()
        for name in NETWORKS:
            plain, fused = pytorch_step(name, False), pytorch_step(name, True)
            pair = plain / ours[name], fused / ours[name]
            ratios[name][0].append(pair[0])
            ratios[name][1].append(pair[1])
            print(f"{turn:5}  {name:18}  {ours[name]:8.1f}  {plain:8.1f}  {pair[0]:5.2f}  {fused:8.1f}  {pair[1]:5.2f}", flush=True)
    for name, (plain, fused) in ratios.items():
        print(f"median ratio of {name}: {statistics.median(plain):.2f}, fused {statistics.median(fused):.2f}")


if __name__ == "__main__":
    main()
