"""Bands of a map: by definition, and the kernels against PyTorch's convolutions."""

import importlib

import pytest
import torch

from mmmamba.layers.mixers.wavelet import haar_filters
from mmmamba.ops import join_bands, split_bands
from mmmamba.ops.bands import (
    _Join,
    _kernels_take,
    _plain_join,
    _plain_split,
    _Split,
    _summed_join,
)

from .interpreter import inside
from .interpreter_memory import check_addresses
from .second_order import assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")
SHAPES = [(2, 3, 4, 6), (1, 70, 5, 3), (3, 65, 1, 1), (2, 8, 7, 10)]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}


def make(shape, dtype=torch.float32, device="cpu", sliced=False):
    """A map, some of the channels of a wider one if `sliced`, and filters unlike one another."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, height, width = shape
    x = torch.randn(batch, height, width, channels + 5 * sliced, generator=generator)
    filters = torch.randn(4 * channels, 1, 2, 2, generator=generator)
    x = x.to(device, dtype).permute(0, 3, 1, 2)
    return x[:, 5 * sliced :], filters.to(device, dtype)


def by_definition(x, filters):
    """The four pixels of each window by the four filters of each channel."""
    (B, C, H, W), zeros = x.shape, (0, x.shape[3] % 2, 0, x.shape[2] % 2)
    x = torch.nn.functional.pad(x, zeros)
    windows = x.view(B, C, (H + 1) // 2, 2, (W + 1) // 2, 2)
    bands = torch.einsum("bchpwq, ckpq -> bckhw", windows, filters.view(C, 4, 2, 2))
    return bands.flatten(1, 2)


def outputs(function, x, filters, *sides):
    """What the function gives, and the gradient of a sum in which each number weighs its own."""
    x = x.detach().requires_grad_()
    y = function(x, filters, *sides)
    weights = torch.linspace(-1, 1, y.numel(), device=y.device).view_as(y).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, x, weights)]


def assert_close(got, want, tolerance):
    for found, wanted in zip(got, want, strict=True):
        atol = tolerance * float(wanted.abs().max())
        torch.testing.assert_close(found.to(wanted.dtype), wanted, rtol=tolerance, atol=atol)


@pytest.mark.parametrize("shape", SHAPES)
def test_definition(shape):
    x, filters = make(shape, torch.float64)
    bands = split_bands(x, filters)
    assert_close(outputs(split_bands, x, filters), outputs(by_definition, x, filters), 1e-12)
    # <split(x), b> = <x, join(b)>: the one is the other's transpose.
    given = torch.randn(bands.shape, dtype=torch.float64)
    joined = join_bands(given, filters, *shape[2:])
    assert joined.shape == x.shape
    torch.testing.assert_close((bands * given).sum(), (x * joined).sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_haars_bands_give_the_map_back(shape):
    x, _ = make(shape)
    filters = haar_filters(shape[1])
    torch.testing.assert_close(join_bands(split_bands(x, filters), filters, *shape[2:]), x)


def test_trained_filters_get_gradients():
    x, filters = make((1, 2, 3, 5), torch.float64)
    assert_second_order_equal(split_bands, by_definition, (x, filters), 1e-9)


@pytest.mark.parametrize("sides", [(5, 4), (6, 3)])
def test_what_does_not_fit_is_named(sides):
    x, filters = make((1, 3, 5, 3))
    with pytest.raises(ValueError, match=r"3 channels want filters \(12, 1, 2, 2\), found \(8, 1"):
        split_bands(x, filters[:8])
    bands = split_bands(x, filters)
    with pytest.raises(ValueError, match=r"1.5 channels want filters \(6, 1, 2, 2\)"):
        join_bands(bands[:, :6], filters, 5, 3)
    # Odd and even sides have the same bands.
    assert join_bands(bands, filters, *sides).shape[2:] == sides
    with pytest.raises(ValueError, match=r"bands are 3 x 2, but a map of 5 x 5 has bands of 3 x 3"):
        join_bands(bands, filters, 5, 5)


def test_which_way_is_taken(monkeypatch):
    """As on a GPU that nobody watches."""
    module = importlib.import_module("mmmamba.ops.bands")
    monkeypatch.setattr(module, "unwatched", lambda x: True)
    monkeypatch.setattr(module, "HAS_TRITON", True)
    x, filters = make((1, 3, 4, 4))
    assert _kernels_take(x, filters)
    assert not _kernels_take(x.double(), filters.double())
    assert not _kernels_take(x.half(), filters)
    assert not _kernels_take(x, filters.clone().requires_grad_())


@pytest.fixture
def interpreter(monkeypatch):
    """Kernels touch nothing but the tensors they are given."""
    check_addresses(monkeypatch)


@inside
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_equal_pytorch(interpreter, shape, sliced):
    x, filters = make(shape, sliced=sliced)
    want = outputs(_plain_split, x, filters)
    got = outputs(_Split.apply, x, filters)
    assert got[0].permute(0, 2, 3, 1).is_contiguous()
    assert_close(got, want, 1e-6)
    # Channels-first bands, too.
    for bands in (want[0], want[0].contiguous()):
        want_map = outputs(_plain_join, bands, filters, *shape[2:])
        assert_close(outputs(_Join.apply, bands, filters, *shape[2:]), want_map, 1e-6)


@inside
def test_half_precision_is_rounded_once(interpreter):
    # The interpreter cuts bfloat16 off where a GPU rounds it.
    x, filters = make((1, 8, 3, 4), torch.float16)
    want = by_definition(x.double(), filters.double())
    assert torch.equal(_Split.apply(x, filters), want.to(torch.float16))


@inside
def test_second_derivatives(interpreter):
    x, filters = make((1, 3, 3, 4))

    def there_and_back(split, join, x):
        return join(split(x.sin(), filters).sin(), filters, 3, 4)

    assert_second_order_equal(
        lambda x: there_and_back(_Split.apply, _Join.apply, x),
        lambda x: there_and_back(_plain_split, _plain_join, x),
        [x],
    )


@inside
def test_no_images(interpreter):
    x, filters = make((0, 3, 5, 4))
    bands = _Split.apply(x, filters)
    assert bands.shape == (0, 12, 3, 2)
    assert _Join.apply(bands, filters, 5, 4).shape == x.shape


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [*SHAPES, (8, 160, 14, 14), (2, 256, 25, 42), (2, 272, 13, 21)])
def test_on_a_gpu(shape, dtype):
    """Within rounding of float64, also of some channels of a wider map, and under autocast."""
    x, filters = make(shape, dtype, "cuda", sliced=True)
    want = outputs(_plain_split, x.double(), filters.double())
    assert_close(outputs(split_bands, x, filters), want, TOLERANCE[dtype])
    bands, sides = want[0].to(dtype), shape[2:]
    want = outputs(_plain_join, bands.double(), filters.double(), *sides)
    assert_close(outputs(join_bands, bands, filters, *sides), want, TOLERANCE[dtype])
    with torch.autocast("cuda", torch.bfloat16):
        got = outputs(join_bands, bands.float(), filters.float(), *sides)
    assert got[0].dtype == torch.bfloat16 and got[1].dtype == torch.float32
    assert_close(got, want, TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_join_that_tracers_see(shape):
    """Sums of products, as a GPU's convolutions of such groups are hundreds of kernels."""
    x, filters = make(shape)
    bands = _plain_split(x, filters)
    sides = shape[2:]
    torch.testing.assert_close(
        _summed_join(bands, filters, *sides), _plain_join(bands, filters, *sides)
    )
