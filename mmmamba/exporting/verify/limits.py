"""How far a file's results may be from PyTorch's."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """By default those of float32."""

    spread: float = 2e-5
    """Largest error of maps and logits, as a share of the standard deviation of PyTorch's."""
    roundings: float = 8
    """Or as many times what PyTorch in float32 is off float64 by, if that is more."""
    equal: float = 0.999
    """Least share of equal pixels of label maps."""
    iou: float = 0.99
    """Least IoU of a box with its partner."""
    score: float = 1e-3
    """Largest difference of their scores."""
    mask: float = 1e-3
    """Largest difference of a pixel's share in their masks."""
    lost: float = 0.002
    """Largest share of boxes without a partner: an overlap at the threshold of suppression is
    decided by the last digit."""
    least_score: float = 0.05
    """Boxes from this score on are compared, and at least the ten best of each image."""


LIMITS = dict(
    float32=Limits(),
    float16=Limits(spread=1e-2, equal=0.99, iou=0.95, score=0.02, mask=0.05, lost=0.02),
    # Only told: what int8 costs is known from AP and mIoU.
    int8=Limits(spread=math.inf, equal=0, iou=0, score=math.inf, mask=math.inf, lost=1),
)
"""By the precision of a file."""
