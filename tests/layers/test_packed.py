"""Plain layers become those that keep packed weights, and stay what they are to everyone else."""

import copy
import pickle

import torch
from torch import nn

from mmmamba import create_backbone
from mmmamba.layers.packed import Conv2d, Linear, pack_plain_layers


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_only_plain_layers_are_taken():
    model = nn.Sequential(
        nn.Linear(4, 4),
        Doubled(4, 4),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, dilation=2),
    )
    pack_plain_layers(model)
    assert [type(module) for module in model] == [Linear, Doubled, Conv2d, *[nn.Conv2d] * 4]


def test_copies_files_and_hooks():
    layer, x = nn.Linear(20, 33), torch.randn(40, 20)
    want = layer(x)
    pack_plain_layers(layer)
    assert type(layer) is Linear and repr(layer) == repr(nn.Linear(20, 33))
    seen = []
    layer.register_forward_hook(lambda module, given, out: seen.append(out))
    with torch.inference_mode():
        got = layer(x)
    assert seen[0] is got and torch.allclose(got, want, atol=1e-5)
    layer._forward_hooks.clear()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with torch.inference_mode():
            assert torch.allclose(other(x), want, atol=1e-5)


def test_a_backbone_predicts_what_it_trains():
    """On two images of odd sides, and again after a step of the optimizer."""
    torch.manual_seed(0)
    model, x = create_backbone("vmamba_t", depths=(1, 1, 1, 1)).eval(), torch.randn(2, 3, 65, 97)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for _ in range(2):
        maps = model(x)
        with torch.inference_mode():
            predicted = model(x)
        for got, want in zip(predicted, maps):
            assert got.stride() == want.stride()
            assert torch.allclose(got, want, atol=1e-4), (got - want).abs().max()
        sum(m.square().mean() for m in maps).backward()
        optimizer.step()
        optimizer.zero_grad()
