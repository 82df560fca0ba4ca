"""Cutting maps into windows and joining them again."""

import torch
import torch.nn.functional as F
from torch import Tensor


def window_partition(x_BHWC: Tensor, size: int) -> Tensor:
    """`(B, H, W, C)` to `(B * windows, size * size, C)`, windows and tokens row-major.

    Sides are padded with zeros at the bottom and right up to multiples of the window.
    """
    B, H, W, C = x_BHWC.shape
    # -W % size is what is lacking to the next multiple. The first pair of pads is for the channels.
    x = F.pad(x_BHWC, (0, 0, 0, -W % size, 0, -H % size))
    # Rows of windows, rows of a window, columns of windows, columns of a window.
    rows, columns = x.shape[1] // size, x.shape[2] // size
    x = x.view(B, rows, size, columns, size, C).transpose(2, 3)
    return x.reshape(B * rows * columns, size * size, C)


def window_join(x_WTC: Tensor, size: int, height: int, width: int) -> Tensor:
    """The inverse of `window_partition`, cropped to `(B, height, width, C)`."""
    rows, columns = -(-height // size), -(-width // size)
    x = x_WTC.view(-1, rows, columns, size, size, x_WTC.shape[-1]).transpose(2, 3)
    return x.reshape(-1, rows * size, columns * size, x_WTC.shape[-1])[:, :height, :width]


def window_cells(height: int, width: int, size: int) -> Tensor:
    """The map's cell, row-major, at every token of every window, `(windows, size * size)`.

    Padding is -1.
    """
    # Counted from 1, since windows are padded with zeros.
    numbers_1HW1 = torch.arange(1, height * width + 1).view(1, height, width, 1)
    return window_partition(numbers_1HW1, size)[..., 0] - 1
