"""Residual sums with a factor for each image against PyTorch's product and sum."""

import pytest
import torch

from mmmamba.ops.add_scaled import _AddScaled, add_scaled, scaled

from .interpreter import DEVICE, kernels
from .interpreter_memory import check_addresses
from .second_order import assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def make(shape, dtype=torch.float32, branch_dtype=torch.float32):
    """x, branch and factors, one of them 0."""
    torch.manual_seed(0)
    x, branch = torch.randn(2, *shape, device=DEVICE)
    factor = torch.tensor([1.25, 0.0, 0.7], device=DEVICE)[: len(x)]
    return x.to(dtype), branch.to(branch_dtype), factor.to(branch_dtype)


def plain(x, branch, factor):
    return x + scaled(branch, factor)


def outputs(call, x, branch, factor, expanded=False):
    x, branch = (t.detach().requires_grad_() for t in (x, branch))
    y = call(x, branch, factor)
    weights = torch.linspace(-1, 1, y.numel(), device=y.device).view_as(y).to(y.dtype)
    # In the layout that a layer behind would give it, or none.
    weights = weights[:1, :1].expand_as(y) if expanded else torch.empty_like(y).copy_(weights)
    return [y.detach(), *torch.autograd.grad(y, (x, branch), weights)]


@kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(3, 5, 7, 16), (2, 3, 3), (1, 9), (3, 700, 4), (0, 4, 8)])
def test_kernel_is_product_and_sum(where, shape, dtype, monkeypatch):
    """Bit for bit, whatever is rounded."""
    if where == "interpreter":
        check_addresses(monkeypatch)
    given = make(shape, dtype, torch.float16)
    for got, want in zip(outputs(_AddScaled.apply, *given), outputs(plain, *given), strict=True):
        assert got.dtype == want.dtype and torch.equal(got, want)


@kernels
def test_other_layouts(where):
    """A map that is channels-last in memory, and a gradient without strides."""
    x, branch, factor = make((3, 5, 4, 6), torch.float16, torch.float16)
    last = [t.contiguous(memory_format=torch.channels_last) for t in (x, branch)]
    for maps, expanded in ((last, False), ((x, branch), True)):
        found = [outputs(call, *maps, factor, expanded) for call in (_AddScaled.apply, plain)]
        for got, want in zip(*found, strict=True):
            assert torch.equal(got, want)
        assert found[0][0].stride() == found[1][0].stride()


@kernels
def test_second_derivatives(where):
    x, branch, factor = make((3, 2, 4))
    calls = (
        lambda x, branch: _AddScaled.apply(x.sin(), branch.sin(), factor),
        lambda x, branch: plain(x.sin(), branch.sin(), factor),
    )
    assert_second_order_equal(*calls, (x, branch))


def test_what_no_kernel_takes():
    x, branch, factor = make((3, 4, 5))
    assert torch.equal(add_scaled(x, branch, factor), plain(x, branch, factor))
    x = x.transpose(1, 2).contiguous().transpose(1, 2).double()
    assert torch.equal(add_scaled(x, branch, factor), plain(x, branch, factor))
