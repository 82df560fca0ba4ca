"""Anchors of maps of given sizes, and what follows from the sizes alone.

Shape suffixes: A anchors of all levels after each other, L levels, N anchors chosen of a level, H
rows and W columns of a map, K anchors of a cell.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor

from mmmamba.ops.waiting import on_device

GRIDS = 12
"""Kept at once, those of the sizes that came last: 10 MB each for images of 1344 x 1344 pixels."""


CELLS = 64
"""Sides of a level's largest map grow in such steps, so that it is seldom made anew."""


class _Level(NamedTuple):
    """A square map of a level that covers all so far, whose anchors are its first rows' columns."""

    anchors_HWK4: Tensor
    corner_HW2: Tensor


class AnchorGrids:
    """Grids of a generator on one device.

    Training at many sizes wants a new grid in nearly every step. It is cut out of the largest maps,
    a copy for each level, and so nothing is copied to the GPU, which would have to be waited for.
    """

    def __init__(self, generator: AnchorGenerator, device: torch.device):
        self._generator, self._device = generator, device
        self._levels: list[_Level | None] = [None] * generator.num_levels
        self._grids: OrderedDict[tuple, AnchorGrid] = OrderedDict()

    def of(self, sizes: Sequence[torch.Size]) -> "AnchorGrid":
        """The grid of maps of these heights and widths."""
        key = tuple(map(tuple, sizes))
        grid = self._grids.get(key)
        if grid is None:
            # Kept for passes that train, even if the first one that asks does not.
            with torch.inference_mode(False):
                grid = self._grids[key] = self._cut(key)
            if len(self._grids) > GRIDS:
                self._grids.popitem(last=False)
        self._grids.move_to_end(key)
        return grid

    def _cut(self, sizes: Sequence[tuple[int, int]]) -> "AnchorGrid":
        levels = [self._level(index, max(size)) for index, size in enumerate(sizes)]
        cells = [height * width for height, width in sizes]
        counts = [n * level.anchors_HWK4.shape[2] for n, level in zip(cells, levels)]
        anchors_A4 = levels[0].anchors_HWK4.new_empty(sum(counts), 4)
        corner_A2 = levels[0].corner_HW2.new_empty(sum(counts), 2)
        apart_A = anchors_A4.new_empty(sum(counts), dtype=torch.double)
        parts = zip(anchors_A4.split(counts), corner_A2.split(counts), apart_A.split(counts))
        for index, (anchors, corner, apart) in enumerate(parts):
            (height, width), level = sizes[index], levels[index]
            anchors.view(height, width, -1, 4).copy_(level.anchors_HWK4[:height, :width])
            corner.view(height, width, -1, 2).copy_(level.corner_HW2[:height, :width, None])
            apart.fill_(2.0 * index)
        return AnchorGrid(self._generator, sizes, counts, anchors_A4, corner_A2, apart_A)

    def _level(self, index: int, side: int) -> _Level:
        """A level's largest map, made anew where it is smaller than this."""
        level = self._levels[index]
        if level is None or level.corner_HW2.shape[0] < side:
            level = self._levels[index] = self._make(index, -(-side // CELLS) * CELLS)
        return level

    def _make(self, index: int, side: int) -> _Level:
        # On the CPU and copied once: on the way to the GPU that mmdet takes it is waited for.
        anchors = self._generator.single_level_grid_priors((side, side), index, device="cpu")
        stride_x, stride_y = self._generator.strides[index]
        cell = torch.arange(side, dtype=torch.int32)
        corner_HW2 = torch.stack(
            torch.meshgrid(stride_y * cell, stride_x * cell, indexing="ij"), dim=2
        )
        return _Level(anchors.view(side, side, -1, 4).to(self._device), corner_HW2.to(self._device))


@dataclass
class AnchorGrid:
    """What does not change while maps keep their sizes."""

    generator: AnchorGenerator
    sizes: Sequence[tuple[int, int]]
    """Height and width of each map."""
    counts: Sequence[int]
    """Anchors of each level."""
    anchors_A4: Tensor
    corner_A2: Tensor
    """Where the cell of each anchor begins (y, x)."""
    apart_A: Tensor
    """Subtracted from scores between 0 and 1, it sorts levels one after the other.

    In double precision nothing of a score is lost by that.
    """
    _fits: dict[tuple, bool] = field(default_factory=dict)
    _best: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def places(self, most: int) -> tuple[Tensor, Tensor]:
        """Places `(L, N)` of the first `most` of each level, and whether a level has so many.

        All of a level with `most` below 1. Where there are fewer the place is 0.
        """
        if most not in self._best:
            taken = [min(n, most) if most > 0 else n for n in self.counts]
            starts = list(accumulate(self.counts[:-1], initial=0))
            device = self.anchors_A4.device
            with torch.inference_mode(False):
                numbers_2L = on_device((tuple(taken), tuple(starts)), torch.long, device)
                taken_L1, start_L1 = numbers_2L[..., None]
                place_LN = torch.arange(max(taken), device=device)
                there_LN = place_LN < taken_L1
                self._best[most] = ((place_LN + start_L1).mul_(there_LN), there_LN)
        return self._best[most]

    def fits(self, size: tuple[int, int, int, int], border: int) -> bool:
        """Whether some anchor lies within an image, but for a border.

        Computed here, as the GPU would have to be waited for.

        Args:
            size: height and width of the padded image and of the image itself.
        """
        key = (*size, border)
        if key not in self._fits:
            levels = range(len(self.sizes))
            self._fits[key] = any(self._fits_level(level, size, border) for level in levels)
        return self._fits[key]

    def _fits_level(self, level: int, size: tuple[int, int, int, int], border: int) -> bool:
        (rows, columns), strides = self.sizes[level], self.generator.strides[level]
        padded_height, padded_width, height, width = size
        across = (strides[0], columns, padded_width, width + border)
        down = (strides[1], rows, padded_height, height + border)
        return any(
            _has_room(x1, x2, -border, *across) and _has_room(y1, y2, -border, *down)
            for x1, y1, x2, y2 in self.generator.base_anchors[level].tolist()
        )


def _has_room(
    begin: float, end: float, low: int, stride: int, cells: int, padded: int, high: int
) -> bool:
    """Whether an anchor lies between low and high at some cell of one axis."""
    # The first cell at which it does not begin too early is also the best one for its end.
    cell = max(math.ceil((low - begin) / stride), 0)
    return cell < cells and cell * stride < padded and cell * stride + end < high
