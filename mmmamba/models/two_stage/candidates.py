"""The best anchors of each level of a pyramid, by their scores.

Shape suffixes: B images, A anchors of all levels, L levels, N candidates of each level.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import Tensor

from mmmamba.ops.best import best
from mmmamba.ops.waiting import where

from .anchor_grid import AnchorGrid
from .assignment import pick

NONE = -1
"""The score of what only fills a level up; a sigmoid is above it."""


class Flat:
    """The outputs of a proposal network, with all anchors of an image in a row."""

    def __init__(self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor]):
        self.scores = [_last(level, 1).squeeze(-1) for level in cls_scores]
        """Logits of each level."""
        self.deltas = [_last(level, 4) for level in bbox_preds]
        self.sizes = [level.shape[-2:] for level in cls_scores]
        """Height and width of each level's map."""

    @cached_property
    def scores_BA(self) -> Tensor:
        return torch.cat(self.scores, dim=1)

    @cached_property
    def deltas_BA4(self) -> Tensor:
        return torch.cat(self.deltas, dim=1)

    @property
    def device(self) -> torch.device:
        return self.scores[0].device


def _last(level: Tensor, channels: int) -> Tensor:
    """`(B, anchors * channels, H, W)` to `(B, H * W * anchors, channels)`."""
    return level.permute(0, 2, 3, 1).unflatten(3, (-1, channels)).flatten(1, 3)


class Candidates(NamedTuple):
    """The best of each level, best first, of equal ones the first."""

    scores_BLN: Tensor
    """Between 0 and 1; `NONE` where a level has no more."""
    anchors_BLN4: Tensor
    deltas_BLN4: Tensor


def best_of_grid(flat: Flat, grid: AnchorGrid, most: int) -> Candidates:
    """The best `most` of each level, or all with `most` below 1, in one sort."""
    scores_BA = flat.scores_BA.sigmoid()
    place_LN, there_LN = grid.places(most)
    order_BA = (scores_BA - grid.apart_A).sort(dim=1, descending=True, stable=True).indices
    index_BLN = order_BA[:, place_LN]
    index_BM = index_BLN.flatten(1)
    scores_BLN = scores_BA.gather(1, index_BM).view(index_BLN.shape)
    return Candidates(
        where(there_LN, scores_BLN, NONE),
        grid.anchors_A4[index_BLN],
        pick(flat.deltas_BA4, index_BM).view(*index_BLN.shape, 4),
    )


def best_by_level(flat: Flat, generator: AnchorGenerator, most: int) -> Candidates:
    """The same for a graph that is traced: level by level, without a grid for one size.

    There are `most` places however small the maps are, where that is not known yet: so what
    follows has a size that does not depend on theirs.
    """
    counts = [level.shape[1] for level in flat.scores]
    known = all(isinstance(count, int) for count in counts)
    # The first map is the largest.
    most = most if most > 0 else counts[0]
    most = min(most, max(counts)) if known else most
    found = []
    for level, (scores, deltas, count) in enumerate(zip(flat.scores, flat.deltas, counts)):
        missing = max(most - count, 0) if known else most
        scores_BN, place_BN = best(F.pad(scores.sigmoid(), (0, missing), value=NONE), most)
        # A place beyond the end stands for nothing, and has to be one for reading.
        place_BN = where(scores_BN >= 0, place_BN, 0) if missing else place_BN
        anchors_BN4 = _anchors_at(generator, level, place_BN, flat.sizes[level][1])
        found.append(Candidates(scores_BN, anchors_BN4, pick(deltas, place_BN)))
    return Candidates(*(torch.stack(parts, dim=1) for parts in zip(*found)))


def _anchors_at(generator: AnchorGenerator, level: int, place_BN: Tensor, columns: int) -> Tensor:
    """What stands at places of a level's grid, `(B, N, 4)`."""
    base_K4 = generator.base_anchors[level].to(place_BN.device)
    cell_BN = place_BN // len(base_K4)
    y_BN = cell_BN // columns
    x_BN = cell_BN - y_BN * columns
    stride_x, stride_y = generator.strides[level]
    corner_BN2 = torch.stack([x_BN * stride_x, y_BN * stride_y], dim=-1)
    base_BN4 = base_K4[place_BN - cell_BN * len(base_K4)]
    return base_BN4 + corner_BN2.repeat(1, 1, 2).to(base_BN4.dtype)
