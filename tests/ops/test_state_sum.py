"""VSSD's state against its definition, and its kernels against PyTorch's operators."""

import pytest
import torch

from mmmamba.ops import state_sum
from mmmamba.ops.state_sum import _Fused, _plain

from .interpreter import DEVICE, inside, kernels
from .second_order import assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def inputs(length, heads, channels, d_state, dtype=torch.float32, device="cpu"):
    torch.manual_seed(0)
    xBC = torch.randn(2, length, heads * channels + 2 * d_state, device=device).to(dtype)
    weight, D = torch.rand(2, length, heads, device=device), torch.randn(heads, device=device)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return xBC, weight.to(wide), D.to(wide), d_state


def test_definition():
    """Token by token, head by head."""
    xBC, weight, D, N = inputs(5, 3, 2, 4, torch.float64)
    x, B, C = xBC.split((6, N, N), -1)
    want = torch.zeros_like(x)
    for head in range(3):
        part = slice(2 * head, 2 * head + 2)
        state = sum(
            weight[:, k, head, None, None] * B[:, k, :, None] * x[:, k, None, part]
            for k in range(5)
        )
        want[..., part] = C @ state + D[head] * x[..., part]
    torch.testing.assert_close(state_sum(xBC, weight, D, N), want)


def test_sums_beyond_float16_stay_finite_and_exact():
    xBC = torch.full((1, 3000, 20), 8.0)
    weight, D = torch.ones(1, 3000, 1), torch.ones(1)
    want = 8.0 + 8 * 8.0 * 3000 * 8 * 8
    y = state_sum(xBC.half(), weight, D, 8)
    assert y.dtype == torch.float32 and float(y.max()) == float(y.min()) == want
    with torch.autocast("cpu", torch.bfloat16):
        assert float(state_sum(xBC, weight, D, 8).max()) == want


def test_shapes_that_do_not_fit_are_named():
    xBC, weight, D, N = inputs(5, 3, 2, 4)
    with pytest.raises(ValueError, match=r"weight \(2, 5, 2\).*wanted \(B, L, D \+ 2 d_state\)"):
        state_sum(xBC, weight[..., :2], D, N)
    with pytest.raises(ValueError, match="D a multiple of G"):
        state_sum(xBC[..., 1:], weight, D, N)


@kernels
@pytest.mark.parametrize(
    ("length", "heads", "channels", "d_state", "dtype"),
    [
        (1, 1, 4, 3, torch.float32),
        (70, 3, 20, 18, torch.float32),
        (70, 1, 20, 16, torch.float16),
        (66, 2, 16, 5, torch.bfloat16),
    ],
)
def test_kernels_equal_pytorch(where, length, heads, channels, d_state, dtype):
    given = inputs(length, heads, channels, d_state, dtype, DEVICE)
    results = []
    for function in (_Fused.apply, _plain):
        leaves = [x.detach().clone().requires_grad_() for x in given[:3]]
        y = function(*leaves, d_state)
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        y.backward(grad.to(y))
        results.append([y.detach(), *(x.grad for x in leaves)])
    # A bfloat16 state and products of it have eight bits.
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    for got, want in zip(*results):
        assert got.dtype == want.dtype
        atol = tolerance * float(want.abs().max())
        torch.testing.assert_close(got, want, rtol=tolerance, atol=atol)


@kernels
def test_kernels_take_gradients_of_one_number(where):
    xBC, weight, D, N = inputs(9, 1, 16, 16, device=DEVICE)
    found = []
    for function in (_Fused.apply, _plain):
        leaf = xBC.clone().requires_grad_()
        function(leaf, weight, D, N).sum().backward()
        found.append(leaf.grad)
    torch.testing.assert_close(*found)


@inside
def test_second_derivatives():
    given = inputs(3, 2, 4, 3)[:3]
    assert_second_order_equal(lambda *x: _Fused.apply(*x, 3), lambda *x: _plain(*x, 3), given)
