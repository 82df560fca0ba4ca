"""The convolutional patches of Vim-F for images of any sides."""

import pytest
import torch
from torch import nn

from mmmamba.layers import ConvPatchEmbed


@pytest.mark.parametrize("stride, want", [(16, (12, 10)), (8, (25, 21))])
def test_sides_round_up_once_and_then_down(stride, want):
    stem = ConvPatchEmbed(3, (4, 6, 8), stride)
    assert stem.grid_size(203, 170) == want
    assert stem(torch.randn(1, 3, 203, 170)).shape == (1, *want, 8)
    for side in range(stride * 3 // 4 + 1, 4 * stride):
        assert stem(torch.randn(1, 3, side, stride)).shape[1:3] == stem.grid_size(side, stride)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="the stride of the patches is 10, wanted a multiple of 4"):
        ConvPatchEmbed(3, (4, 6, 8), 10)
    with pytest.raises(ValueError, match="an image of 12x64 holds no patch of 16x16"):
        ConvPatchEmbed(3, (4, 6, 8))(torch.randn(1, 3, 12, 64))


def test_start():
    """LeCun's: the variance of a weight is one over the number of inputs, biases are zero."""
    torch.manual_seed(0)
    convs = [m for m in ConvPatchEmbed(3, (48, 96, 192)).modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 5
    for conv in convs:
        inputs = conv.weight[0].numel()
        assert float(conv.weight.detach().var()) == pytest.approx(1 / inputs, rel=0.1)
        assert not conv.bias.any()
