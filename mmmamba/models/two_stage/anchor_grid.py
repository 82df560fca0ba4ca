"""Anchors of maps of given sizes, and what follows from the sizes alone.

Shape suffixes: A anchors of all levels after each other, L levels, N anchors chosen of a level.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor


@dataclass
class AnchorGrid:
    """What does not change while maps keep their sizes.

    To make it takes copies to the GPU for each level.
    """

    generator: AnchorGenerator
    sizes: Sequence[torch.Size]
    """Height and width of each map."""
    device: torch.device
    _fits: dict[tuple, bool] = field(default_factory=dict)
    _best: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Kept for passes that train, even if the first one that asks does not.
        with torch.inference_mode(False):
            anchors = self.generator.grid_priors(self.sizes, device=self.device)
            self.counts = [len(one) for one in anchors]
            self.anchors_A4 = torch.cat(anchors)
            levels = [
                torch.full((n,), 2.0 * level, dtype=torch.double)
                for level, n in enumerate(self.counts)
            ]
            self.apart_A = torch.cat(levels).to(self.device)
            """Subtracted from scores between 0 and 1, it sorts levels one after the other.

            In double precision nothing of a score is lost by that.
            """
            self.corner_A2 = torch.cat(self._corners())
            """Where the cell of each anchor begins (y, x)."""

    def _corners(self) -> list[Tensor]:
        corners = []
        for (height, width), (stride_x, stride_y), count in zip(
            self.sizes, self.generator.strides, self.generator.num_base_priors
        ):
            rows = stride_y * torch.arange(height, device=self.device)
            columns = stride_x * torch.arange(width, device=self.device)
            corners.append(torch.cartesian_prod(rows, columns).repeat_interleave(count, dim=0))
        return corners

    def best(self, most: int) -> tuple[Tensor, Tensor]:
        """Places `(L, N)` of the first `most` of each level, and whether a level has so many.

        All of a level with `most` below 1. Where there are fewer the place is 0.
        """
        if most not in self._best:
            taken = torch.tensor([min(n, most) if most > 0 else n for n in self.counts])[:, None]
            start = torch.tensor([0, *accumulate(self.counts[:-1])])[:, None]
            place_LN = torch.arange(int(taken.max())).expand(len(taken), -1)
            there_LN = place_LN < taken
            place_LN = (place_LN + start).where(there_LN, 0)
            self._best[most] = (place_LN.to(self.device), there_LN.to(self.device))
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
