"""An image of a data set with what is labelled on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Mark:
    """One object: its class, box (x, y, w, h), and mask (H, W) if there is one."""

    label: int
    box: Sequence[float] | None
    mask: np.ndarray | None = None
    crowd: bool = False
    faulty: bool = False


@dataclass
class Sample:
    """An image (H, W, 3; blue, green, red) with its objects, or with a class for each pixel or one.

    `labels` is (H, W), -1 where a pixel is ignored; `label` is the class of the whole image.
    `saliency` is (H, W) of any size, how salient each pixel is.
    """

    title: str
    image: np.ndarray
    marks: list[Mark] = field(default_factory=list)
    labels: np.ndarray | None = None
    label: int | None = None
    saliency: np.ndarray | None = None
