"""The fusion of states by definition, and its kernels against PyTorch's operators.

The kernels run on a GPU, and small in Triton's interpreter.
"""

import importlib

import pytest
import torch
from torch.func import grad, vmap

from mmmamba.ops import fuse_states
from mmmamba.ops.state_fusion import _Fused, _plain, kernels_take

from .interpreter import DEVICE, inside
from .interpreter_memory import check_addresses
from .second_order import assert_forward_equal, assert_second_order_equal, leaves

pytestmark = pytest.mark.usefixtures("poisoned_memory")
DILATIONS = (1, 3, 5)
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}


def make(shape, dtype=torch.float64, device="cpu", dilations=DILATIONS, low=None):
    """States, kernels, C, u and skip weights; `low` is the dtype of all maps."""
    torch.manual_seed(0)
    channels = shape[-1]
    shapes = (shape, (len(dilations), channels, 3, 3), shape[:-1], shape, (channels,))
    made = [torch.randn(s).to(device, dtype) for s in shapes]
    maps = (0, 2, 3)
    return [x.to(low) if low and i in maps else x for i, x in enumerate(made)]


def call(function, h, weights, C, u=None, skip=None, dilations=DILATIONS):
    if function is fuse_states:
        return fuse_states(h, weights, C, dilations, u, skip)
    return function(h, weights, C, u, skip, dilations)


def by_definition(h, weights, C, u=None, skip=None, dilations=DILATIONS):
    """Tap by tap, rows and columns beyond the map taken from its border."""
    _, H, W, _ = h.shape
    fused = torch.zeros_like(h)
    for kernel, s in zip(weights, dilations):
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                rows = (torch.arange(H) + i * s).clamp(0, H - 1)
                columns = (torch.arange(W) + j * s).clamp(0, W - 1)
                fused = fused + kernel[:, i + 1, j + 1] * h[:, rows][:, :, columns]
    y = C[..., None] * fused
    return y if u is None else y + skip * u


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (7, 4)])
def test_definition(size):
    given = make((2, *size, 3))
    for some in (given, given[:3]):
        torch.testing.assert_close(call(fuse_states, *some), by_definition(*some))
        assert_second_order_equal(
            lambda *x: call(fuse_states, *x), lambda *x: by_definition(*x), some, 1e-9
        )


def test_forward_mode_and_gradients_of_each_sample():
    given = make((2, 3, 4, 2))
    assert_forward_equal(lambda *x: call(fuse_states, *x), by_definition, given)

    def loss(kernels, h, C, u):
        return call(fuse_states, h[None], kernels, C[None], u[None], given[4]).square().sum()

    h, weights, C, u, _ = given
    each = vmap(grad(loss), (None, 0, 0, 0))(weights, h, C, u)
    for i in range(len(h)):
        torch.testing.assert_close(each[i], grad(loss)(weights, h[i], C[i], u[i]))


def test_half_precision_returns_the_dtype_of_the_states():
    for low in (torch.bfloat16, torch.float16):
        assert call(fuse_states, *make((1, 3, 4, 2), torch.float32, low=low)).dtype == low
    h, *others = make((1, 3, 4, 2), torch.float32, low=torch.float16)
    assert call(fuse_states, h.float(), *others).dtype == torch.float32


def test_what_does_not_fit_is_named():
    h, weights, C, u, _ = make((1, 3, 4, 2))
    with pytest.raises(ValueError, match=r"kernels_JD33 is \(3, 2, 3, 3\).*ask for \(2, 2, 3, 3\)"):
        fuse_states(h, weights, C, (1, 3))
    with pytest.raises(ValueError, match=r"C_BHW is \(1, 3\)"):
        fuse_states(h, weights, C[..., 0])
    with pytest.raises(ValueError, match="both u_BHWD and skip_D, or neither"):
        fuse_states(h, weights, C, u_BHWD=u)


def test_which_way_is_taken(monkeypatch):
    """As on a GPU that nobody watches."""
    module = importlib.import_module("mmmamba.ops.state_fusion")
    monkeypatch.setattr(module, "unwatched", lambda x: True)
    monkeypatch.setattr(module, "HAS_TRITON", True)
    given = make((1, 3, 4, 2), torch.float32)
    assert kernels_take(*given, DILATIONS)
    assert not kernels_take(*given, (1, 3, 256))
    assert not kernels_take(*given, (1, 2, 3, 4, 5))
    assert not kernels_take(*make((1, 3, 4, 2)), DILATIONS)
    huge = torch.empty(1, 2**14, 2**14, 8, device="meta")
    assert not kernels_take(huge, *given[1:], DILATIONS)


def check_kernels(shape, low, dilations, skips):
    given = make(shape, torch.float32, DEVICE, dilations, low)[: 5 if skips else 3]
    dy = torch.randn(shape, device=DEVICE).to(given[0].dtype)
    found = []
    for function, tensors in ((_Fused.apply, given), (_plain, [x.double() for x in given])):
        wanted = leaves(tensors)
        y = call(function, *wanted, dilations=dilations)
        found.append([y.detach(), *torch.autograd.grad(y, wanted, dy.to(y.dtype))])
    for got, want, like in zip(*found, [given[0], *given]):
        assert got.dtype == like.dtype
        tolerance = TOLERANCE[low or torch.float32]
        torch.testing.assert_close(
            got.double(), want, rtol=tolerance, atol=tolerance * float(want.abs().max())
        )


@inside
@pytest.mark.parametrize(
    ("shape", "low", "dilations", "skips"),
    [
        ((2, 1, 1, 3), None, DILATIONS, True),
        ((1, 9, 3, 8), None, DILATIONS, True),
        ((1, 2, 5, 40), torch.bfloat16, (2,), False),
    ],
)
def test_kernels_equal_pytorch(shape, low, dilations, skips, monkeypatch):
    check_addresses(monkeypatch)
    check_kernels(shape, low, dilations, skips)


@pytest.mark.gpu
@pytest.mark.parametrize("low", TOLERANCE)
@pytest.mark.parametrize(
    ("shape", "dilations", "skips"),
    [
        ((2, 14, 14, 512), DILATIONS, True),
        ((3, 7, 7, 200), DILATIONS, True),
        ((1, 50, 84, 128), DILATIONS, True),
        ((2, 1, 5, 33), (1, 2, 3, 4), False),
    ],
)
def test_on_a_gpu(shape, low, dilations, skips):
    """Within rounding of float64, and bit-equal from run to run."""
    check_kernels(shape, low, dilations, skips)
    given = leaves(make(shape, torch.float32, DEVICE, dilations, low))
    first, again = (
        torch.autograd.grad(call(fuse_states, *given, dilations=dilations).sum(), given)
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again))


@inside
def test_second_derivatives_and_gradients_in_other_strides():
    given = make((1, 3, 4, 2), torch.float32, dilations=(2,))

    def fused(*tensors):
        return call(_Fused.apply, *tensors, dilations=(2,))

    def defined(*tensors):
        return by_definition(*tensors, dilations=(2,))

    assert_second_order_equal(fused, defined, given)
    wanted = leaves(given)
    of_a_sum = torch.autograd.grad(fused(*wanted).sum(), wanted)
    for got, want in zip(of_a_sum, torch.autograd.grad(defined(*wanted).sum(), wanted)):
        torch.testing.assert_close(got, want)


@inside
def test_empty_batch():
    given = leaves(make((0, 3, 4, 2), torch.float32))
    y = call(_Fused.apply, *given)
    found = torch.autograd.grad(y.sum(), given)
    assert y.shape == given[0].shape
    assert all(g.shape == x.shape and not g.any() for g, x in zip(found, given))
