"""One gate for maps, sequences and routes, with and without a norm."""

import pytest
import torch
from torch import nn

from mmmamba.layers import ChannelGate


def gated(gate: ChannelGate, x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    return x * gate.channel_select(gate.act(gate.global_reduce(mean))).sigmoid()


def test_maps_and_their_gradients():
    gate = ChannelGate(16).double()
    x = torch.randn(2, 3, 5, 16, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(gate(x), gated(gate, x, gate.norm(x).mean((1, 2), keepdim=True)))
    gate(x).sin().sum().backward()
    assert all(p.grad.any() for p in [x, *gate.parameters()])


def test_routes_are_gated_each_apart_with_the_same_weights():
    gate = ChannelGate(16, over=(1,))
    x = torch.randn(2, 6, 3, 16)
    for k in range(3):
        torch.testing.assert_close(gate(x)[:, :, k], gate(x[:, :, k]))
    assert gate.weights(x).shape == (2, 1, 3, 16)


@pytest.mark.parametrize(
    "arguments, names",
    [
        (
            dict(),
            ["norm.weight", "norm.bias", "global_reduce.weight", "global_reduce.bias"]
            + ["channel_select.weight", "channel_select.bias"],
        ),
        (dict(norm=False, bias=False), ["global_reduce.weight", "channel_select.weight"]),
    ],
)
def test_names(arguments, names):
    assert list(ChannelGate(16, **arguments).state_dict()) == names


def test_plain_squeeze_and_excitation():
    """MSVMamba's: no norm, no biases, ReLU; hidden width rounded down."""
    gate = ChannelGate(20, norm=False, bias=False, act_layer=nn.ReLU)
    assert gate.global_reduce.weight.shape == (2, 20)
    x = torch.randn(2, 3, 4, 20)
    torch.testing.assert_close(gate(x), gated(gate, x, x.mean((1, 2), keepdim=True)))


def test_the_gate_keeps_the_dtype():
    with torch.autocast("cpu", torch.bfloat16):
        assert ChannelGate(16)(torch.randn(1, 2, 2, 16)).dtype == torch.float32
        assert ChannelGate(16)(torch.randn(1, 2, 2, 16).bfloat16()).dtype == torch.bfloat16
