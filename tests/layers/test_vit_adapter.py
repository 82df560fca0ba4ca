"""Parts of the adapter on their own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmamba.layers.deformable_attention import DeformableAttention
from mmmamba.layers.vit_adapter import Injector, MapsMlp, SpatialPrior

SIZES = ((4, 6), (2, 3), (1, 2))


def test_maps_of_a_sequence_are_convolved_each_on_its_own():
    torch.manual_seed(0)
    mlp = MapsMlp(8, 0.5)
    x_BSC = torch.randn(2, 32, 8)
    start, found = 0, []
    for H, W in SIZES:
        wide = mlp.fc1(x_BSC[:, start : start + H * W]).transpose(1, 2).unflatten(2, (H, W))
        local = F.conv2d(wide, mlp.dwconv.weight, mlp.dwconv.bias, padding=1, groups=4)
        found.append(F.linear(F.gelu(local).flatten(2).transpose(1, 2), mlp.fc2.weight))
        start += H * W
    torch.testing.assert_close(mlp(x_BSC, SIZES), torch.cat(found, 1) + mlp.fc2.bias)


def test_a_new_attention_reads_one_cell_after_another_in_a_direction_of_each_head():
    """A single head looks to the right: the mean of the next two cells, zero beyond the map."""
    attention = DeformableAttention(4, heads=1, maps=1, points=2)
    for layer in (attention.value_proj, attention.output_proj):
        nn.init.eye_(layer.weight)
    x_BSC = torch.randn(1, 6, 4)
    x_BHWC = F.pad(x_BSC.unflatten(1, (2, 3)), (0, 0, 0, 2))
    want = (x_BHWC[:, :, 1:-1] + x_BHWC[:, :, 2:]) / 2
    read = attention(torch.randn(1, 6, 4), [(2, 3)], x_BSC, [(2, 3)])
    torch.testing.assert_close(read, want.flatten(1, 2), rtol=1e-5, atol=1e-6)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="deform_num_heads is 3, wanted a divisor of the width 16"):
        DeformableAttention(16, heads=3, maps=1)


def test_a_new_injector_adds_nothing():
    x_BLC, c_BSC = torch.randn(2, 6, 8), torch.randn(2, 32, 8)
    assert torch.equal(Injector(8, 2)(x_BLC, c_BSC, (2, 3), SIZES), x_BLC)


def test_sides_of_the_prior():
    prior = SpatialPrior(3, 8, width=4)
    finest, maps = prior(torch.randn(1, 3, 64, 96))
    assert [m.shape for m in (finest, *maps)] == [
        (1, 8, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32)
    ]
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in maps)
    none, _ = SpatialPrior(3, 8, width=4, finest=False)(torch.randn(1, 3, 64, 96))
    assert none is None
