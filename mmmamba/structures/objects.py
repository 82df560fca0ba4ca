"""Objects of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Objects:
    """Objects of one image, the surest first.

    Attributes:
        boxes: (N, 4) as x1, y1, x2, y2 in pixels.
        scores: (N,).
        labels: (N,) indices of classes.
        masks: N masks as pycocotools holds them (RLE), or None where the model finds boxes only.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: list[dict[str, Any]] | None

    def __len__(self) -> int:
        return len(self.scores)
