"""The norm's kernels on a branch with a factor for each image, against product and norm."""

import functools

import pytest
import torch

from mmmamba.ops import add_layer_norm
from mmmamba.ops.add_scaled import scaled

from .interpreter import gpu, inside, kernels
from .second_order import assert_forward_equal, assert_second_order_equal
from .test_layer_norm import make

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def factor_of(x, branch):
    """One for each image of the branch: dropped, kept, and neither."""
    return torch.tensor([0.0, 1.25, 0.7, 3.0], device=x.device)[: len(x)].to(branch.dtype)


def assert_factor_is_a_product(dtype, branch_dtype, rms, used, shape=(3, 7, 2, 24)):
    """The same numbers, bit for bit, as if the branch had been multiplied before."""
    x, branch, weight, bias, *grads = make(shape, dtype, branch_dtype, rms)
    factor, found = factor_of(x, branch), []
    for given in (True, False):
        leaves = [t.detach().clone().requires_grad_() for t in (x, branch, weight)]
        x, branch, weight = leaves
        summand = branch if given else scaled(branch, factor)
        outputs = add_layer_norm(
            x, summand, weight, bias, backend="triton", factor=factor if given else None
        )
        gradients = [grads[i].to(outputs[i].dtype) for i in used]
        torch.autograd.backward([outputs[i] for i in used], gradients)
        found.append([*outputs, *(t.grad for t in leaves)])
    for got, want in zip(*found, strict=True):
        assert (got is None) == (want is None)
        assert got is None or torch.equal(got, want)


@kernels
@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("used", [(0, 1), (0,), (1,)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_factor_is_a_product(where, dtype, used, rms):
    assert_factor_is_a_product(dtype, torch.float16, rms, used)


@inside
def test_factor_of_single_rows():
    assert_factor_is_a_product(torch.float32, torch.float32, False, (0, 1), (4, 6))
    assert_factor_is_a_product(torch.float32, torch.float32, False, (0, 1), (3, 1, 1100))


@kernels
def test_second_derivatives_and_forward_mode_with_a_factor(where):
    x, branch, weight, bias, _, _ = make((3, 2, 8), branch_dtype=torch.float32)
    factor = factor_of(x, branch)

    def norm(x, branch, weight, bias, backend):
        y, total = add_layer_norm(x, branch, weight, bias, backend=backend, factor=factor)
        return torch.cat([y, total.square()])

    calls = [functools.partial(norm, backend=backend) for backend in ("triton", "torch")]
    assert_second_order_equal(*calls, (x, branch, weight, bias))
    assert_forward_equal(*calls, (x, branch, weight, bias))


def test_factor_by_pytorch_and_compiled():
    x, branch, weight, bias, _, _ = make((3, 2, 8), branch_dtype=torch.float32)
    factor = factor_of(x, branch)
    want = add_layer_norm(x, scaled(branch, factor), weight, bias, backend="torch")
    compiled = torch.compile(add_layer_norm, fullgraph=True, backend="aot_eager")
    for call in (add_layer_norm, compiled):
        got = call(x, branch, weight, bias, backend="torch", factor=factor)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)


def test_errors():
    x, weight = torch.randn(2, 8), torch.ones(8)
    with pytest.raises(ValueError, match=r"factor is \(1,\) of torch.float32, wanted \(2,\) of"):
        add_layer_norm(x, x, weight, weight, factor=torch.ones(1))
    with pytest.raises(ValueError, match="wants a gradient, which is not computed"):
        add_layer_norm(x, x, weight, weight, factor=torch.ones(2, requires_grad=True))


@pytest.mark.parametrize("where", [pytest.param("gpu", marks=gpu)])
@pytest.mark.parametrize("width", [16, 96, 192, 768, 1536])
def test_factor_at_widths_of_models(where, width):
    for dtype in (torch.bfloat16, torch.float32):
        assert_factor_is_a_product(dtype, torch.bfloat16, False, (0, 1), (3, 33, 21, width))
