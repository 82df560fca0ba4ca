"""Products and convolutions of kept weights: PyTorch's results, whatever becomes of the weights."""

import copy
import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmmamba.ops import packed
from mmmamba.ops.packed import conv2d, linear

pytestmark = pytest.mark.skipif(
    not packed._has_onednn(torch.float32), reason="this PyTorch has no oneDNN"
)


def close(got: torch.Tensor, want: torch.Tensor, tolerance: float = 1e-5) -> bool:
    scale = want.abs().max().clamp(min=1e-12)
    return (
        got.shape == want.shape
        and got.dtype == want.dtype
        and bool((got - want).abs().max() <= tolerance * scale)
    )


def layouts(weight: torch.Tensor) -> int:
    """How many are kept of a weight."""
    return len(packed._KEPT.get(weight, {}))


def random_map(*shape: int, **options) -> torch.Tensor:
    return torch.randn(*shape, **options).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 5, 7, 20), (3, 20), (2, 0, 20), (20,)])
def test_linear(shape, bias):
    layer, x = nn.Linear(20, 33, bias=bias), torch.randn(shape)
    with torch.no_grad():
        assert torch.allclose(linear(x, layer.weight, layer.bias), layer(x), atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("side, stride, padding", [(3, 2, 1), (1, 1, 0), (4, 4, 0)])
def test_conv2d(size, batch, side, stride, padding):
    layer = nn.Conv2d(12, 20, side, stride, padding)
    x, other = random_map(batch, 12, *size), random_map(batch, 12, 16, 9)
    given = (layer.weight, layer.bias, layer.stride, layer.padding)
    with torch.no_grad():
        assert close(conv2d(x, *given), layer(x)) and close(conv2d(other, *given), layer(other))
        # A layout for each size, of which the last is kept.
        assert [kept.size for kept in packed._KEPT[layer.weight].values()] == [other.shape]
        # Maps whose memory is channels-first go PyTorch's way.
        assert close(conv2d(x.contiguous(), *given), layer(x))


def test_a_kernel_of_one_cell_is_a_product_on_a_gpu(monkeypatch):
    """As there; a strided one, one without a bias and a channels-first map go PyTorch's way."""
    monkeypatch.setattr(packed, "unwatched", lambda x: True)
    products = []
    monkeypatch.setattr(packed, "linear_of_gpu", lambda *a: products.append(a) or F.linear(*a))
    for options in (dict(), dict(stride=2), dict(bias=False), dict(padding=1)):
        layer, x = nn.Conv2d(12, 20, 1, **options), random_map(2, 12, 5, 7).requires_grad_()
        given = (layer.weight, layer.bias, layer.stride, layer.padding)
        products.clear()
        got, want = conv2d(x, *given), layer(x)
        assert close(got, want) and got.is_contiguous(memory_format=torch.channels_last)
        assert bool(products) == (not options)
        leaves = [x, *layer.parameters()]
        found = [torch.autograd.grad(y.square().sum(), leaves) for y in (got, want)]
        assert all(close(a, b) for a, b in zip(*found))
        assert close(conv2d(x.contiguous(), *given), want)
    assert not products


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(6, 6), (5, 8)])
def test_training_of_wide_convolutions_over_small_maps(size, dtype):
    layer, x = nn.Conv2d(64, 48, 3, 2, 1), random_map(2, 64, *size, requires_grad=True)
    wanted = (x, *layer.parameters())
    assert packed._patches_pay(x, layer.weight, dtype, layer.stride, layer.padding)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)
        want = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    assert close(y, want, tolerance)
    grad = torch.randn_like(want)
    for got, expected in zip(
        torch.autograd.grad(y, wanted, grad), torch.autograd.grad(want, wanted, grad)
    ):
        assert close(got, expected, tolerance)


def test_gradients_do_not_ask_how_theirs_lies_in_memory():
    layer, x = nn.Conv2d(64, 48, 3, 2, 1), random_map(2, 64, 6, 8, requires_grad=True)
    y = conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)
    grad = torch.randn(y.shape)
    first, other = (
        torch.autograd.grad(y, (layer.weight, x), given, retain_graph=True)
        for given in (grad, grad.to(memory_format=torch.channels_last))
    )
    assert torch.equal(first[0], other[0]) and torch.equal(first[1], other[1])
    assert first[1].is_contiguous(memory_format=torch.channels_last)


