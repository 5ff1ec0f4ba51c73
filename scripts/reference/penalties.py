"""Trains what Lumisift has trained again in PyTorch, and compares: sparse, contractive and variational autoencoders, and PReLU.

Usage: penalties.py ROWS NOISE DIR...

DIR is what `lumisift train --out DIR` wrote from the features ROWS (CSV), unscaled, unshuffled and all in one batch: an epoch is a step.
It began with the weights of DIR-init, which trained for no epochs. NOISE is a JSON list of the standard normal numbers [rows · latent] of
each epoch, for variational ones. Exits with 1 where a loss or penalty of an epoch (relative), or a weight after the last one, differs by
more than 1e-4.
"""
import csv
import json
import sys
import tomllib
from pathlib import Path

import torch
from safetensors.torch import load_file

TOLERANCE = 1e-4
ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "linear": lambda value: value, "elu": torch.nn.functional.elu}


class Autoencoder(torch.nn.Module):
    """Named as the weights in files are."""

    def __init__(self, weights, model):
        super().__init__()
        self.variational = model["variational"]
        self.kinds = [model["activation"], model["latent_activation"], model["output_activation"]]
        for half in ("encoder", "decoder"):
            count = len({name.split(".")[1] for name in weights if name.startswith(half)})
            setattr(self, half, torch.nn.ModuleList(self.layer(weights, f"{half}.{at}") for at in range(count)))
        if self.variational:
            self.latent_mean = self.layer(weights, "latent_mean")
            self.latent_log_variance = self.layer(weights, "latent_log_variance")
        self.load_state_dict(weights)

    @staticmethod
    def layer(weights, name):
        outputs, inputs = weights[f"{name}.weight"].shape
        layer = torch.nn.Linear(inputs, outputs)
        if f"{name}.prelu.weight" in weights:
            layer.prelu = torch.nn.PReLU()
        return layer

    @staticmethod
    def run(layer, kind, value):
        value = layer(value)
        return layer.prelu(value) if kind == "prelu" else ACTIVATIONS[kind](value)

    def encode(self, value):
        """The latents, and of a variational one the logarithms of their variances."""
        hidden = self.encoder if self.variational else self.encoder[:-1]
        for layer in hidden:
            value = self.run(layer, self.kinds[0], value)
        if self.variational:
            return self.latent_mean(value), self.latent_log_variance(value)
        return self.run(self.encoder[-1], self.kinds[1], value), None

    def decode(self, value):
        for layer in self.decoder[:-1]:
            value = self.run(layer, self.kinds[0], value)
        return self.run(self.decoder[-1], self.kinds[2], value)


def penalty(model, rows, latent, log_variance, loss, epoch):
    total = torch.zeros(())
    sparsity = loss.get("sparsity")
    if sparsity and sparsity["kind"] == "l1":
        total = total + sparsity["weight"] * latent.abs().sum(dim=1).mean()
    elif sparsity:
        mean, target = latent.mean(dim=0), torch.tensor(sparsity["target"])
        divergence = target * (target / mean).log() + (1 - target) * ((1 - target) / (1 - mean)).log()
        total = total + sparsity["weight"] * divergence.sum()
    if loss["contractive"] > 0:
        # A row's latents depend on its own inputs alone: the Jacobian of their sums over rows is that of each row, side by side.
        jacobian = torch.autograd.functional.jacobian(lambda rows: model.encode(rows)[0].sum(dim=0), rows, create_graph=True)
        total = total + loss["contractive"] * jacobian.square().sum(dim=(0, 2)).mean()
    if log_variance is not None:
        factor = loss["kl"] * min(1, (epoch + 1) / (loss["kl_warmup"] + 1))
        total = total + factor * 0.5 * (latent.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()
    return total


def apart(folder, rows, numbers):
    """How far a training is from PyTorch's: in losses and penalties, and in weights."""
    config = tomllib.loads((folder / "experiment.toml").read_text())
    with open(folder / "history.csv") as file:
        history = list(csv.DictReader(file))
    model = Autoencoder(load_file(f"{folder}-init/model/all.safetensors"), config["model"])
    rule = config["train"]["optimizer"]
    optimizer = torch.optim.Adam(model.parameters(), lr=rule["learning_rate"], betas=(rule["beta1"], rule["beta2"]), eps=rule["epsilon"])
    worst = 0.0
    for epoch, line in enumerate(history):
        optimizer.zero_grad()
        latent, log_variance = model.encode(rows)
        drawn = latent
        if log_variance is not None:
            drawn = latent + (0.5 * log_variance).exp() * torch.tensor(numbers[epoch]).reshape(latent.shape)
        loss = (model.decode(drawn) - rows).square().mean()
        cost = penalty(model, rows, latent, log_variance, config["loss"], epoch)
        (loss + cost).backward()
        optimizer.step()
        for name, value in (("train_loss", loss), ("penalty", cost)):
            worst = max(worst, abs(float(line.get(name, 0)) / value.item() - 1) if value.item() else 0.0)
    weights = load_file(folder / "model/all.safetensors")
    moved = max((weights[name] - value).abs().max().item() for name, value in model.state_dict().items())
    print(f"{folder}: {len(history)} steps, losses differ by {worst:.1e}, weights by {moved:.1e}")
    return max(worst, moved)


def main():
    table, noise, *folders = map(Path, sys.argv[1:])
    with open(table) as file:
        lines = list(csv.reader(file))[1:]
    rows = torch.tensor([[float(field) for field in line[2:]] for line in lines])
    numbers = json.loads(noise.read_text())
    # Of all, so that each is told.
    far = [apart(folder, rows, numbers) for folder in folders]
    sys.exit(max(far) > TOLERANCE)


main()
