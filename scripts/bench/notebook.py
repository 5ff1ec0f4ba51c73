"""The METSig notebook end to end: Lumisift beside Keras on TensorFlow, whole processes.

Usage, from the repository root, after `cargo build --release` and `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/notebook.py [--rounds 3] [--epochs 150]

From the start of the process to the report on disk, imports included, both on all cores. Lumisift is one command, `train` with
configs/metsig-notebook.toml, on the files of `synth metsig`; it also writes its experiment folder. Keras does what the notebook does,
without its plots and the training's bars: lists parsed by pandas, leading empties dropped, each file scaled by its own range, `fit` with
a validation pass an epoch, errors of two bad runs, thresholds from percentiles of moving averages. It runs as TensorFlow comes, and
once more with all steps of an epoch in one call (steps_per_execution), which the notebook does not do.
"""
import json
import os
import sys
from pathlib import Path

from common import ROOT, Table, installed, measure, metsig, parser, run, settings, workplace

CONFIG = ROOT / "configs/metsig-notebook.toml"
BATCH = 42
CUTS = [(99.5, 3), (99.9, 3), (99.9, 10)]
GOAL = 40


def keras_notebook(good, bad, out, epochs, steps_a_call):
    """The notebook, and its figures into the file `out`."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np
    import pandas as pd
    import tensorflow as tf

    def read(path):
        frame = pd.read_csv(path, names=range(2), sep=";").drop([0])
        frame[0] = frame[0].astype(int)
        frame = frame.sort_values(by=[0], ignore_index=True)
        histograms = np.array(frame[1].str.extractall(r"(\d+)")[0].unstack(), dtype=np.float64)
        zeros = 0
        while not histograms[zeros].any():
            zeros += 1
        x = histograms[zeros:]
        width = x.max(axis=0) - x.min(axis=0)
        return frame[0].to_numpy()[zeros:], np.divide(x, width, out=np.zeros_like(x), where=width != 0)

    def moving_average(values, count):
        sums = np.cumsum(values, dtype=float)
        sums[count:] = sums[count:] - sums[:-count]
        return sums[count - 1 :] / count

    _, training = read(good)
    inputs = keras.Input(shape=(training.shape[1],))
    encoded = keras.layers.Dense(103, activation="relu", activity_regularizer=keras.regularizers.l2(1e-7))(inputs)
    latent = keras.layers.Dense(82, activation="relu")(encoded)
    decoded = keras.layers.Dense(103, activation="relu")(latent)
    decoded = keras.layers.Dense(training.shape[1], activation="sigmoid")(decoded)
    model = keras.Model(inputs, decoded)
    model.compile(optimizer="adam", loss="mse", metrics=["mse"], steps_per_execution=steps_a_call)
    history = model.fit(
        training, training, batch_size=BATCH, epochs=epochs, validation_data=(training, training), shuffle=False, verbose=0
    )
    report = {"loss": history.history["loss"], "runs": {}}
    for path in bad:
        numbers, x = read(path)
        errors = tf.math.reduce_mean(tf.math.pow(x - model.predict(x, verbose=0), 2), axis=1).numpy()
        flags = {}
        for percentile, count in CUTS:
            threshold = np.percentile(moving_average(errors, count), percentile)
            flags[f"{percentile}/{count}"] = {"threshold": threshold, "ls": numbers[errors > threshold].tolist()}
        report["runs"][Path(path).name] = flags
    Path(out).write_text(json.dumps(report))


def main():
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--epochs", type=int, default=150)
    options = arguments.parse_args()
    if options.worker:
        keras_notebook(**json.loads(options.worker))
        return
    with workplace(options) as folder:
        table = Table(options)
        _, keys = metsig(options, folder)
        keys["train.epochs"] = options.epochs
        command = [options.lumisift, "train", CONFIG, "--device", "cpu", "--out", folder / "ours", "--force", "-q", *settings(keys)]

        def keras(steps_a_call):
            task = {"good": keys["data.train"][0], "bad": keys["data.test"], "out": str(folder / "keras.json"), "epochs": options.epochs}
            return measure([sys.executable, __file__, "--worker", json.dumps(task | {"steps_a_call": steps_a_call})])[1]

        programs = {"Lumisift": lambda: measure(command)[1]}
        run([options.lumisift, "--version"])
        if installed("keras") and installed("tensorflow"):
            run([sys.executable, "-c", "import keras, pandas, tensorflow"])  # into the system's cache
            programs |= {"Keras on TensorFlow": lambda: keras(1), "Keras, 36 steps a call": lambda: keras(36)}
        else:
            table.skip("Keras", "keras and tensorflow are not installed")
        goals = {"Keras on TensorFlow": GOAL} if options.epochs == 150 else {}  # what is wanted is wanted of the whole notebook
        if table.take_turns(f"notebook, {options.epochs} epochs", programs, "s", goals) and "Keras on TensorFlow" in programs:
            ours = json.loads((folder / "ours/report.json").read_text())["channels"][0]["training"]["train_loss"]
            theirs = json.loads((folder / "keras.json").read_text())["loss"][-1]
            table.note(f"notebook: the last epoch's loss is {ours:.5f} with Lumisift and {theirs:.5f} with Keras")
        table.finish()


if __name__ == "__main__":
    main()
