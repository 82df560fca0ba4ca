"""A class for each pixel of an image, as a tint over it."""

from __future__ import annotations

import cv2
import numpy as np

from ..structures.classes import Classes
from .canvas import enlarge, enlarge_labels

REGION_OPACITY = 0.55
IGNORED = "ignored"
WHITE = (255, 255, 255)


def tint_regions(image: np.ndarray, labels_HW: np.ndarray, classes: Classes) -> np.ndarray:
    """Each pixel tinted with its class's colour, and white borders between classes.

    The image is (H, W, 3; blue, green, red) and enlarged if it is small.
    """
    canvas, scale = enlarge(image)
    # OpenCV resizes no integers of 64 bits, which label maps of tensors have.
    labels_HW = enlarge_labels(labels_HW.astype(np.int32), scale)
    # A palette in red, green, blue looked up by label, then turned to OpenCV's order.
    tint = np.array(classes.colours, dtype=np.uint8)[labels_HW][..., ::-1]
    tinted = cv2.addWeighted(
        canvas, 1 - REGION_OPACITY, np.ascontiguousarray(tint), REGION_OPACITY, 0
    )
    # A border is where a pixel differs from its left or upper neighbour.
    border_HW = np.zeros(labels_HW.shape, dtype=bool)
    border_HW[:, 1:] |= labels_HW[:, 1:] != labels_HW[:, :-1]
    border_HW[1:] |= labels_HW[1:] != labels_HW[:-1]
    tinted[border_HW] = 255
    return tinted


def with_ignored(classes: Classes) -> Classes:
    """One more class at the end, whitish, for pixels that have none."""
    return Classes((*classes.names, IGNORED), (*classes.colours, WHITE), (*classes.ids, -1))
