"""A map and a coarser one added: by definition, and the kernels against PyTorch's interpolation."""

import pytest
import torch

from mmmamba.ops import upsample_add
from mmmamba.ops.upsample_add import MODES, _Fused, _plain

from .interpreter import DEVICE, kernels
from .interpreter_memory import check_addresses
from .second_order import assert_forward_equal, assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
SIZES = [(1, 1), (2, 3), (5, 4), (7, 9), (12, 1)]


def make(height, width, channels=5, dtype=torch.float32, batch=2):
    """A fine map, a coarse one, and a gradient."""
    generator = torch.Generator().manual_seed(0)
    h, w = (height + 1) // 2, (width + 1) // 2
    shapes = [(batch, height, width, channels), (batch, h, w, channels)]
    maps = [torch.randn(shape, generator=generator) for shape in (*shapes, shapes[0])]
    return [x.to(DEVICE, dtype) for x in maps]


@pytest.mark.parametrize("size", SIZES)
def test_nearest_reads_half_the_row_and_the_column(size):
    fine, coarse, _ = make(*size)
    rows, columns = (torch.arange(side) // 2 for side in size)
    want = fine + coarse[:, rows][:, :, columns]
    assert torch.equal(upsample_add(fine, coarse, "nearest"), want)


@pytest.mark.parametrize("size", SIZES)
def test_bilinear_weighs_by_the_distance_of_centres(size):
    fine, coarse, _ = make(*size)

    def weights(side):
        half = (side + 1) // 2
        centres = (torch.arange(side) + 0.5) * half / side - 0.5
        far = centres.clamp(0, half - 1)[:, None] - torch.arange(half)
        return (1 - far.abs()).clamp(min=0)

    want = fine + torch.einsum("Hh,bhwc,Ww->bHWc", weights(size[0]), coarse, weights(size[1]))
    torch.testing.assert_close(upsample_add(fine, coarse, "bilinear"), want)


@pytest.mark.parametrize("mode", MODES)
def test_derivatives(mode):
    maps = [x.double() for x in make(3, 4, channels=2, batch=1)[:2]]
    calls = lambda *x: upsample_add(*x, mode), lambda *x: _plain(*x, mode)
    assert_second_order_equal(*calls, maps, 1e-12)
    assert_forward_equal(*calls, maps, 1e-12)


def test_what_does_not_fit_is_named():
    fine, coarse, _ = make(5, 4)
    with pytest.raises(ValueError, match="mode is 'cubic', wanted one of"):
        upsample_add(fine, coarse, "cubic")
    with pytest.raises(ValueError, match=r"coarse map is \(2, 5, 4, 5\), .* wants \(2, 3, 2, 5\)"):
        upsample_add(fine, fine, "nearest")


@kernels
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("size", "channels", "dtype"),
    [
        ((1, 1), 5, torch.float32),
        ((5, 4), 5, torch.float32),
        ((7, 6), 72, torch.bfloat16),
        ((2, 9), 8, torch.float16),
    ],
)
def test_kernels(where, mode, size, channels, dtype, monkeypatch):
    if where == "interpreter":
        check_addresses(monkeypatch)
    fine, coarse, grad = make(*size, channels, dtype)
    got, want = [], []
    for found, function, cast in ((got, _Fused.apply, dtype), (want, _plain, torch.float32)):
        leaves = [x.to(cast, copy=True).requires_grad_() for x in (fine, coarse)]
        y = function(*leaves, mode)
        found += [y.detach(), *torch.autograd.grad(y, leaves, grad.to(cast))]
    for a, b in zip(got, want, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.float(), b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@kernels
def test_kernels_are_differentiated_again(where):
    maps = make(3, 4, channels=2)[:2]
    calls = lambda *x: _Fused.apply(*x, "bilinear"), lambda *x: _plain(*x, "bilinear")
    assert_second_order_equal(*calls, maps, 1e-5)


@kernels
def test_maps_in_any_strides_and_empty_ones(where):
    fine, coarse, _ = make(5, 4)
    flipped = [x.transpose(1, 3).contiguous().transpose(1, 3) for x in (fine, coarse)]
    torch.testing.assert_close(_Fused.apply(*flipped, "bilinear"), _plain(fine, coarse, "bilinear"))
    leaf = coarse.clone().requires_grad_()
    (got,) = torch.autograd.grad(_Fused.apply(fine, leaf, "nearest").sum(), leaf)
    (want,) = torch.autograd.grad(_plain(fine, leaf, "nearest").sum(), leaf)
    torch.testing.assert_close(got, want)
    assert _Fused.apply(fine[:0], coarse[:0], "nearest").shape == (0, 5, 4, 5)
