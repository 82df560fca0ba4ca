"""Kernels of depthwise convolutions with a stride of 2 against PyTorch's operators."""

import pytest
import torch

from mmmamba.ops import depthwise_conv
from mmmamba.ops.depthwise_conv import _plain, _Strided, plain_of_one_dtype

from .interpreter import DEVICE, ON_GPU, gpu, kernels
from .interpreter_memory import check_addresses
from .second_order import assert_second_order_equal
from .test_depthwise_conv import TOLERANCE, assert_close
from .test_depthwise_conv import make as make_all

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.fixture
def memory(monkeypatch):
    """Kernels touch nothing but the tensors they are given."""
    if not ON_GPU:
        check_addresses(monkeypatch)


def make(batch, channels, height, width, side=7, *options, **named):
    x, weight, bias, grad = make_all(
        batch, channels, height, width, side, *options, device=DEVICE, **named
    )
    # Of every second row and column.
    return x, weight, bias, grad[:, :, ::2, ::2]


def outputs(function, x, weight, bias, grad, *options):
    leaves = [None if t is None else t.detach().requires_grad_() for t in (x, weight, bias)]
    y = function(*leaves, *options)
    return [y.detach(), *torch.autograd.grad(y, [t for t in leaves if t is not None], grad)]


def in_float32(tensors):
    return [None if t is None else t.float() for t in tensors]


@kernels
@pytest.mark.parametrize(
    ("shape", "side", "bias", "act", "sliced", "dtype"),
    [
        ((2, 3, 1, 1), 7, True, "silu", False, torch.float32),
        ((1, 72, 3, 4), 7, True, "silu", True, torch.float32),
        ((2, 8, 4, 3), 7, False, None, False, torch.bfloat16),
        ((2, 5, 4, 9), 3, True, "silu", True, torch.float16),
        ((1, 8, 2, 3), 5, True, None, False, torch.float32),
    ],
)
def test_kernels_equal_pytorch(where, memory, shape, side, bias, act, sliced, dtype):
    given = make(*shape, side, bias, dtype, sliced=sliced)
    got, want = outputs(_Strided.apply, *given, act), outputs(_plain, *in_float32(given), act, 2)
    assert got[0].permute(0, 2, 3, 1).is_contiguous() and got[0].dtype == dtype
    assert_close(got, want, TOLERANCE[dtype])


@kernels
def test_gradients_in_other_strides_and_only_those_wanted(where, memory):
    x, weight, bias, grad = make(2, 8, 3, 4, 3)
    for given in (torch.ones((), device=DEVICE).expand(grad.shape), grad.contiguous()):
        got, want = (
            outputs(call, x, weight, bias, given, *options)
            for call, options in ((_Strided.apply, ("silu",)), (_plain, ("silu", 2)))
        )
        assert_close(got, want, 1e-5)
    leaf = x.detach().requires_grad_()
    (dx,) = torch.autograd.grad(_Strided.apply(leaf, weight, bias, "silu"), leaf, grad)
    (want,) = torch.autograd.grad(_plain(leaf, weight, bias, "silu", 2), leaf, grad)
    assert_close([dx], [want], 1e-5)
    leaf = weight.detach().requires_grad_()
    (dweight,) = torch.autograd.grad(_Strided.apply(x, leaf, None, None), leaf, grad)
    (want,) = torch.autograd.grad(_plain(x, leaf, None, None, 2), leaf, grad)
    assert_close([dweight], [want], 1e-5)


@kernels
def test_second_derivatives(where):
    given = make(1, 4, 3, 2, 3)[:3]
    assert_second_order_equal(
        lambda *x: _Strided.apply(*x, "silu"), lambda *x: plain_of_one_dtype(*x, "silu", 2), given
    )


@kernels
def test_empty_batch(where):
    x, weight, bias, grad = make(0, 8, 4, 5)
    y, dx, dweight, dbias = outputs(_Strided.apply, x, weight, bias, grad, "silu")
    assert y.shape == (0, 8, 2, 3) and dx.shape == x.shape
    assert not dweight.any() and not dbias.any()


@pytest.mark.parametrize("where", [pytest.param("gpu", marks=gpu)])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("shape", "side"), [((2, 96, 50, 85), 7), ((3, 200, 7, 7), 7), ((1, 192, 201, 334), 3)]
)
def test_on_a_gpu(where, shape, side, dtype):
    """Within rounding of float64, and bit-equal from run to run."""
    given = make(*shape, side, True, dtype)
    want = outputs(_plain, *(t.double() for t in given), "silu", 2)
    got, again = (outputs(depthwise_conv, *given, "silu", 2) for _ in range(2))
    assert_close(got, want, TOLERANCE[dtype])
    assert all(torch.equal(a, b) for a, b in zip(got, again))
