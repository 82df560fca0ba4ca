"""Norms of products against their definition and PyTorch's operators.

`test_norm_gate` starts the interpreter for this file too.
"""

import pytest
import torch

from mmmamba.ops import product_norm
from mmmamba.ops.product_norm import _Fused, _plain

from .interpreter import DEVICE, inside, kernels
from .second_order import assert_second_order_equal


def inputs(sides, channels, dtype=torch.float32, device="cpu"):
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, *sides, channels) + 0.5
    factor = torch.rand(3, channels)
    weight, bias = torch.randn(2, channels)
    return [
        x.to(device, dtype),
        y.to(device, dtype),
        *[t.to(device) for t in (factor, weight, bias)],
    ]


def test_definition():
    x, y, factor, weight, bias = given = [t.double() for t in inputs((2, 4), 6)]
    product = x * y * factor[:, None, None]
    deviation = product - product.mean(-1, keepdim=True)
    want = deviation / (deviation.square().mean(-1, keepdim=True) + 1e-3).sqrt() * weight + bias
    torch.testing.assert_close(product_norm(*given, 1e-3), want)
    # For a linear layer, which takes autocast's dtype.
    with torch.autocast("cpu", torch.bfloat16):
        assert product_norm(*inputs((2, 4), 6)).dtype == torch.bfloat16
    assert product_norm(x.half(), y.half(), factor, weight, bias).dtype == torch.float16


def test_what_does_not_fit_is_refused():
    x, y, factor, weight, bias = inputs((4,), 6)
    for given in ((x, y[:, :2], factor, weight, bias), (x, y, factor[0], weight, bias)):
        with pytest.raises(ValueError, match=r"product_norm: x is \(3, 4, 6\)"):
            product_norm(*given)


@kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("sides", "channels"), [((1, 1), 4), ((7, 9), 48), ((3, 2), 348)])
def test_kernels_equal_pytorch(where, sides, channels, dtype):
    given = inputs(sides, channels, dtype, DEVICE)
    grad = torch.randn(given[0].shape, device=DEVICE).to(dtype).transpose(1, 2).contiguous()
    results = []
    for function in (_Fused.apply, _plain):
        leaves = [t.detach().requires_grad_() for t in given]
        out = function(*leaves, 1e-5, dtype)
        results.append([out.detach(), *torch.autograd.grad(out, leaves, grad.transpose(1, 2))])
    tolerance = 2e-5 if dtype == torch.float32 else 2e-2
    for got, want in zip(*results):
        assert got.dtype == want.dtype
        near = dict(rtol=tolerance, atol=tolerance * float(want.abs().max()))
        torch.testing.assert_close(got, want, **near)


@inside
def test_no_positions():
    given = [t.requires_grad_() for t in inputs((0, 3), 8)]
    _Fused.apply(*given, 1e-5, torch.float32).sum().backward()
    assert all(t.grad.eq(0).all() for t in given)


@inside
def test_second_derivatives():
    assert_second_order_equal(
        lambda *given: _Fused.apply(*given, 1e-5, torch.float32),
        lambda *given: _plain(*given, 1e-5, torch.float32),
        tuple(inputs((2, 2), 5)),
    )
