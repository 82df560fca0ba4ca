"""Layers that change the sides of maps."""

import torch

from mmmamba.layers import PatchExpand


def test_a_cell_becomes_a_square_of_rows_then_columns_then_channels():
    layer = PatchExpand(2, 3, scale=2)
    layer.norm = torch.nn.Identity()
    x_BHWC = torch.randn(1, 2, 3, 2)
    y = layer(x_BHWC)
    assert y.shape == (1, 4, 6, 3)
    wide = layer.expand(x_BHWC)
    for row in range(2):
        for column in range(2):
            first = (row * 2 + column) * 3
            assert torch.equal(y[:, row::2, column::2], wide[..., first : first + 3])
