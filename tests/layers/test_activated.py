"""Activations that are computed twice: the same outputs and gradients as those that are kept."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmamba.layers import DepthwiseConv, Mlp
from mmmamba.layers.activated import ActLinear
from mmmamba.ops.recompute import gelu_linear, gelu_mlp


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("bias", [True, False])
def test_gelu_linear(approximate, bias):
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    leaves = [x, weight]
    if bias:
        leaves.append(torch.randn(4, dtype=torch.float64, requires_grad=True))
    want = F.linear(F.gelu(x, approximate=approximate), *leaves[1:])
    got = gelu_linear(x, weight, leaves[2] if bias else None, approximate)
    assert torch.equal(got, want)
    g = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(got, leaves, g), torch.autograd.grad(want, leaves, g)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("frozen", [(), (0,), (1, 2), (2,), (3, 4), (4,), (0, 1, 2)])
def test_gelu_mlp(approximate, frozen):
    """Whatever of it is frozen."""
    shapes = (2, 3, 5, 8), (12, 8), (12,), (4, 12), (4,)
    leaves = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    wanted = [x.requires_grad_() for i, x in enumerate(leaves) if i not in frozen]
    x, *parameters = leaves
    wide = F.gelu(F.linear(x, *parameters[:2]), approximate=approximate)
    want = F.linear(wide, *parameters[2:])
    got = gelu_mlp(*leaves, approximate)
    assert torch.equal(got, want)
    g = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(got, wanted, g), torch.autograd.grad(want, wanted, g)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_hooks_see_a_plain_mlp(monkeypatch):
    """Where both layers would be one step, a hook on either still sees its layer."""
    monkeypatch.setattr("mmmamba.layers.mlp.recompute_pays", lambda x: True)
    mlp, x, seen = Mlp(4), torch.randn(2, 4), []
    assert type(mlp(x).grad_fn).__name__ == "_GeluMlpBackward"
    for layer in (mlp.fc1, mlp.fc2, mlp.fc2.act):
        with layer.register_forward_hook(lambda module, given, y: seen.append(module)):
            mlp(x)
    assert seen == [mlp.fc1, mlp.fc2, mlp.fc2.act]
    nn.utils.parametrize.register_parametrization(mlp.fc1, "weight", nn.Identity())
    assert type(mlp(x).grad_fn).__name__ != "_GeluMlpBackward"


@pytest.mark.parametrize("act", [None, F.silu, F.gelu])
@pytest.mark.parametrize(
    "kernel_size, stride", [(3, 1), (7, 1), (3, 2), (7, 2), (5, 3), ((7, 1), 1), ((1, 5), 2)]
)
def test_depthwise_conv(act, kernel_size, stride):
    torch.manual_seed(0)
    layer = DepthwiseConv(6, kernel_size, stride, act=act).double()
    x = torch.randn(2, 6, 7, 5, dtype=torch.float64, requires_grad=True)
    want = nn.Conv2d.forward(layer, x)
    assert want.shape[2:] == (-(-7 // stride), -(-5 // stride)), "sides round up"
    want = want if act is None else act(want)
    got = layer(x)
    assert torch.equal(got, want)
    leaves = [x, *layer.parameters()]
    g = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(got, leaves, g), torch.autograd.grad(want, leaves, g)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_depthwise_conv_has_the_state_of_a_convolution():
    assert list(DepthwiseConv(6, act=F.silu).state_dict()) == ["weight", "bias"]
    assert list(DepthwiseConv(6, bias=False).state_dict()) == ["weight"]
    for even in (4, (3, 2)):
        with pytest.raises(ValueError, match="odd kernel_size, got"):
            DepthwiseConv(6, even)


def test_only_wanted_gradients_are_computed():
    """A frozen layer in front of a trained one."""
    x = torch.randn(2, 8)
    weight, bias = torch.randn(4, 8, requires_grad=True), torch.randn(4)
    gelu_linear(x, weight, bias).sum().backward()
    assert weight.grad is not None and x.grad is None


@pytest.mark.gpu
@pytest.mark.parametrize("act", [nn.GELU(), nn.GELU("tanh"), nn.SiLU()])
def test_layers_on_a_gpu_keep_less(act):
    """The same numbers under autocast as without gradients, and only GELU's input is kept."""
    layer = ActLinear(256, 64, act).cuda()
    x = torch.randn(4096, 256, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cuda", torch.bfloat16):
        with torch.no_grad():
            want = layer(x)
        before = torch.cuda.memory_allocated()
        got = layer(x)
    assert torch.equal(got, want)
    kept = torch.cuda.memory_allocated() - before - got.nbytes
    assert (kept < 0.5 * x.nbytes) == (type(act) is nn.GELU)
    got.float().sum().backward()
    assert x.grad.isfinite().all() and layer.weight.grad.dtype == torch.float32


@pytest.mark.gpu
def test_mlp_on_a_gpu_keeps_its_input_and_one_wide_tensor():
    mlp = Mlp(64).cuda()
    x = torch.randn(4096, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cuda", torch.bfloat16):
        with torch.no_grad():
            want = mlp(x)
        before = torch.cuda.memory_allocated()
        got = mlp(x)
    assert torch.equal(got, want)
    assert torch.cuda.memory_allocated() - before < got.nbytes + 4.5 * x.nbytes
    got.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in mlp.parameters())
