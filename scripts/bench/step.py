"""Time of a training step on one core: Lumisift beside PyTorch, JAX and Keras. Forward, backward, Adam, mean squared error.

Usage, from the repository root, after `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/step.py [--rounds 5] [--peers torch jax …]

Everybody is held to the same core (taskset) and does the same work: from new weights, three epochs of 100 batches of uniform numbers
that are in memory already, in the same order, seven times over (after two seconds: three times); the median of those is one turn. Peers
import, compile and warm up before their first turn, and they take turns with `cargo bench --bench step`, or with a bench that was built
before (`--step-program`). Lumisift's epochs include its sums of losses, on the first network also an activity term that the peers do
without.

JAX has the whole epoch in one call: a jitted lax.scan over the batches with donated weights and moments, single-threaded XLA; once with
a matrix for each layer, once with all weights in one vector. PyTorch's Adam is timed as it comes, fused, and compiled by Inductor: once
the network alone, with fused Adam, once the whole step with an Adam written out. Keras runs on TensorFlow: `fit`, with 1 and with 100
steps in one call, and `train_on_batch`.
"""
import json
import os
import statistics
import sys
import time

from common import CORES, ROOT, Table, Worker, answer_questions, installed, parser, run, measure, say, workplace

# Network: batch, activation, output activation, the least ratio to JAX that is wanted.
NETWORKS = {
    "52-103-82-103-52": (42, "relu", "sigmoid", 1.3),
    "273-150-20-150-273": (128, "sigmoid", "linear", 1.0),
}
BATCHES, EPOCHS, REPEATS = 100, 3, 7
LEAST, ENOUGH = 3, 2  # repeats, seconds
# By key: how the peer is called, the package it needs.
PEERS = {
    "torch": ("PyTorch eager", "torch"),
    "torch-fused": ("PyTorch, fused Adam", "torch"),
    "torch-compile": ("torch.compile, fused Adam", "torch"),
    "torch-whole": ("torch.compile, whole step", "torch"),
    "jax": ("JAX, lax.scan", "jax"),
    "jax-flat": ("JAX, lax.scan, one vector", "jax"),
    "keras": ("Keras, fit", "tensorflow"),
    "keras-100": ("Keras, fit, 100 steps a call", "tensorflow"),
    "keras-batch": ("Keras, train_on_batch", "tensorflow"),
}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}


# The peers. Each takes widths, batch size, activations and the batches [BATCHES, batch, inputs], and returns two functions: one that
# begins anew, one that trains an epoch and returns when it is done.


def torch_step(kind, widths, activations, batches):
    import torch

    torch.set_num_threads(1)
    layer = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "linear": torch.nn.Identity}
    data = torch.from_numpy(batches)
    loss_of = torch.nn.functional.mse_loss

    def network():
        layers = []
        for inputs, outputs, activation in zip(widths, widths[1:], activations):
            layers += [torch.nn.Linear(inputs, outputs), layer[activation]()]
        return torch.nn.Sequential(*layers)

    if kind == "torch-whole":
        return torch_whole_step(network(), data)
    model = network()
    first = {name: value.clone() for name, value in model.state_dict().items()}
    state = {}

    def loss(x):
        return loss_of(model(x), x)

    used = torch.compile(loss) if kind == "torch-compile" else loss

    def begin():
        model.load_state_dict(first)
        state["optimizer"] = torch.optim.Adam(model.parameters(), lr=1e-3, fused=kind != "torch")

    def epoch():
        optimizer = state["optimizer"]
        for x in data:
            error = used(x)
            optimizer.zero_grad()
            error.backward()
            optimizer.step()

    return begin, epoch


def torch_whole_step(model, data):
    """Gradient and Adam as one compiled function; weights and moments change in place."""
    import torch

    def loss(weights, x):
        return torch.nn.functional.mse_loss(torch.func.functional_call(model, weights, x), x)

    gradient = torch.func.grad(loss)

    @torch.compile(fullgraph=True)
    def step(weights, means, squares, time, x):
        time.add_(1)
        for name, slope in gradient(weights, x).items():
            means[name].mul_(0.9).add_(slope, alpha=0.1)
            squares[name].mul_(0.999).addcmul_(slope, slope, value=0.001)
            change = (means[name] / (1 - 0.9**time)) / ((squares[name] / (1 - 0.999**time)).sqrt() + 1e-8)
            weights[name].sub_(change, alpha=1e-3)

    first = {name: value.detach().clone() for name, value in model.named_parameters()}
    weights, means, squares = ({name: value.clone() for name, value in first.items()} for _ in range(3))
    clock = torch.zeros(())

    def begin():
        for name, value in first.items():
            weights[name].copy_(value)
            means[name].zero_()
            squares[name].zero_()
        clock.zero_()

    def epoch():
        with torch.no_grad():
            for x in data:
                step(weights, means, squares, clock, x)

    return begin, epoch


