"""The block, stem and downsampling that MLLA, VSSD and Spatial-Mamba share name for name."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmamba.layers import (
    Mlp,
    PositionalBlock,
    ResidualStem,
    WideDownsample,
    channels_first,
    channels_last,
)
from mmmamba.layers.scaling import pad_to_multiple


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes as in the authors' files, without the counters of batches."""
    state = module.state_dict()
    return {n: tuple(v.shape) for n, v in state.items() if not n.endswith("num_batches_tracked")}


def batch_norm(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    entries = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{entry}": (dim,) for entry in entries}


def all_learn(module: nn.Module, x: torch.Tensor) -> None:
    x = x.requires_grad_()
    module(x).sin().sum().backward()
    idle = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle and x.grad.any()


def test_block():
    torch.manual_seed(0)
    block = PositionalBlock(8, nn.Linear(8, 8), Mlp(8)).double()
    x = torch.randn(2, 5, 3, 8, dtype=torch.float64)
    y = x + channels_last(block.cpe1(channels_first(x)))
    y = y + block.attn(F.layer_norm(y, (8,)))
    y = y + channels_last(block.cpe2(channels_first(y)))
    y = y + block.mlp(F.layer_norm(y, (8,)))
    torch.testing.assert_close(block(x), y)
    all_learn(block, x)


def test_names_of_the_block():
    assert shapes(PositionalBlock(8, nn.Linear(8, 8, bias=False), Mlp(8))) == {
        "cpe1.weight": (8, 1, 3, 3),
        "cpe1.bias": (8,),
        "norm1.weight": (8,),
        "norm1.bias": (8,),
        "attn.weight": (8, 8),
        "cpe2.weight": (8, 1, 3, 3),
        "cpe2.bias": (8,),
        "norm2.weight": (8,),
        "norm2.bias": (8,),
        "mlp.fc1.weight": (32, 8),
        "mlp.fc1.bias": (32,),
        "mlp.fc2.weight": (8, 32),
        "mlp.fc2.bias": (8,),
    }


def test_dropped_paths_leave_the_convolutions():
    block = PositionalBlock(8, nn.Linear(8, 8), Mlp(8), drop_path_rate=1 - 1e-7).train()
    x = torch.randn(2, 5, 3, 8)
    y = x + channels_last(block.cpe1(channels_first(x)))
    torch.testing.assert_close(block(x), y + channels_last(block.cpe2(channels_first(y))))


def test_names_of_the_stem():
    want = {"conv1.conv.weight": (8, 3, 3, 3), **batch_norm("conv1.norm", 8)}
    for i in (0, 1):
        want |= {f"conv2.{i}.conv.weight": (8, 8, 3, 3), **batch_norm(f"conv2.{i}.norm", 8)}
    want |= {"conv3.0.conv.weight": (64, 8, 3, 3), **batch_norm("conv3.0.norm", 64)}
    want |= {"conv3.1.conv.weight": (16, 64, 1, 1), **batch_norm("conv3.1.norm", 16)}
    assert shapes(ResidualStem(3, 16)) == want


def test_names_of_the_downsampling():
    assert shapes(WideDownsample(8, 16)) == {
        "conv.0.conv.weight": (64, 8, 1, 1),
        "conv.0.conv.bias": (64,),
        "conv.1.conv.weight": (64, 1, 3, 3),
        "conv.1.conv.bias": (64,),
        "conv.2.conv.weight": (16, 64, 1, 1),
        "conv.2.conv.bias": (16,),
        **batch_norm("conv.2.norm", 16),
    }


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("size", [(64, 32), (33, 29), (7, 4)])
def test_the_stem_quarters_any_image_and_rounds_up(size, pad):
    stem = ResidualStem(3, 16, pad)
    rows, columns = (-(-side // 4) for side in size)
    assert stem(torch.randn(2, 3, *size)).shape == (2, rows, columns, 16)
    all_learn(stem, torch.randn(2, 3, *size))


def test_the_stem_is_its_definition():
    torch.manual_seed(0)
    stem = ResidualStem(3, 8).eval()
    x = torch.randn(1, 3, 9, 11)
    x = stem.conv1(x)
    assert (x >= 0).all(), "an activation ends the first convolution"
    x = x + stem.conv2[1].conv(stem.conv2[0](x)) / (1 + 1e-5) ** 0.5
    x = F.conv2d(stem.conv3[0](x), stem.conv3[1].conv.weight) / (1 + 1e-5) ** 0.5
    torch.manual_seed(0)
    assert stem.conv3(x.new_zeros(1, 4, 5, 6)).min() <= 0, "no activation ends the last"
    y = ResidualStem(3, 8).eval()(torch.randn(1, 3, 9, 11))
    torch.testing.assert_close(y, channels_last(x))


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 1)])
def test_the_downsampling_halves_any_map_and_rounds_up(size, pad):
    step = WideDownsample(8, 16, pad)
    rows, columns = (-(-side // 2) for side in size)
    assert step(torch.randn(2, *size, 8)).shape == (2, rows, columns, 16)
    all_learn(step, torch.randn(2, *size, 8))


def test_padding_changes_odd_maps_alone():
    """Zeros become something in the first convolution's bias."""
    padding = WideDownsample(8, 16, pad=True).eval()
    plain = WideDownsample(8, 16).eval()
    plain.load_state_dict(padding.state_dict())
    even, odd = torch.randn(1, 4, 6, 8), torch.randn(1, 5, 6, 8)
    assert torch.equal(padding(even), plain(even))
    assert not torch.equal(padding(odd), plain(odd))
    assert torch.equal(padding(odd)[:, :-1], plain(odd)[:, :-1])


def test_pad_to_multiple():
    x = torch.ones(1, 2, 5, 8)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 2, 8, 8) and padded.sum() == x.sum()
    assert torch.equal(padded[:, :, :5], x)
