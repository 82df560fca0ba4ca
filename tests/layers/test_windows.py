"""Windows cut and join without loss."""

import pytest
import torch

from mmmamba.layers import window_cells, window_join, window_partition


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1), (9, 16)])
def test_round_trip(size):
    x = torch.randn(2, *size, 3)
    assert torch.equal(window_join(window_partition(x, 4), 4, *size), x)


def test_order_and_padding():
    x = torch.arange(1, 7).view(1, 2, 3, 1)
    assert window_partition(x, 2)[..., 0].tolist() == [[1, 2, 4, 5], [3, 0, 6, 0]]


def test_cells_of_windows():
    assert window_cells(2, 3, 2).tolist() == [[0, 1, 3, 4], [2, -1, 5, -1]]
