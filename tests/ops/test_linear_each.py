"""Linear layers side by side."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from mmmamba.ops import linear_each as module
from mmmamba.ops.linear_each import block_diagonal, grouped_linear, linear_each


def one_by_one(u_BLKE, weight_KXE):
    outputs = [F.linear(u_BLKE[:, :, k], weight_KXE[k]) for k in range(len(weight_KXE))]
    return torch.stack(outputs, 2)


@pytest.mark.parametrize("function", [linear_each, module._Each.apply])
@pytest.mark.parametrize("routes", [1, 3])
@pytest.mark.parametrize("frozen", [None, 0, 1])
def test_equals_the_layers_one_by_one(function, routes, frozen):
    u = torch.randn(2, 5, routes, 6, dtype=torch.float64)
    # A part of something wider, as the rank's numbers are, and gradients that lie route by route.
    leaves = [u[..., :4], torch.randn(routes, 3, 4, dtype=torch.float64)]
    wanted = [x.requires_grad_() for i, x in enumerate(leaves) if i != frozen]
    got, want = function(*leaves), one_by_one(*leaves)
    torch.testing.assert_close(got, want)
    grad = torch.randn(routes, 2, 5, 3, dtype=torch.float64).permute(1, 2, 0, 3)
    for a, b in zip(
        torch.autograd.grad(got, wanted, grad), torch.autograd.grad(want, wanted, grad), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_differentiated_again_and_in_batches():
    leaves = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 2, 2, 3), (2, 2, 3))
    ]
    assert gradcheck(module._Each.apply, leaves, check_batched_grad=True)
    assert gradgradcheck(module._Each.apply, leaves, fast_mode=True)


@pytest.mark.gpu
def test_autocast_on_a_gpu():
    """The layers' own dtypes, and gradients as theirs."""
    leaves = [torch.randn(8, 197, 2, 384), torch.randn(2, 44, 384) / 20]
    results = []
    for function in (linear_each, one_by_one):
        given = [x.cuda().requires_grad_() for x in leaves]
        with torch.autocast("cuda", torch.bfloat16):
            y = function(*given)
        y.float().square().sum().backward()
        results.append([y.detach(), *(x.grad for x in given)])
    for got, want in zip(*results):
        assert got.dtype == want.dtype
        atol = 2e-2 * float(want.abs().max())
        torch.testing.assert_close(got, want, rtol=2e-2, atol=atol)


@pytest.mark.parametrize("parts", [1, 2])
def test_groups_of_channels_have_their_own_layers(parts):
    x = torch.randn(2, 5, 3 * 4, dtype=torch.float64)
    weight = torch.randn(3, parts, 6, 4, dtype=torch.float64, requires_grad=True)
    outputs = [
        F.linear(x[..., 4 * k : 4 * k + 4], weight[k, j]) for j in range(parts) for k in range(3)
    ]
    want = torch.cat(outputs, -1)
    # On a CPU the layers one by one; as one product on a GPU.
    for got in (grouped_linear(x, weight), F.linear(x, block_diagonal(weight))):
        torch.testing.assert_close(got, want)
        (grad,) = torch.autograd.grad(got.sin().sum(), weight)
        torch.testing.assert_close(
            grad, *torch.autograd.grad(want.sin().sum(), weight, retain_graph=True)
        )
