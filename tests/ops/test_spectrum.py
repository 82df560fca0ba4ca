"""Tokens with their spectrum: against sums over all pairs, and kernels against PyTorch."""

import math

import pytest
import torch

from mmmamba.ops import add_spectrum
from mmmamba.ops.spectrum import _Fused, _plain

from .interpreter import DEVICE, kernels
from .interpreter_memory import check_addresses
from .second_order import assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def make(shape, dtype=torch.float32, weight_dtype=torch.float32):
    """Tokens of a mean that is not zero, and weights."""
    torch.manual_seed(0)
    x = (torch.randn(shape, device=DEVICE) + 0.3).to(dtype)
    return x, torch.tensor([0.7, -1.3], device=DEVICE, dtype=weight_dtype)


def by_sums(x_BLC, weight):
    """The definition, as two products with matrices of sines and cosines."""

    def matrix(n):
        turns = torch.outer(torch.arange(n), torch.arange(n)).double() / n
        return torch.polar(torch.ones_like(turns), -2 * math.pi * turns)

    L, C = x_BLC.shape[1:]
    F_BLC = matrix(L) @ x_BLC.to(torch.complex128) @ matrix(C)
    return weight[0] * x_BLC + weight[1] * F_BLC.abs() / math.sqrt(L * C)


def outputs(call, x, weight, shift):
    x, weight = (t.detach().requires_grad_() for t in (x, weight))
    y = call(x, weight, shift)
    slopes = torch.linspace(-1, 1, y.numel(), device=y.device).view_as(y).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, (x, weight), slopes)]


def test_definition():
    x, weight = (t.cpu().double() for t in make((2, 5, 6)))
    want = by_sums(x, weight)
    torch.testing.assert_close(add_spectrum(x, weight), want)
    # Shifted, the frequency 0 stands at (2, 3) of 5 x 6: half of each side, rounded down.
    spectrum = add_spectrum(x, weight.new_tensor([0, 1]), shift=True)
    mean = x.sum((1, 2)).abs() / math.sqrt(30)
    torch.testing.assert_close(spectrum[:, 2, 3], mean)
    # Images do not touch.
    torch.testing.assert_close(add_spectrum(x[1:], weight, True), add_spectrum(x, weight, True)[1:])


def test_half_precision_and_no_slope_at_zero():
    x, weight = make((2, 7, 6), torch.bfloat16)
    y = add_spectrum(x, weight)
    assert y.dtype == torch.bfloat16
    want = add_spectrum(x.float(), weight)
    torch.testing.assert_close(y.float(), want, rtol=1e-2, atol=1e-2)
    x = torch.zeros(1, 4, 4, requires_grad=True)
    add_spectrum(x, torch.ones(2)).sum().backward()
    assert torch.equal(x.grad, torch.ones(1, 4, 4))


@kernels
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("shape", [(2, 9, 8), (1, 1, 5), (3, 6, 131), (2, 2, 1), (2, 1, 2)])
def test_kernels_equal_pytorch(where, shape, shift, monkeypatch):
    if where == "interpreter":
        check_addresses(monkeypatch)
    given = (*make(shape), shift)
    for got, want in zip(outputs(_Fused.apply, *given), outputs(_plain, *given), strict=True):
        scale = float(want.abs().max())
        torch.testing.assert_close(got, want, rtol=1e-5, atol=2e-5 * scale)


@kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weight_dtype", [torch.float32, None])
def test_half_precision_of_the_kernels(where, dtype, weight_dtype):
    x, weight = make((2, 7, 10), dtype, weight_dtype or dtype)
    found = [outputs(call, x, weight, False) for call in (_Fused.apply, _plain)]
    for got, want in zip(*found, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got.float(), want.float(), rtol=2e-2, atol=2e-2)


@kernels
def test_zeros_have_no_slope(where):
    x, weight = torch.zeros(1, 4, 6, device=DEVICE), torch.ones(2, device=DEVICE)
    got, want = (outputs(call, x, weight, False) for call in (_Fused.apply, _plain))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


@kernels
def test_a_gradient_without_strides(where):
    x, weight = make((2, 5, 4))
    found = []
    for call in (_Fused.apply, _plain):
        leaf = x.detach().requires_grad_()
        call(leaf, weight, False).sum().backward()
        found.append(leaf.grad)
    torch.testing.assert_close(*found)


@kernels
@pytest.mark.parametrize("shift", [False, True])
def test_second_derivatives(where, shift):
    calls = (
        lambda x, weight: _Fused.apply(x.sin(), weight, shift),
        lambda x, weight: _plain(x.sin(), weight, shift),
    )
    assert_second_order_equal(*calls, make((2, 3, 4)), 1e-3)
