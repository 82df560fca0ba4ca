"""An image with what is labelled on it, for a sheet of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Mark:
    """One object: class, box (x, y, w, h), mask (H, W) if there is one."""

    label: int
    box: Sequence[float] | None
    mask: np.ndarray | None = None
    crowd: bool = False
    faulty: bool = False


@dataclass
class Sample:
    """An image (H, W, 3) with its objects, or with a class for each pixel (H, W; -1 ignored)."""

    title: str
    image: np.ndarray
    marks: list[Mark] = field(default_factory=list)
    labels: np.ndarray | None = None
