"""Ensembles: N members of the METSig notebook's network trained by one Lumisift, beside PyTorch and beside two Lumisifts.

Usage, from the repository root, after `cargo build --release` and `scripts/bench/setup`:
    .venv/bench/bin/python scripts/bench/packs.py [--members 1 8 32 128] [--epochs 20] [--rounds 3] [--device cuda]

Lumisift is one command, `train` with configs/metsig-notebook.toml and `train.ensemble`, from the start of the process to its end:
reading, a validation pass an epoch, scoring and writing included. All that counts of PyTorch is training with the same validation
passes, after imports, reading and warming up. For one member, and on a GPU, there are rows with what report.json calls its seconds of
training; of packs trained side by side on several cores it has the sum.

On the CPU, all cores: two Lumisifts with N/2 members each, side by side, each held to one core (from the first start to the last end);
eager PyTorch, one member after the other; PyTorch with all members in one product (baddbmm over a leading dimension of members, one
fused Adam), both with one thread or all, whichever is faster for that N; and JAX, vmap over the members in a jitted lax.scan over an
epoch's batches, all threads. With `--device cuda`: eager PyTorch, one member after the other, on the GPU; PyTorch replaying a CUDA
graph of a step, captured once and used for every member in turn; all members in one product, eager and as a graph.

What goes one member after the other is measured for a few members and scaled up to N; the table says for how many.
"""
import json
import time

from common import CORES, ROOT, Table, Worker, answer_questions, installed, measure_together, metsig, parser, settings, say, workplace
from cold_start import write_rows

CONFIG = ROOT / "configs/metsig-notebook.toml"
WIDTHS, BATCH = [53, 103, 82, 103, 53], 42
FEW = 2  # members of what goes one by one
# By device: how the peer is called, the package it needs, whether it goes one member after the other.
PEERS = {
    "cpu": {
        "eager": ("PyTorch eager, one by one", "torch", True),
        "batched": ("PyTorch, members in one product", "torch", False),
        "jax": ("JAX, vmap and lax.scan", "jax", False),
    },
    "cuda": {
        "eager": ("PyTorch eager, one by one", "torch", True),
        "graph": ("PyTorch, CUDA graph, one by one", "torch", True),
        "batched": ("PyTorch, members in one product", "torch", False),
        "batched-graph": ("the same as a CUDA graph", "torch", False),
    },
}


# PyTorch, in a process of its own. A trainer takes the number of members, trains them, and returns the seconds.


class Torch:
    def __init__(self, device, rows):
        import numpy as np
        import torch

        self.torch, self.device = torch, torch.device(device)
        self.x = torch.from_numpy(np.load(rows)).to(self.device)
        self.batches = self.x.split(BATCH)

    def timed(self, work):
        self.synchronize()
        start = time.perf_counter()
        work()
        self.synchronize()
        return time.perf_counter() - start

    def synchronize(self):
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    def fused_adam(self, parameters, capturable=False):
        return self.torch.optim.Adam(parameters, lr=1e-3, fused=True, capturable=capturable)

    def network(self):
        nn, layers = self.torch.nn, []
        for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1], nn.Sigmoid()).to(self.device)

    def eager(self, members, epochs):
        """One member after the other, Adam as it comes."""
        loss_of = self.torch.nn.functional.mse_loss

        def train():
            for _ in range(members):
                model = self.network()
                optimizer = self.torch.optim.Adam(model.parameters(), lr=1e-3)
                for _ in range(epochs):
                    for x in self.batches:
                        loss = loss_of(model(x), x)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    with self.torch.no_grad():
                        loss_of(model(self.x), self.x).item()

        return self.timed(train)

    def graph(self, members, epochs):
        """One member after the other, each step a replayed graph; weights and moments begin anew in place."""
        model = self.network()
        loss_of = self.torch.nn.functional.mse_loss
        return self.replayed(members, epochs, list(model.parameters()), lambda x: loss_of(model(x), x))

    def batched_model(self, members):
        """Weights [members, in, out], biases [members, 1, out], and the sum of the members' losses on a batch."""
        torch, parameters = self.torch, []
        for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
            bound = (6 / (inputs + outputs)) ** 0.5
            weights = torch.empty(members, inputs, outputs, device=self.device).uniform_(-bound, bound)
            parameters += [weights.requires_grad_(), torch.zeros(members, 1, outputs, device=self.device, requires_grad=True)]

        def loss(x):
            y = x.expand(members, -1, -1)
            for i in range(0, len(parameters), 2):
                y = torch.baddbmm(parameters[i + 1], y, parameters[i])
                y = y.relu() if i + 2 < len(parameters) else y.sigmoid()
            return (y - x).square().mean(dim=(1, 2)).sum()

        return parameters, loss

    def batched(self, members, epochs):
        """All members in one product."""
        parameters, loss_of = self.batched_model(members)
        optimizer = self.fused_adam(parameters)

        def train():
            for _ in range(epochs):
                for x in self.batches:
                    loss = loss_of(x)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                with self.torch.no_grad():
                    loss_of(self.x).item()

        return self.timed(train)

    def batched_graph(self, members, epochs):
        return self.replayed(1, epochs, *self.batched_model(members))

    def replayed(self, times, epochs, parameters, loss_of):
        """Captures a step for each size of batch, then trains so many times with it."""
        torch = self.torch
        optimizer = self.fused_adam(parameters, capturable=True)
        graphs = {}

        def step(x):
            optimizer.zero_grad(set_to_none=True)
            loss_of(x).backward()
            optimizer.step()

        for rows in {len(batch) for batch in self.batches}:
            x = self.x[:rows].clone()
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    step(x)
            torch.cuda.current_stream().wait_stream(aside)
            optimizer.zero_grad(set_to_none=True)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step(x)
            graphs[rows] = graph, x
        first = [parameter.detach().clone() for parameter in parameters]

        def begin():
            with torch.no_grad():
                for parameter, value in zip(parameters, first):
                    parameter.copy_(value)
                for state in optimizer.state.values():
                    for value in state.values():
                        value.zero_()

        def train():
            for _ in range(times):
                begin()
                for _ in range(epochs):
                    for batch in self.batches:
                        graph, x = graphs[len(batch)]
                        x.copy_(batch)
                        graph.replay()
                    with torch.no_grad():
                        loss_of(self.x).item()

        return self.timed(train)


