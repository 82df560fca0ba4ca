"""Layers of the spectrum: against sums over all pairs of cells, and lowered."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import SpectralMlp
from mmmamba.ops.lowering import lowering


def layer_and_map(dtype=torch.float64):
    torch.manual_seed(0)
    layer = SpectralMlp(12, groups=4).to(dtype)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer, torch.randn(2, 3, 5, 12, dtype=dtype)


def by_sums(layer, x_BHWC):
    """The definition, by matrices of all pairs and complex products."""

    def matrix(n):
        turns = torch.outer(torch.arange(n), torch.arange(n)).double() / n
        return torch.polar(torch.full_like(turns, n**-0.5), -2 * math.pi * turns)

    def weights(i):
        parts = (getattr(layer, f"complex_{kind}_{i}") for kind in ("weight", "bias"))
        return [torch.complex(*part) for part in parts]

    x = x_BHWC.reshape(2, 15, 4, 3).to(torch.complex128)
    x = torch.einsum("kl,hg,blge->bkhe", matrix(15), matrix(4), x)
    for i, act in ((1, F.relu), (2, lambda v: v.sign() * (v.abs() - 0.01).clamp(min=0))):
        weight, bias = weights(i)
        x = torch.einsum("blge,gef->blgf", x, weight) + bias
        x = torch.complex(act(x.real), act(x.imag))
    x = torch.einsum("kl,hg,bkhe->blge", matrix(15).conj(), matrix(4).conj(), x)
    return x.real.reshape(x_BHWC.shape)


@torch.no_grad()
def test_definition():
    layer, x = layer_and_map()
    torch.testing.assert_close(layer(x), by_sums(layer, x))
    with lowering():
        torch.testing.assert_close(layer(x), by_sums(layer, x))


def test_gradients():
    layer, x = layer_and_map()
    assert torch.autograd.gradcheck(layer, x.requires_grad_())


@torch.no_grad()
def test_autocast_leaves_it_in_full_precision():
    layer, x = layer_and_map(torch.float32)
    want = layer(x.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x.bfloat16())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, want.bfloat16(), rtol=0, atol=0)


def test_groups_share_the_channels():
    with pytest.raises(ValueError, match="10 channels cannot be split into 4 groups"):
        SpectralMlp(10)
