"""How long it takes to begin: Lumisift beside PyTorch, Keras on TensorFlow and JAX, whole processes.

Usage, from the repository root, after `cargo build --release` and `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/cold_start.py [--rounds 5]

Three things: to start and say one's version; to say what devices there are; to train one epoch of the METSig notebook's network. What
Lumisift trains is configs/metsig-notebook.toml with one epoch: it reads CSVs, scores two runs and writes its folder. The peers only
import, read the scaled training rows from an NPY file, make the network and train one epoch of 36 steps. Files are in the system's cache:
each program runs once before it is timed. Short programs run until a second is full in each turn, and their mean counts.
"""
import json
import sys

from common import ROOT, Table, installed, measure, metsig, parser, run, settings, workplace

CONFIG = ROOT / "configs/metsig-notebook.toml"
WIDTHS, BATCH = [53, 103, 82, 103, 53], 42
PEERS = {"PyTorch": "torch", "Keras on TensorFlow": "keras", "JAX": "jax"}
START = {"torch": "import torch", "keras": "import keras", "jax": "import jax"}
DEVICES = {
    "torch": "import torch; print(torch.cuda.device_count())",
    "keras": "import keras, tensorflow; print(tensorflow.config.list_physical_devices())",
    "jax": "import jax; print(jax.devices())",
}
QUIET_PEERS = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def torch_epoch(x):
    import torch

    layers = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1], torch.nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for batch in torch.from_numpy(x).split(BATCH):
        loss = torch.nn.functional.mse_loss(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(loss.item())


def keras_epoch(x):
    import keras

    inputs = keras.Input(shape=(WIDTHS[0],))
    outputs = inputs
    for width in WIDTHS[1:]:
        outputs = keras.layers.Dense(width, activation="sigmoid" if width == WIDTHS[-1] else "relu")(outputs)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="mse")
    print(model.fit(x, x, batch_size=BATCH, epochs=1, shuffle=False, verbose=0).history)


def jax_epoch(x):
    import jax
    import jax.numpy as jnp

    tree_map, key, weights = jax.tree_util.tree_map, jax.random.key(1), []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        key, own = jax.random.split(key)
        bound = (6 / (inputs + outputs)) ** 0.5
        weights.append((jax.random.uniform(own, (inputs, outputs), minval=-bound, maxval=bound), jnp.zeros(outputs)))

    def loss(weights, x):
        y = x
        for i, (matrix, bias) in enumerate(weights):
            y = y @ matrix + bias
            y = jax.nn.relu(y) if i < len(weights) - 1 else jax.nn.sigmoid(y)
        return jnp.mean((y - x) ** 2)

    def step(carry, x):
        weights, means, squares, time = carry
        value, slopes = jax.value_and_grad(loss)(weights, x)
        time += 1
        means = tree_map(lambda mean, slope: 0.9 * mean + 0.1 * slope, means, slopes)
        squares = tree_map(lambda square, slope: 0.999 * square + 0.001 * slope * slope, squares, slopes)
        rate, root = 1e-3 / (1 - 0.9**time), jnp.sqrt(1 - 0.999**time)
        weights = tree_map(lambda weight, mean, square: weight - rate * mean / (jnp.sqrt(square) / root + 1e-8), weights, means, squares)
        return (weights, means, squares, time), value

    zeros = tree_map(jnp.zeros_like, weights)
    full = len(x) // BATCH
    carry = (weights, zeros, zeros, jnp.float32(0))
    carry, _ = jax.jit(lambda carry, data: jax.lax.scan(step, carry, data))(carry, x[: full * BATCH].reshape(full, BATCH, -1))
    if len(x) % BATCH:
        carry, value = jax.jit(step)(carry, x[full * BATCH :])
        print(value)


def write_rows(path, out):
    """The training rows of the notebook, scaled as it scales them."""
    import numpy as np

    rows = []
    for line in path.read_text().splitlines()[1:]:
        ls, _, bins = line.partition(";")
        rows.append((int(ls), json.loads(bins)))
    x = np.array([bins for _, bins in sorted(rows)], np.float64)
    x = x[np.argmax(x.any(axis=1)) :]
    width = x.max(axis=0) - x.min(axis=0)
    np.save(out, np.divide(x, width, out=np.zeros_like(x), where=width != 0).astype(np.float32))


def seconds(command):
    """Mean wall seconds of as many runs as fill a second."""
    count, wall, others = 0, 0.0, 0.0
    while wall < 1:
        _, taken = measure(command, environment=QUIET_PEERS)
        count, wall, others = count + 1, wall + taken["value"], others + taken["value"] * taken["others"]
    return {"value": wall / count, "others": others / wall}


def main():
    options = parser(__doc__, rounds=5).parse_args()
    if options.worker:
        kind, path = json.loads(options.worker)
        import numpy as np

        {"torch": torch_epoch, "keras": keras_epoch, "jax": jax_epoch}[kind](np.load(path))
        return
    with workplace(options) as folder:
        table = Table(options)
        data, keys = metsig(options, folder)
        rows = str(folder / "rows.npy")
        write_rows(data / "good.csv", rows)
        train = [options.lumisift, "train", CONFIG, "--device", "cpu", "--out", folder / "out", "--force", "-q"]
        train += settings(keys | {"train.epochs": 1})
        python, worker = [sys.executable, "-c"], [sys.executable, __file__, "--worker"]
        subjects = {
            "start": ([options.lumisift, "--version"], lambda kind: [*python, START[kind]]),
            "devices": ([options.lumisift, "devices"], lambda kind: [*python, DEVICES[kind]]),
            "one epoch": (train, lambda kind: [*worker, json.dumps([kind, rows])]),
        }
        peers = {}
        for who, kind in PEERS.items():
            if installed("tensorflow" if kind == "keras" else kind):
                peers[who] = kind
            else:
                table.skip(who, "not installed")
        for subject, (ours, theirs) in subjects.items():
            commands = {"Lumisift": ours} | {who: theirs(kind) for who, kind in peers.items()}
            for who, command in list(commands.items()):
                try:
                    run(command, environment=QUIET_PEERS)  # into the system's cache
                except RuntimeError as error:
                    table.skip(f"{subject}, {who}", str(error))
                    del commands[who]
            if "Lumisift" in commands:
                programs = {who: lambda command=command: seconds(command) for who, command in commands.items()}
                table.take_turns(f"cold start: {subject}", programs, "s")
        table.finish()


if __name__ == "__main__":
    main()
