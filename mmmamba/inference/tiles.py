"""One label map of a large image from the logits of its tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..structures.tiles import Tile


def merge_logits(
    rows: Sequence[Sequence[Tile]],
    logits: Iterable[np.ndarray],
    height: int,
    width: int,
    overlap: int,
    threshold: float | None = None,
) -> np.ndarray:
    """The class of each pixel (H, W) from the weighted mean of the tiles' logits (C, h, w).

    A tile's weight falls linearly towards its inner sides, where it saw little of what is around.
    Memory holds the logits of one row of tiles.

    Args:
        logits: of each tile, row by row.
        threshold: of the probability, for a model with one channel.
    """
    labels_HW = np.zeros((height, width), dtype=np.int32)
    stream = iter(logits)
    band: _Band | None = None
    for index, row in enumerate(rows):
        for tile in row:
            part_CHW = next(stream)
            if band is None:
                band = _Band(len(part_CHW), tile.height, width)
            down_H = _ramp(tile.y, tile.height, height, overlap)
            across_W = _ramp(tile.x, tile.width, width, overlap)
            band.add(part_CHW, np.outer(down_H, across_W).astype(np.float32), tile.x)
        # What lies above the next row of tiles gets nothing more.
        top = row[0].y
        below = rows[index + 1][0].y if index + 1 < len(rows) else height
        labels_HW[top:below] = band.take(below - top, threshold)
    return labels_HW


class _Band:
    """Weighted sums of logits and sums of weights over the rows of pixels of one row of tiles."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.sum_CHW = np.zeros((channels, height, width), dtype=np.float32)
        self.weight_HW = np.zeros((height, width), dtype=np.float32)

    def add(self, part_CHW: np.ndarray, weight_HW: np.ndarray, left: int) -> None:
        """Add a tile's logits."""
        columns = slice(left, left + weight_HW.shape[1])
        self.sum_CHW[:, :, columns] += part_CHW * weight_HW
        self.weight_HW[:, columns] += weight_HW

    def take(self, rows: int, threshold: float | None) -> np.ndarray:
        """The classes of the first rows of pixels; those after them move up."""
        ready_CHW, weight_HW = self.sum_CHW[:, :rows], self.weight_HW[:rows]
        if len(ready_CHW) > 1:
            # The largest sum is the largest mean.
            labels_HW = ready_CHW.argmax(0)
        else:
            # mmseg gives one channel after the sigmoid: a mean over the threshold is a sum over
            # the weighted one.
            labels_HW = ready_CHW[0] > threshold * weight_HW
        # NumPy copies overlapping parts safely; what moved up leaves zeros behind it.
        kept = len(self.weight_HW) - rows
        self.sum_CHW[:, :kept] = self.sum_CHW[:, rows:]
        self.weight_HW[:kept] = self.weight_HW[rows:]
        self.sum_CHW[:, kept:], self.weight_HW[kept:] = 0, 0
        return labels_HW


def _ramp(start: int, length: int, whole: int, overlap: int) -> np.ndarray:
    """Weights along one side of a tile.

    They are 1 and fall over `overlap` pixels towards ends that are none of the image's.
    """
    # From half a pixel on: no weight is 0, as a corner may lie in no other tile.
    steps = (np.arange(length) + 0.5) / max(overlap, 1)
    weights = np.ones(length)
    if start > 0:
        weights = np.minimum(weights, steps)
    if start + length < whole:
        weights = np.minimum(weights, steps[::-1])
    return weights