def jax_trainer(rows):
    """All members by vmap; an epoch is one call, the smaller last batch and validation another."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    data = jax.device_put(np.load(rows))
    full = len(data) // BATCH
    batches, last = data[: full * BATCH].reshape(full, BATCH, -1), data[full * BATCH :]
    tree_map = jax.tree_util.tree_map

    def loss(weights, x):
        y = x
        for i, (matrix, bias) in enumerate(weights):
            y = y @ matrix + bias
            y = jax.nn.relu(y) if i < len(weights) - 1 else jax.nn.sigmoid(y)
        return jnp.mean((y - x) ** 2)

    losses = jax.vmap(loss, in_axes=(0, None))
    slopes_of = jax.vmap(jax.grad(loss), in_axes=(0, None))

    def step(carry, x):
        weights, means, squares, time = carry
        slopes = slopes_of(weights, x)
        time += 1
        means = tree_map(lambda mean, slope: 0.9 * mean + 0.1 * slope, means, slopes)
        squares = tree_map(lambda square, slope: 0.999 * square + 0.001 * slope * slope, squares, slopes)
        rate, root = 1e-3 / (1 - 0.9**time), jnp.sqrt(1 - 0.999**time)
        weights = tree_map(lambda weight, mean, square: weight - rate * mean / (jnp.sqrt(square) / root + 1e-8), weights, means, squares)
        return (weights, means, squares, time), None

    def epoch(carry):
        carry, _ = jax.lax.scan(step, carry, batches)
        if len(last):
            carry, _ = step(carry, last)
        return carry, losses(carry[0], data)

    compiled = jax.jit(epoch, donate_argnums=0)

    def begin(members):
        key, weights = jax.random.key(1), []
        for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
            key, own = jax.random.split(key)
            bound = (6 / (inputs + outputs)) ** 0.5
            matrix = jax.random.uniform(own, (members, inputs, outputs), minval=-bound, maxval=bound)
            weights.append((matrix, jnp.zeros((members, outputs))))
        zeros = lambda: tree_map(jnp.zeros_like, weights)
        return jax.block_until_ready((weights, zeros(), zeros(), jnp.float32(0)))

    def train(members, epochs):
        carry = begin(members)
        start = time.perf_counter()
        for _ in range(epochs):
            carry, values = compiled(carry)
            jax.block_until_ready(values)
        return time.perf_counter() - start

    return train


def worker(kind, device, rows):
    """A peer's answers: seconds for a number of members."""
    if kind == "jax":
        train = jax_trainer(rows)
    else:
        peer = Torch(device, rows)
        train = getattr(peer, kind.replace("-", "_"))
    threads = {}  # the fastest number of threads by number of members

    def answer(question):
        members, epochs = question
        if members not in threads:
            train(members, 1)
            threads[members] = len(CORES)
            if device == "cpu" and kind != "jax":
                times = {}
                for count in {1, len(CORES)}:
                    peer.torch.set_num_threads(count)
                    times[count] = min(train(members, 1) for _ in range(3))
                threads[members] = min(times, key=times.get)
        if kind != "jax":
            peer.torch.set_num_threads(threads[members])
        return {"value": train(members, epochs), "threads": threads[members]}

    answer_questions(answer)


