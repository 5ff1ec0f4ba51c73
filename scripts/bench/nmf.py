"""Non-negative matrix factorisation of occupancy maps, beside scikit-learn: the time to the same reconstruction error.

Usage, from the repository root, after `cargo build --release` and `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/nmf.py [--lumisections 4000] [--components 5] [--rounds 3]

One layer of `lumisift synth occupancy`, normalised as configs/pixel-nmf.toml does (the cross cut out, mean 1 per map, over the mean of
each bin), as a matrix in single precision for all. Of scikit-learn counts `fit`, start (nndsvd) included, after imports; of Lumisift the
seconds of training in history.csv, start included, up to the first epoch whose loss is that of the peer or less (each side's own figure
is checked against the other's components: Frobenius norm with coefficients found to the end). Notes say how the errors compare when
both are let run on. All cores for both.
"""
import csv
import json
import time
import warnings

from common import Table, Worker, answer_questions, measure, parser, run, settings, say, workplace

PEERS = {
    "scikit-learn NMF, cd": {"solver": "cd", "init": "nndsvd"},
    "scikit-learn NMF, mu": {"solver": "mu", "init": "nndsvda", "max_iter": 1000},
    "scikit-learn MiniBatchNMF": {"batch": 1024},
}
TO_THE_END = {"cd": {"tol": 1e-6, "max_iter": 2000}, "mu": {"tol": 1e-6, "max_iter": 2000}}


def normalised(folder, table):
    """The maps of a file as a matrix, and that of Lumisift's input."""
    import numpy as np
    import pandas as pd

    maps = np.stack([np.stack(rows) for rows in pd.read_parquet(table, columns=["data"])["data"]]).astype(np.float64)
    maps = maps[maps.sum((1, 2)) > 5e5]
    height, width = maps.shape[1:]
    keep = lambda bins, cut: [*range((bins - cut) // 2), *range((bins + cut) // 2, bins)]
    maps = maps[:, keep(height, 2)][:, :, keep(width, 8)].reshape(len(maps), -1)
    maps /= maps.mean(1, keepdims=True)
    mean = maps.mean(0)
    maps = np.divide(maps, mean, out=np.zeros_like(maps), where=mean > 0).astype(np.float32)
    np.save(folder / "maps.npy", maps)
    return maps.shape


def worker():
    import numpy as np
    from sklearn.decomposition import NMF, MiniBatchNMF, non_negative_factorization

    warnings.filterwarnings("ignore")

    def error(x, components):
        """Frobenius norm, coefficients found to the end."""
        start = np.ones((len(x), len(components)), np.float32)
        w, _, _ = non_negative_factorization(
            x, W=start, H=components, n_components=len(components), init="custom", update_H=False, tol=1e-7, max_iter=2000)
        return float(np.linalg.norm(x - w @ components))

    def answer(question):
        x = np.load(question["maps"])
        if "components" in question:
            from safetensors.numpy import load_file
            return {"error": error(x, load_file(question["components"])["components"])}
        keys = dict(question["keys"])
        start = time.perf_counter()
        if "batch" in keys:
            model = MiniBatchNMF(question["count"], batch_size=keys["batch"], max_iter=50, max_no_improvement=None, random_state=0)
        else:
            model = NMF(question["count"], random_state=0, **keys)
        model.fit(x)
        return {"value": time.perf_counter() - start, "error": error(x, model.components_), "iterations": int(model.n_iter_)}

    answer_questions(answer)


def train(options, folder, keys):
    """Trains; returns the result of the run, and for each epoch the seconds since the start and the Frobenius norm."""
    config = folder / "nmf.toml"
    config.write_text('data.train = ["maps.npy"]\nsplit = {by = "order", valid = 0.0}\nscale.kind = "none"\nmodel.kind = "nmf"\n'
                      'threshold.on = "train"\nreport = {tensorboard = false, projections = []}\n')
    keys = {"model.latent": options.components, **keys}
    _, taken = measure([options.lumisift, "train", config, "--out", folder / "experiment", "--force", *settings(keys)])
    rows, bins = options.shape
    with open(folder / "experiment/history.csv") as file:
        epochs, seconds = [], 0.0
        for line in csv.DictReader(file):
            seconds += float(line["seconds"])
            epochs.append((seconds, (float(line["train_loss"]) * rows * bins) ** 0.5))
    return taken, epochs


def main():
    options = parser(__doc__, rounds=3)
    options.add_argument("--lumisections", type=int, default=4000)
    options.add_argument("--components", type=int, default=5)
    options = options.parse_args()
    if options.worker:
        return worker()
    with workplace(options) as folder:
        run([options.lumisift, "synth", "occupancy", folder / "data", "--lumisections", options.lumisections, "--layers", 2])
        options.shape = normalised(folder, folder / "data/train/PXLayer_1.parquet")
        table = Table(options)
        peer = Worker(__file__, "sklearn")
        ask = lambda keys: peer.ask({"maps": str(folder / "maps.npy"), "count": options.components, "keys": keys})
        subject = f"{options.shape[0]} maps of {options.shape[1]} bins, {options.components} components"
        for name, keys in PEERS.items():
            goal = ask(keys)["error"]
            more = {"train.batch_size": keys["batch"], "model.nmf.forget": 0.7} if "batch" in keys else {}

            def ours():
                taken, epochs = train(options, folder, {"train.epochs": 500, "train.stop.tolerance": 1e-7, **more})
                reached = next((seconds for seconds, error in epochs if error <= goal), None)
                if reached is None:
                    raise RuntimeError(f"never reached an error of {goal:.3f}, but {epochs[-1][1]:.3f}")
                return {"value": reached, "others": taken["others"]}

            table.take_turns(f"{subject}: training", {"Lumisift": ours, name: lambda: ask(keys)}, "s", {name: 3})
        _, epochs = train(options, folder, {"train.epochs": 2000, "train.stop.tolerance": 1e-7})
        own = peer.ask({"maps": str(folder / "maps.npy"), "components": str(folder / "experiment/model/all.safetensors")})["error"]
        theirs = {solver: ask({**PEERS[f"scikit-learn NMF, {solver}"], **keys})["error"] for solver, keys in TO_THE_END.items()}
        told = ", ".join(f"{solver} {error:.3f}" for solver, error in theirs.items())
        table.note(f"run on: error {own:.3f} after {len(epochs)} epochs; scikit-learn {told}: {own / min(theirs.values()):.4f} of the better")
        peer.end()
        table.finish()


if __name__ == "__main__":
    main()
