"""How the depthwise convolution's kernels are spread over a map: tiles, strips and threads."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..launch import ceil_div, multiprocessors

TILE = 512
"""Columns times channels of a program."""
EACH = 4
"""As many of them for each thread, which keeps weights, rows and sums of its channels in registers.

With kernels of more than three columns it is one.
"""
PROGRAMS = 24
"""For each multiprocessor, wanted before strips become longer."""
ROWS = 9, 33
"""Fewest and most of a strip."""


class Tile(NamedTuple):
    """What a program computes of each row."""

    columns: int
    channels: int


def tile_of(channels: int) -> Tile:
    """As many channels as leave few lanes idle, and columns for the rest."""
    block = 32 if channels % 64 else 64
    return Tile(TILE // block, block)


def warps_of(side: int) -> int:
    """Warps of a program for a kernel of so many columns."""
    return TILE // (32 * (EACH if side <= 3 else 1))


class Grid(NamedTuple):
    """The programs of a launch."""

    strips: int
    """That an image's column tile is cut into."""
    rows: int
    """In a strip, whole steps of the kernels."""
    tiles: int
    """Programs for each block of channels."""


@lru_cache(1024)
def _grid(shape: torch.Size, side: int, processors: int) -> Grid:
    """Strips short enough that the card is full, long enough that few rows are read twice.

    The S - 1 rows above a strip are read by it and by the one before.
    """
    batch, channels, height, width = shape
    tile = tile_of(channels)
    fewest_rows, most_rows = ROWS
    across = batch * ceil_div(width, tile.columns)
    for_the_card = ceil_div(PROGRAMS * processors, across * ceil_div(channels, tile.channels))
    # A map that fills the card by itself is cut only where a strip would be too long, a small one
    # further, yet not into strips so short that much of what they read is another's, too.
    wanted = max(for_the_card, ceil_div(height, most_rows))
    strips = max(1, min(wanted, height // fewest_rows))
    rows = ceil_div(height, strips * side) * side
    # Rounding up to whole steps may leave fewer strips than were wanted.
    strips = ceil_div(height, rows)
    return Grid(strips, rows, across * strips)


def grid_of(x: Tensor, weight: Tensor) -> Grid:
    """For a map `(B, C, H, W)` and a kernel `(C, 1, S, S)`."""
    return _grid(x.shape, weight.shape[-1], multiprocessors(x.device))
