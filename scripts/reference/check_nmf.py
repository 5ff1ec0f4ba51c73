"""Holds a factorisation to scikit-learn's, on the same matrix, for rows trained on and rows held out.

Usage: check_nmf.py make DATA            normalises DATA/train/PXLayer_1.parquet (of `lumisift synth occupancy`) into train.npy and test.npy
       check_nmf.py check EXPERIMENT     its components against NMF's ("cd" and "mu", run until they converge)
       check_nmf.py check EXPERIMENT N   against MiniBatchNMF's with batches of N and as many epochs

The error is the Frobenius norm of what is left, with coefficients found to the end for all. It may be at most 1.01 times that of the
better of the two solvers, and at most that of MiniBatchNMF.
"""
import csv
import sys
import warnings

import numpy as np


def make(folder):
    import pandas as pd

    maps = np.stack([np.stack(rows) for rows in pd.read_parquet(f"{folder}/train/PXLayer_1.parquet", columns=["data"])["data"]]).astype(float)
    maps = maps[maps.sum((1, 2)) > 5e5]
    rows, columns = [*range(12), *range(14, 26)], [*range(32), *range(40, 72)]
    maps = maps[:, rows][:, :, columns].reshape(len(maps), -1)
    maps /= maps.mean(1, keepdims=True)
    train, test = maps[: len(maps) * 3 // 4], maps[len(maps) * 3 // 4 :]
    mean = train.mean(0)
    for name, part in [("train", train), ("test", test)]:
        np.save(f"{name}.npy", np.divide(part, mean, out=np.zeros_like(part), where=mean > 0).astype(np.float32))


def error(x, components):
    from sklearn.decomposition import non_negative_factorization

    start = np.ones((len(x), len(components)), np.float32)
    w, _, _ = non_negative_factorization(
        x, W=start, H=components, n_components=len(components), init="custom", update_H=False, tol=1e-7, max_iter=3000)
    return float(np.linalg.norm(x - w @ components))


def check(experiment, batch):
    from safetensors.numpy import load_file
    from sklearn.decomposition import NMF, MiniBatchNMF

    train, test = np.load("train.npy"), np.load("test.npy")
    own = load_file(f"{experiment}/model/all.safetensors")["components"]
    assert own.shape == (5, train.shape[1]) and (own >= 0).all(), own.shape
    if batch:
        with open(f"{experiment}/history.csv") as file:
            epochs = len(list(csv.DictReader(file)))
        theirs = [MiniBatchNMF(5, batch_size=batch, max_iter=epochs, max_no_improvement=None, tol=0, random_state=0)]
        most = 1.0
    else:
        theirs = [NMF(5, solver="cd", init="nndsvd", tol=1e-6, max_iter=2000, random_state=0),
                  NMF(5, solver="mu", init="nndsvda", tol=1e-6, max_iter=2000, random_state=0)]
        most = 1.01
    fitted = [model.fit(train).components_ for model in theirs]
    for name, rows in [("trained on", train), ("held out", test)]:
        ours, best = error(rows, own), min(error(rows, components) for components in fitted)
        print(f"{name}: {ours:.4f}, scikit-learn {best:.4f}, ratio {ours / best:.5f}")
        assert ours <= most * best, f"{name}: {ours} against {best}"


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        check(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
