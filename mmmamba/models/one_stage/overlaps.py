"""Overlaps of boxes as mmdet's `bbox_overlaps` has them, which waits for a GPU to send it `eps`.

Boxes are corners `(..., 4)` whose leading axes broadcast.
"""

from typing import NamedTuple

import torch
from mmdet.models.task_modules.assigners import BboxOverlaps2D
from torch import Tensor


class Areas(NamedTuple):
    """Areas of what two boxes share and of what they cover together."""

    shared: Tensor
    union: Tensor


def iou(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """Intersection over union, which is taken for `eps` at least."""
    areas = _areas(a, b, eps)
    return areas.shared / areas.union


def giou(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """Generalised IoU (arXiv 1902.09630): less the share of the box around both that is empty."""
    areas = _areas(a, b, eps)
    first = torch.min(a[..., :2], b[..., :2])
    last = torch.max(a[..., 2:], b[..., 2:])
    around = _area(first, last, min_side=0).clamp(min=eps)
    return areas.shared / areas.union - (around - areas.union) / around


def is_plain(calculator: object) -> bool:
    """Whether mmdet's `calculator` gives what `iou` gives."""
    # A subclass computes something else, and half precision would round.
    return type(calculator) is BboxOverlaps2D and calculator.dtype is None


def _areas(a: Tensor, b: Tensor, eps: float) -> Areas:
    first = torch.max(a[..., :2], b[..., :2])
    last = torch.min(a[..., 2:], b[..., 2:])
    shared = _area(first, last, min_side=0)
    total = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:])
    return Areas(shared, (total - shared).clamp(min=eps))


def _area(first: Tensor, last: Tensor, min_side: float | None = None) -> Tensor:
    sides = last - first
    if min_side is not None:
        sides = sides.clamp(min=min_side)
    return sides[..., 0] * sides[..., 1]
