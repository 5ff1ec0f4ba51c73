"""The CMS 2010B study from the table to the report: Lumisift beside eager PyTorch with pandas and scikit-learn, on the CPU.

Usage, from the repository root, after `cargo build --release` and `scripts/bench/setup`:
    target/release/lumisift synth cms2010b data/cms2010b --rows 40000
    .venv/bench/bin/python scripts/bench/cms2010b_vs_pytorch.py data/cms2010b [--rounds 3] [--epochs 128] [--threads 2] [--processes]

Lumisift is one command, `train` with configs/cms2010b-notebook.toml, which also writes its experiment folder. PyTorch does the same
work in a program of its own: read, standardise, train four autoencoders, errors, cuts, areas under ROC curves, one-class SVMs; it
goes through all 2694 features, as the notebook does, one channel after the other. With `--processes` there is a second PyTorch
program with what an experienced user would change: only the columns of the four channels are read, the L2 terms are left to the
optimiser (the same gradient), and the channels are shared out to as many single-threaded processes as the others have threads.

Each program is started anew in each round and they take turns. Wall time is from the start of a process to its end, imports
included. A ratio is PyTorch's wall time over Lumisift's: above 1, Lumisift is faster. "Others" is what the rest of the machine took
of all cores meanwhile: where it is more than a tenth the ratio does not count for the median, as PyTorch's threads wait for each
other after every operation and suffer far more from a busy core than their share. Lumisift runs as a copy of the program that was
there at the start, so that a build meanwhile does not change what is measured. Peak memory is the highest resident size of the
process (wait4) or, where it is larger, the highest of two samples a second of the memory of the process and its workers together,
pages that they share counted once (PSS). Training is the sum of the channels' training times over what the cores had: wall time
times the channels that are trained side by side.
"""
import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# PyTorch and the rest are imported by the workers only: the peak of a process starts at the size of the one that started it.
ROOT = Path(__file__).resolve().parents[2]
LUMISIFT = ROOT / "target/release/lumisift"
CONFIG = ROOT / "configs/cms2010b-notebook.toml"
STREAMS = ["minibias", "muons", "photons"]
CHANNELS = [("muons", "muons"), ("photons", "photons"), ("minibias", "PF"), ("minibias", "calo")]
STATISTICS = ["mean", "p1", "p25", "p50", "p75", "p99", "std"]
HIDDEN, LATENT, BATCH, L2, NU, PERCENTILE = 150, 20, 128, 1e-4, 0.1, 95
QUIET = 0.1


# What PyTorch does, in a process of its own.


def certified(path, sections):
    """Which of the sections (run, lumisection) the JSON has."""
    ranges = json.loads(path.read_text())
    good = {(int(run), ls) for run, some in ranges.items() for first, last in some for ls in range(first, last + 1)}
    return [section in good for section in sections]


def prepare(folder, only_channels):
    """The scaled inputs of each channel, the weights, and what is good by each label, of all rows with weight."""
    import numpy as np
    import pandas as pd
    import pyarrow.parquet as parquet

    path = folder / "features.parquet"
    columns = parquet.read_schema(path).names
    luminosities = [f"_instantLumi_{stream}" for stream in STREAMS]
    technical = ["_run", "_luminosityBlock", *luminosities]
    features = sorted(set(columns) - set(technical))
    groups = {}
    for stream, particle in CHANNELS:
        own = [name for name in features if name.startswith(f"{stream}_{particle}_")]
        groups[f"{stream}/{particle}"] = own + [f"{stream}_instantLumi__{statistic}" for statistic in STATISTICS]
    used = sorted(set().union(*groups.values())) if only_channels else features
    frame = pd.read_parquet(path, columns=used + technical)

    weights = frame[luminosities].max(axis=1).to_numpy(np.float32)
    kept = weights > 0
    scaled = {}
    for name in used:
        values = frame[name].to_numpy(np.float64)
        mean, std = values.mean(), values.std()
        if std > 1e-12 * abs(mean):  # constant columns stay as they are
            values = (values - mean) / std
        scaled[name] = values[kept].astype(np.float32)
    inputs = {channel: np.stack([scaled[name] for name in names], axis=1) for channel, names in groups.items()}

    sections = list(zip(frame["_run"].astype(int), frame["_luminosityBlock"].astype(int)))
    labels = {"good": np.load(folder / "labels.npy") == 1}
    for file in sorted((folder / "Quality2010").glob("Cert_13TeV_2010_*.txt")):
        labels[file.stem.removeprefix("Cert_13TeV_2010_")] = np.array(certified(file, sections))
    labels = {name: good[kept] for name, good in labels.items()}
    return len(frame), len(features), inputs, weights[kept], labels


