"""Overlaps of boxes as mmdet's `bbox_overlaps` has them, which waits for a GPU to send it `eps`.

Boxes are corners `(..., 4)` whose leading axes broadcast.
"""

from typing import NamedTuple

from mmdet.models.task_modules.assigners import BboxOverlaps2D
from torch import Tensor


def iou(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """Intersection over union, which is taken for `eps` at least."""
    pair = _Pair(*a.split(2, dim=-1), *b.split(2, dim=-1))
    shared = pair.shared()
    return shared / pair.union(shared, eps)


def giou(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """Generalised IoU (arXiv 1902.09630): less the share of the box around both that is empty."""
    pair = _Pair(*a.split(2, dim=-1), *b.split(2, dim=-1))
    shared = pair.shared()
    union = pair.union(shared, eps)
    around = pair.around().clamp(min=eps)
    return shared / union - (around - union) / around


def is_plain(calculator: object) -> bool:
    """Whether mmdet's `calculator` gives what `iou` gives."""
    # A subclass computes something else, and half precision would round.
    return type(calculator) is BboxOverlaps2D and calculator.dtype is None


class _Pair(NamedTuple):
    """First and last corners `(..., 2)` of two boxes, and areas of what they make."""

    first_a: Tensor
    last_a: Tensor
    first_b: Tensor
    last_b: Tensor

    def shared(self) -> Tensor:
        sides = self.last_a.min(self.last_b) - self.first_a.max(self.first_b)
        return _area(sides.clamp(min=0))

    def union(self, shared: Tensor, eps: float) -> Tensor:
        total = _area(self.last_a - self.first_a) + _area(self.last_b - self.first_b)
        return (total - shared).clamp(min=eps)

    def around(self) -> Tensor:
        sides = self.last_a.max(self.last_b) - self.first_a.min(self.first_b)
        return _area(sides.clamp(min=0))


def _area(sides: Tensor) -> Tensor:
    across, down = sides.unbind(-1)
    return across * down