# What is measured.


class Lumisift:
    def __init__(self, options, folder, keys):
        self.options, self.folder, self.keys = options, folder, keys

    def command(self, members, name, seed):
        keys = self.keys | {"train.epochs": self.options.epochs, "seed": seed}
        if members > 1:
            keys["train.ensemble"] = members
        out = self.folder / name
        return [self.options.lumisift, "train", CONFIG, "--device", self.options.device, "--out", out, "--force", "-q", *settings(keys)]

    def one(self, members):
        _, taken = measure_together([self.command(members, "one", 1)], [None])
        seconds = json.loads((self.folder / "one/report.json").read_text())["channels"][0]["training"]["seconds"]
        alone = (members == 1 or self.options.device == "cuda") and 0 < seconds <= taken["value"]
        return taken | {"training": seconds if alone else None}

    def two(self, members):
        commands = [self.command(members // 2, f"two-{seed}", seed) for seed in (1, 2)]
        return measure_together(commands, [CORES[:1], CORES[1:2]])[1]


def main():
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--members", type=int, nargs="+", default=[1, 8, 32, 128])
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--device", choices=PEERS, default="cpu")
    options = arguments.parse_args()
    if options.worker:
        worker(*json.loads(options.worker))
        return
    with workplace(options) as folder:
        table = Table(options)
        data, keys = metsig(options, folder)
        rows = str(folder / "rows.npy")
        write_rows(data / "good.csv", rows)
        lumisift = Lumisift(options, folder, keys)
        workers = {}
        for kind, (who, package, by_one) in PEERS[options.device].items():
            if not installed(package):
                table.skip(who, f"{package} is not installed")
                continue
            environment = {"JAX_PLATFORMS": "cpu", **({"CUDA_VISIBLE_DEVICES": ""} if options.device == "cpu" else {})}
            workers[who] = Worker(__file__, json.dumps([kind, options.device, rows]), None, environment), by_one
        try:
            for members in options.members:
                measure_pack(table, lumisift, workers, members)
        finally:
            for one, _ in workers.values():
                one.end()
        table.finish()


def counted(count, what):
    return f"{count} {what}{'' if count == 1 else 's'}"


def measure_pack(table, lumisift, workers, members):
    options = lumisift.options
    subject = f"{counted(members, 'member')}, {options.epochs} epochs" + (", cuda" if options.device == "cuda" else "")
    try:
        lumisift.one(members)  # files and, on a GPU, its kernels into their caches
    except RuntimeError as error:
        table.skip(subject, str(error))
        return
    programs = {"Lumisift": lambda: lumisift.one(members)}
    if options.device == "cpu" and len(CORES) > 1 and members > 1 and members % 2 == 0:
        programs[f"two Lumisifts of {members // 2}, a core each"] = lambda: lumisift.two(members)
    for who, (peer, by_one) in list(workers.items()):
        measured = min(members, FEW) if by_one else members

        def ask(peer=peer, measured=measured):
            answer = peer.ask([measured, options.epochs])
            return answer | {"value": answer["value"] * members / measured}

        say(f"{subject}: {who} gets ready")
        try:
            threads = peer.ask([measured, 1])["threads"]
        except RuntimeError as error:
            table.skip(f"{subject}, {who}", str(error))
            workers.pop(who)[0].end()
            continue
        name = who + (f", {counted(threads, 'thread')}" if options.device == "cpu" else "") + (f", {measured} measured" if measured < members else "")
        programs[name] = ask
    results = table.take_turns(subject, programs, "s")
    ours = [one | {"value": one["training"]} for one in results.get("Lumisift", []) if one["training"]]
    if len(ours) == options.rounds:
        for name, theirs in results.items():
            if name != "Lumisift" and not name.startswith("two"):
                table.add(f"{subject}, training alone", name, ours, theirs, "s")


if __name__ == "__main__":
    main()