def autoencoder(width):
    import torch

    widths = [width, HIDDEN, LATENT, HIDDEN, width]
    layers = []
    for i in range(4):
        linear = torch.nn.Linear(widths[i], widths[i + 1])
        torch.nn.init.xavier_uniform_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        layers += [linear, torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers[:-1])


def fit(model, x, weights, epochs, l2_by_optimizer):
    """Trains, and returns the mean loss of the last epoch's batches without the L2 terms."""
    import torch

    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    biases = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    decay = 2 * L2 if l2_by_optimizer else 0.0
    optimizer = torch.optim.Adadelta([{"params": matrices, "weight_decay": decay}, {"params": biases}], lr=1.0, rho=0.95, eps=1e-6)
    mean_loss = None
    for _ in range(epochs):
        losses = []
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            batch, batch_weights = x[rows], weights[rows]
            errors = (model(batch) - batch).square().sum(1)
            loss = (batch_weights * errors).sum() / batch_weights.sum()
            losses.append(loss.item())
            if not l2_by_optimizer:
                loss = loss + L2 * sum(matrix.square().sum() for matrix in matrices)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        mean_loss = statistics.mean(losses)
    return mean_loss


def study_channel(name):
    """Trains the autoencoder of a channel, then says how well it and an SVM on its latents tell good rows from others."""
    import numpy as np
    import torch
    from sklearn.metrics import roc_auc_score
    from sklearn.svm import OneClassSVM

    inputs, weights, labels, epochs, l2_by_optimizer = shared
    torch.manual_seed(list(inputs).index(name))
    x, good = torch.from_numpy(inputs[name]), labels["good"]
    training_rows, training_weights = x[torch.from_numpy(good)], torch.from_numpy(weights[good])
    model = autoencoder(x.shape[1])
    start = time.perf_counter()
    loss = fit(model, training_rows, training_weights, epochs, l2_by_optimizer)
    trained = time.perf_counter()

    with torch.inference_mode():
        errors = (model(x) - x).square().sum(1).numpy()
        latents = model[:4](x).numpy()
        share = training_weights / training_weights.sum()
        mean = share @ training_rows
        mean_field_error = float((training_rows - mean).square().sum(1) @ share)
    area = {label: None if ok.all() or not ok.any() else roc_auc_score(~ok, errors) for label, ok in labels.items()}
    cut = np.percentile(np.log(errors[good] / mean_field_error), PERCENTILE)
    svm = OneClassSVM(nu=NU, gamma=2 / x.shape[1]).fit(latents[good], sample_weight=weights[good])
    outside = float((svm.decision_function(latents[~good]) < 0).mean()) if not good.all() else None
    return name, {
        "loss": loss,
        "seconds": trained - start,
        "after": time.perf_counter() - trained,
        "mean_field_error": mean_field_error,
        "ae_error": float(errors[good] @ share.numpy()),
        "cut": float(cut),
        "auc": area,
        "support": len(svm.support_),
        "outside": outside,
    }


def pytorch(folder, epochs, threads, processes):
    """The whole study in PyTorch, in this process or with workers where `processes` is above 0."""
    global shared
    start = time.perf_counter()
    import sklearn.metrics
    import sklearn.svm
    import torch

    torch.set_num_threads(1 if processes else threads)
    torch.optim.Adadelta([torch.zeros(1)])  # the first optimiser imports much more of PyTorch: that is no training
    imported = time.perf_counter()
    rows, features, inputs, weights, labels = prepare(folder, processes > 0)
    shared = inputs, weights, labels, epochs, processes > 0
    read = time.perf_counter()
    if processes:
        # Forked, so that imports and data are there already. The longest go first.
        by_width = sorted(inputs, key=lambda name: -inputs[name].shape[1])
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            results = dict(pool.imap(study_channel, by_width, chunksize=1))
            pool.close()
            pool.join()
    else:
        results = dict(map(study_channel, inputs))
    stages = {"imports": imported - start, "table": read - imported}
    print(json.dumps({"version": torch.__version__, "rows": rows, "features": features, "stages": stages, "channels": results}))