def jax_step(kind, widths, activations, batches):
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    functions = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "linear": lambda x: x}
    tree_map = jax.tree_util.tree_map
    key, first = jax.random.key(1), []
    for inputs, outputs in zip(widths, widths[1:]):
        key, own = jax.random.split(key)
        bound = (6 / (inputs + outputs)) ** 0.5
        first.append((jax.random.uniform(own, (inputs, outputs), minval=-bound, maxval=bound), jnp.zeros(outputs)))
    layers_of = lambda weights: weights
    if kind == "jax-flat":
        first, layers_of = ravel_pytree(first)

    def loss(weights, x):
        y = x
        for (matrix, bias), activation in zip(layers_of(weights), activations):
            y = functions[activation](y @ matrix + bias)
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

    scan = jax.jit(lambda carry, data: jax.lax.scan(step, carry, data), donate_argnums=0)
    data = jax.device_put(batches)
    state = {}

    def begin():
        zeros = lambda: tree_map(jnp.zeros_like, first)
        state["carry"] = jax.block_until_ready((tree_map(jnp.copy, first), zeros(), zeros(), jnp.float32(0)))

    def epoch():
        state["carry"], losses = scan(state["carry"], data)
        jax.block_until_ready((state["carry"], losses))

    return begin, epoch


def keras_step(kind, widths, activations, batches):
    import keras

    inputs = keras.Input(shape=(widths[0],))
    outputs = inputs
    for width, activation in zip(widths[1:], activations):
        outputs = keras.layers.Dense(width, activation=activation)(outputs)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="mse", steps_per_execution=BATCHES if kind == "keras-100" else 1)
    first = model.get_weights()
    rows, batch = batches.reshape(-1, widths[0]), batches.shape[1]

    def begin():
        model.set_weights(first)
        for variable in model.optimizer.variables:
            if variable.path.rpartition("/")[2] != "learning_rate":
                variable.assign(variable * 0)

    def fit():
        model.fit(rows, rows, batch_size=batch, epochs=1, shuffle=False, verbose=0)

    def train_on_batch():
        for x in batches:
            model.train_on_batch(x, x)

    return begin, train_on_batch if kind == "keras-batch" else fit


def peer(kind):
    """A peer's answers: microseconds a step of a network."""
    import numpy as np

    make = {"torch": torch_step, "jax": jax_step, "keras": keras_step}[kind.partition("-")[0]]
    ready = {}

    def answer(name):
        if name not in ready:
            batch, activation, output_activation, _ = NETWORKS[name]
            widths = [int(width) for width in name.split("-")]
            activations = [activation] * (len(widths) - 2) + [output_activation]
            batches = np.random.default_rng(1).random((BATCHES, batch, widths[0]), np.float32)
            ready[name] = make(kind, widths, activations, batches)
            measure_epochs(*ready[name], 1)
        return {"value": measure_epochs(*ready[name], REPEATS)}

    answer_questions(answer)


def measure_epochs(begin, epoch, repeats):
    times = []
    for _ in range(repeats):
        begin()
        start = time.perf_counter()
        for _ in range(EPOCHS):
            epoch()
        times.append(time.perf_counter() - start)
        if len(times) >= LEAST and sum(times) > ENOUGH:
            break
    return statistics.median(times) / (EPOCHS * BATCHES) * 1e6


# What is measured.


def main():
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--step-program", metavar="PATH", help="the bench `step`, built before, instead of cargo")
    arguments.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    options = arguments.parse_args()
    if options.worker:
        peer(options.worker)
        return
    core = CORES[:1]
    if options.step_program:
        command = [options.step_program, "--bench", "--json"]
    else:
        command = ["cargo", "bench", "--quiet", "--bench", "step", "--", "--json"]
        run([*command[:-2], "--no-run"])  # so that no round waits for the compiler, and it has all cores
    with workplace(options) as folder:
        table = Table(options)
        workers = {}
        for kind in options.peers:
            who, package = PEERS[kind]
            if installed(package):
                environment = {**ONE_THREAD, "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
                workers[who] = Worker(__file__, kind, core, environment)
            else:
                table.skip(who, f"{package} is not installed")
        try:
            for name, (batch, _, _, goal) in NETWORKS.items():

                def lumisift():
                    out, taken = measure(command, core, ONE_THREAD)
                    return {"value": json.loads(out)[name]["microseconds"], "others": taken["others"]}

                for who in list(workers):
                    say(f"{name}: {who} gets ready")
                    try:
                        workers[who].ask(name)
                    except RuntimeError as error:
                        table.skip(f"{name}, {who}", str(error))
                        workers.pop(who).end()
                peers = {who: lambda worker=worker: worker.ask(name) for who, worker in workers.items()}
                goals = {who: goal for who in peers if who.startswith("JAX")}
                table.take_turns(f"step {name}, batch {batch}", {"Lumisift": lumisift, **peers}, "µs", goals)
        finally:
            for worker in workers.values():
                worker.end()
        table.finish()


if __name__ == "__main__":
    main()
