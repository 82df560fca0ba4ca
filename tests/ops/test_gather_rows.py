"""Rows gathered both ways against PyTorch's `index_select`."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.ops import gather_rows

from .interpreter import DEVICE, kernels
from .interpreter_memory import check_addresses
from .second_order import assert_forward_equal, assert_second_order_equal


def by_pytorch(x, index):
    return F.pad(x, (0, 0, 0, 1)).index_select(1, index)


def read_twice(rows=6, holes=0):
    """Two random orders of the rows one behind the other with holes between, and the inverse."""
    torch.manual_seed(0)
    orders = [torch.randperm(rows + holes).clamp(max=rows) for _ in range(2)]
    index = torch.cat(orders)
    inverse = torch.stack([(index == row).nonzero().flatten() for row in range(rows)])
    return index, inverse


@pytest.mark.parametrize("holes", [0, 3])
def test_values_and_derivatives(holes):
    index, inverse = read_twice(holes=holes)
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    calls = lambda x: gather_rows(x, index, inverse), lambda x: by_pytorch(x, index)
    assert torch.equal(*(call(x) for call in calls))
    assert_second_order_equal(*calls, [x], 1e-12)
    assert_forward_equal(*calls, [x], 1e-12)


def test_rows_that_nobody_reads():
    index = torch.tensor([4, 0, 2])
    inverse = torch.tensor([1, 3, 2, 3, 0])[:, None]
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    calls = lambda x: gather_rows(x, index, inverse), lambda x: by_pytorch(x, index)
    assert torch.equal(*(call(x) for call in calls))
    assert_second_order_equal(*calls, [x], 1e-12)


def test_gradients_are_sums_rounded_once():
    """Not one atomic addition after the other, each rounded to half precision."""
    index = torch.arange(4).repeat(8)
    inverse = torch.arange(32).view(8, 4).t()
    x = torch.randn(1, 4, 64).bfloat16().requires_grad_()
    grad = torch.randn(1, 32, 64).bfloat16()
    (got,) = torch.autograd.grad(gather_rows(x, index, inverse), x, grad)
    want = grad.view(1, 8, 4, 64).float().sum(1).bfloat16()
    assert torch.equal(got, want)


def test_compiles_into_one_graph():
    index, inverse = read_twice(holes=2)
    x = torch.randn(2, 6, 5, requires_grad=True)
    compiled = torch.compile(gather_rows, fullgraph=True, backend="aot_eager")
    found = [
        torch.autograd.grad(f(x, index, inverse).sin().sum(), x)[0] for f in (compiled, gather_rows)
    ]
    torch.testing.assert_close(*found)


@pytest.mark.gpu
def test_the_same_in_each_run():
    torch.manual_seed(0)
    length, reads = 4096, 8
    index = torch.stack([torch.randperm(length) for _ in range(reads)]).cuda()
    inverse = index.argsort(1) + length * torch.arange(reads, device="cuda")[:, None]
    x = torch.randn(2, length, 64, device="cuda", requires_grad=True)
    grad = torch.randn(2, reads * length, 64, device="cuda")
    y = gather_rows(x, index.flatten(), inverse.t())
    got, again = (torch.autograd.grad(y, x, grad, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(got, again)


@kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows, channels", [(1, 3), (37, 72)])
def test_sums_by_the_kernel(where, dtype, rows, channels, monkeypatch):
    from mmmamba.ops.kernels.gather_sums import gather_sums as by_kernel

    if where == "interpreter":
        check_addresses(monkeypatch)
    torch.manual_seed(0)
    orders = [torch.randperm(rows) + rows * k for k in range(3)]
    inverse = torch.stack(orders, 1).to(DEVICE, torch.int32)
    y = torch.randn(2, 3 * rows, channels).to(DEVICE, dtype)
    want = y.float()[:, inverse.flatten().long()].unflatten(1, inverse.shape).sum(2)
    # The interpreter cuts off where a GPU rounds.
    tolerance = dict(rtol=1e-6, atol=1e-6) if dtype == torch.float32 else dict(rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(by_kernel(y, inverse).float(), want, **tolerance)
    assert by_kernel(y[:0], inverse).shape == (0, rows, channels)