# What is measured.


def sample_memory(pid, ended, peak):
    """Keeps in `peak` the most memory seen that a process and its children have together, in bytes."""
    while not ended.wait(0.5):
        total = 0
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for one in [pid, *children]:
                total += next(int(line.split()[1]) for line in open(f"/proc/{one}/smaps_rollup") if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):  # one of them has just ended
            continue
        peak[0] = max(peak[0], total)


def busy_seconds():
    """CPU seconds that all processes of the machine have had."""
    user, nice, system, _idle, _waiting, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def measure(command, threads):
    """Runs a command; returns its output, and what it took: seconds, the share others had of all cores, peak memory in bytes."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    ended, peak = threading.Event(), [0]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        busy, start = busy_seconds(), time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err)
        sampler = threading.Thread(target=sample_memory, args=(process.pid, ended, peak))
        sampler.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            busy = busy_seconds() - busy
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            ended.set()
            sampler.join()
            if process.returncode is None:
                process.kill()
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            sys.exit(f"{command[0]} ended with {process.returncode}:\n{err.read()}")
        cpu = usage.ru_utime + usage.ru_stime
        others = max(0.0, busy - cpu) / (wall * os.cpu_count())
        return out.read(), {"wall": wall, "cpu": cpu, "others": others, "peak": max(usage.ru_maxrss * 1024, peak[0])}


def lumisift(program, folder, epochs, threads):
    with tempfile.TemporaryDirectory() as place:
        sets = {
            "data.train": json.dumps([str(folder / "features.parquet")]),
            "labels.good": json.dumps(str(folder / "labels.npy")),
            "labels.subsystems.folder": json.dumps(str(folder / "Quality2010")),
            "train.epochs": str(epochs),
        }
        command = [program, "train", CONFIG, "--device", "cpu", "--out", f"{place}/out", "--force", "-q"]
        for key, value in sets.items():
            command += ["--set", f"{key}={value}"]
        _, taken = measure([str(part) for part in command], threads)
        report = json.loads(Path(f"{place}/out/report.json").read_text())
    area = {one["channel"]: one["auc"] for one in report["auc"] if one["labels"] == "good"}
    channels = {}
    for one in report["channels"]:
        training = one["training"]
        assert training["epochs"] == epochs, (one["name"], training)
        channels[one["name"]] = {
            "loss": training["train_loss"],
            "seconds": training["seconds"],
            "mean_field_error": one["mean_field_error"]["sum"],
            "ae_error": one["ae_error"]["sum"],
            "cut": one["log_cut"],
            "auc": {"good": area[one["name"]]},
            "support": one["svm"]["support"],
        }
    return {**taken, "side_by_side": min(threads, len(channels)), "channels": channels}


def pytorch_program(folder, epochs, threads, processes):
    task = json.dumps([str(folder), epochs, threads, processes])
    out, taken = measure([sys.executable, __file__, "--worker", task], threads)
    return {**taken, "side_by_side": max(1, min(processes, len(CHANNELS))), **json.loads(out)}


def warm_up(program, folder):
    """Brings programs and data into the system's cache, so that the first round does not wait for the disk."""
    subprocess.run([program, "--version"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-c", "import pandas, pyarrow.parquet, sklearn.metrics, sklearn.svm, torch"], check=True)
    with open(folder / "features.parquet", "rb") as file:
        while file.read(1 << 20):
            pass


def print_round(turn, results, threads, epochs):
    ours, theirs = results["lumisift"], results["PyTorch"]
    rows, features = theirs["rows"], theirs["features"]
    table = rows * features * 4
    if turn == 1:
        print(f"PyTorch {theirs['version']}, threads: {threads}, epochs: {epochs}; {rows} rows of {features} features: {table / 1e6:.1f} MB as float32")
        print(f"{'round':5}  {'':20}  {'wall s':>8}  {'ratio':>6}  {'CPU s':>8}  {'others':>6}  {'training':>8}  {'peak MB':>8}  {'/ table':>7}")
    for who, result in results.items():
        training = sum(channel["seconds"] for channel in result["channels"].values()) / result["side_by_side"] / result["wall"]
        ratio = "" if result is ours else f"{result['wall'] / ours['wall']:.2f}"
        print(f"{turn:5}  {who:20}  {result['wall']:8.2f}  {ratio:>6}  {result['cpu']:8.2f}  {result['others']:6.0%}  {training:8.0%}", end="  ")
        print(f"{result['peak'] / 1e6:8.0f}  {result['peak'] / table:7.2f}", flush=True)


def print_channels(results):
    print("\nthe last round by channel: seconds of training; last epoch's mean loss without L2 terms; errors of the good rows; ln cut;")
    print("area under the ROC curve, good against bad; support vectors")
    print(f"{'channel':15}  {'':20}  {'seconds':>8}  {'loss':>8}  {'mean-f.':>8}  {'AE':>8}  {'cut':>7}  {'AUC':>6}  {'support':>7}")
    for channel in results["PyTorch"]["channels"]:
        for who, result in results.items():
            one = result["channels"][channel]
            area = "–" if one["auc"]["good"] is None else f"{one['auc']['good']:.4f}"
            print(f"{channel:15}  {who:20}  {one['seconds']:8.2f}  {one['loss']:8.3f}  {one['mean_field_error']:8.3f}", end="  ")
            print(f"{one['ae_error']:8.3f}  {one['cut']:7.3f}  {area:>6}  {one['support']:7}")
    for who, result in results.items():
        if who != "lumisift":
            stages = result["stages"]
            after = sum(one["after"] for one in result["channels"].values())
            print(f"{who}: imports {stages['imports']:.2f} s, table {stages['table']:.2f} s; after training {after:.2f} s, all channels together")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="with features.parquet, labels.npy and Quality2010")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", action="store_true", help="time PyTorch with as many single-threaded processes as threads, too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        folder, epochs, threads, processes = json.loads(arguments.worker)
        pytorch(Path(folder), epochs, threads, processes)
        return
    if not arguments.folder or not (arguments.folder / "features.parquet").is_file():
        parser.error("expected a folder with features.parquet; make one with: lumisift synth cms2010b FOLDER --rows 40000")
    if min(arguments.rounds, arguments.epochs, arguments.threads) < 1:
        parser.error("expected at least one round, epoch and thread")
    if not LUMISIFT.is_file():
        sys.exit(f"{LUMISIFT} is not there; build it with: cargo build --release")
    folder, epochs, threads = arguments.folder.resolve(), arguments.epochs, arguments.threads
    with tempfile.TemporaryDirectory() as place:
        copy = shutil.copy2(LUMISIFT, place)
        programs = {
            "lumisift": lambda: lumisift(copy, folder, epochs, threads),
            "PyTorch": lambda: pytorch_program(folder, epochs, threads, 0),
        }
        if arguments.processes:
            programs[f"PyTorch, processes: {threads}"] = lambda: pytorch_program(folder, epochs, threads, threads)
        warm_up(copy, folder)
        ratios = {who: [] for who in programs if who != "lumisift"}
        for turn in range(1, arguments.rounds + 1):
            results = {who: program() for who, program in programs.items()}
            print_round(turn, results, threads, epochs)
            for who, some in ratios.items():
                pair = results[who], results["lumisift"]
                if max(one["others"] for one in pair) <= QUIET:
                    some.append(pair[0]["wall"] / pair[1]["wall"])
    for who, some in ratios.items():
        said = f"{statistics.median(some):.2f} ({min(some):.2f}–{max(some):.2f})" if some else "–"
        print(f"median ratio, {who}: {said}, {len(some)} of {arguments.rounds} rounds with others at most {QUIET:.0%}")
    print_channels(results)



if __name__ == "__main__":
    main()
