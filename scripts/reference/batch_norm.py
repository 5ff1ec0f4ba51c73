"""Trains a small autoencoder with batch norm in PyTorch and prints what `train::fit::tests::batch_norm_is_that_of_torch` holds ours to.

Usage: batch_norm.py

4-3-2-3-4 with tanh, on ten rows in batches of four, plain order, by SGD with momentum 0.9 at rate 0.1. Weights and rows are sines of their
place: the weights in the order in which Lumisift lays parameters out flat, layer by layer [in, out], bias, scale, shift.
"""
import math
import torch
from torch import nn

WIDTHS, HIDDEN = [4, 3, 2, 3, 4], (0, 2)
layers = [nn.Linear(*pair) for pair in zip(WIDTHS, WIDTHS[1:])]
norms = {layer: nn.BatchNorm1d(WIDTHS[layer + 1]) for layer in HIDDEN}
place = 0


def fill(tensor):
    """Takes the next sines; scales lie around 1."""
    global place
    with torch.no_grad():
        tensor.copy_(torch.tensor([0.5 * math.sin(1 + place + at) for at in range(tensor.numel())]).reshape(tensor.shape))
    place += tensor.numel()


for at, layer in enumerate(layers):
    weight = torch.empty(layer.in_features, layer.out_features)
    fill(weight)
    layer.weight.data = weight.T.contiguous()
    fill(layer.bias)
    if at in norms:
        fill(norms[at].weight)
        norms[at].weight.data += 1
        fill(norms[at].bias)

modules = []
for at, layer in enumerate(layers):
    modules += [layer, *([norms[at], nn.Tanh()] if at in norms else [])]
model = nn.Sequential(*modules)
rows = torch.tensor([[math.sin(0.7 * row + 1.3 * column) for column in range(4)] for row in range(16)])
train, valid = rows[:10], rows[10:]
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(3):
    total = 0.0
    model.train()
    for batch in train.split(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch), batch)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    model.eval()
    with torch.no_grad():
        print(f"losses {total / len(train):.7f} {nn.functional.mse_loss(model(valid), valid).item():.7f}")
for norm in norms.values():
    print("mean", [round(value, 7) for value in norm.running_mean.tolist()])
    print("variance", [round(value, 7) for value in norm.running_var.tolist()])
