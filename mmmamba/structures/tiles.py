"""Parts of large images, with the place of each: what training, tests and predictions cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from ..errors import UsageError

OVERLAP = 0.25
"""What neighbouring tiles share of their side where nothing else is said."""
LEAST = 32
"""Pixels that a tile has a side at least."""
MOST_OVERLAP = 0.9


@dataclass(frozen=True)
class Tile:
    """A part of an image: left, top, width and height in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.x, self.y, self.x + self.width, self.y + self.height

    def of(self, image: np.ndarray) -> np.ndarray:
        """The tile's part of an image (H, W, …)."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class ImageTile(Tile):
    """A tile that knows its image: height and width in pixels, and how many tiles it has."""

    image_height: int
    image_width: int
    count: int


def image_tiles(height: int, width: int, size: int, overlap: float) -> list[ImageTile]:
    """All tiles of an image, row by row.

    Args:
        overlap: of neighbours, as a share of `size`.
    """
    rows = tile_rows(height, width, size, round(overlap * size))
    count = sum(map(len, rows))
    tiles = []
    for tile in chain.from_iterable(rows):
        tiles.append(ImageTile(tile.x, tile.y, tile.width, tile.height, height, width, count))
    return tiles


class Tiling(NamedTuple):
    """How images are cut: the side of tiles in pixels, and the share of it that neighbours have."""

    size: int
    overlap: float


def check_tiling(size: int | None, overlap: float) -> None:
    """Refuse what would be no tiles; a size of None is none.

    Raises:
        UsageError: with what was wanted.
    """
    if size is not None and size < LEAST:
        raise UsageError(f"tile is {size}, wanted a value of {LEAST} pixels or more")
    if not 0 <= overlap <= MOST_OVERLAP:
        raise UsageError(
            f"overlap is {overlap}, wanted a share of the tile from 0 to {MOST_OVERLAP}"
        )


def asked_tiling(tile: int | None, overlap: float | None) -> Tiling | None:
    """What `--tile` and `--overlap` ask for; None where nothing is cut.

    Raises:
        UsageError: a value is out of range, or an overlap is of no tiles.
    """
    if tile is None:
        if overlap is not None:
            raise UsageError(
                f"--overlap {overlap:g} is of tiles, whose side is to be named: --tile 640"
            )
        return None
    tiling = Tiling(tile, OVERLAP if overlap is None else overlap)
    check_tiling(*tiling)
    return tiling


def tile_rows(height: int, width: int, size: int, overlap: int) -> list[list[Tile]]:
    """Rows of tiles that share at least `overlap` pixels with their neighbours.

    They have `size` pixels a side, or the image's side where that is shorter.
    """
    columns = _starts(width, size, overlap)
    rows = []
    for y in _starts(height, size, overlap):
        rows.append([Tile(x, y, min(size, width), min(size, height)) for x in columns])
    return rows


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """Evenly spread, so that no tile is narrower than the others."""
    # n tiles cover n (size - overlap) + overlap pixels; rounded up, they share a little more.
    count = max(-(-(length - overlap) // (size - overlap)), 1)
    return [round(start) for start in np.linspace(0, max(length - size, 0), count)]