def test_large_maps_are_convolved():
    layer, x = nn.Conv2d(8, 8, 3, 2, 1), random_map(1, 8, 64, 64)
    assert not packed._patches_pay(x, layer.weight, x.dtype, layer.stride, layer.padding)


def write_in_place(layer: nn.Linear) -> None:
    layer.weight.mul_(2)


def write_through_data(layer: nn.Linear) -> None:
    layer.weight.data.copy_(torch.randn_like(layer.weight))


def load(layer: nn.Linear) -> None:
    layer.load_state_dict(nn.Linear(20, 33).state_dict())


def put_other_memory_in(layer: nn.Linear) -> None:
    layer.weight.data = layer.weight.data + 1


def step(layer: nn.Linear) -> None:
    layer.weight.grad = torch.ones_like(layer.weight)
    torch.optim.AdamW([layer.weight], lr=0.1, fused=True).step()


@pytest.mark.parametrize(
    "change", [write_in_place, write_through_data, load, put_other_memory_in, step]
)
@pytest.mark.parametrize("low", [False, True])
def test_a_changed_weight_is_packed_anew(change, low):
    layer, x = nn.Linear(20, 33), torch.randn(40, 20)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        before = linear(x, layer.weight, layer.bias)
        change(layer)
        # Autocast keeps casts of weights itself, for as long as it is on: also for `linear`, where
        # a CPU has no instructions for bfloat16.
        torch.clear_autocast_cache()
        after = linear(x, layer.weight, layer.bias)
        assert close(after, F.linear(x, layer.weight, layer.bias), 1e-2 if low else 1e-5)
    assert not close(after, before, 1e-2)


def test_a_weight_is_packed_once_for_each_dtype():
    layer, x, calls = nn.Linear(20, 33), torch.randn(40, 20), []

    def pack(weight):
        calls.append(weight.dtype)
        return weight.clone()

    for dtype in (torch.float32, torch.bfloat16, torch.float32, torch.bfloat16):
        packed._kept(layer.weight, dtype, ("test",), pack)
    with torch.inference_mode():
        packed._kept(layer.weight, torch.float32, ("test",), pack)
    assert calls == [torch.float32, torch.bfloat16]
    assert close(linear(x, layer.weight, layer.bias), layer(x))


def test_bfloat16_models_and_autocast():
    layer, x = nn.Linear(20, 33), torch.randn(40, 20)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            assert close(linear(x, layer.weight, layer.bias), layer(x), 1e-2)
        low = copy.deepcopy(layer).bfloat16()
        assert close(linear(x.bfloat16(), low.weight, low.bias), low(x.bfloat16()), 1e-2)
        with pytest.raises(RuntimeError, match="dtype"):
            linear(x, low.weight, low.bias)


def test_kept_weights_go_with_their_originals():
    layer = nn.Linear(20, 33)
    with torch.no_grad():
        linear(torch.randn(4, 20), layer.weight)
    assert layouts(layer.weight) == 1 and layouts(copy.deepcopy(layer).weight) == 0
    before = len(packed._KEPT)
    del layer
    gc.collect()
    assert len(packed._KEPT) < before


def test_nothing_is_kept_where_gradients_are_wanted_or_operators_watched():
    layer, x = nn.Linear(20, 33), torch.randn(4, 20)
    linear(x, layer.weight).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        linear(x, layer.weight)
    assert counter.get_total_flops() == 2 * 4 * 20 * 33
    with torch.no_grad():
        linear(x.double(), layer.weight.double())
    assert layouts(layer.weight) == 0


def test_transforms_see_operators_of_pytorch():
    layer, x = nn.Linear(20, 33), torch.randn(4, 5, 20)
    with torch.no_grad():
        got = torch.func.vmap(lambda x: linear(x, layer.weight, layer.bias))(x)
        assert close(got, layer(x))
