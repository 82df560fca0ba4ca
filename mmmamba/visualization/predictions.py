"""What a model found in an image, on that image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..structures.classes import Classes
from ..structures.objects import Objects
from .canvas import enlarge
from .legend import legend_column
from .objects import Box, Drawn, draw_name, draw_objects
from .regions import tint_regions
from .style import drawing_font

SIZE_OF_NAMES = 2
"""The name of a whole image is as many times larger than that of an object in it."""


def draw_detections(
    image: np.ndarray, objects: Objects, classes: Classes, scores: bool = True
) -> np.ndarray:
    """Boxes with names and, if wanted, scores, and masks: (H, W, 3), blue, green, red."""
    return draw_objects(image, drawn_objects(objects, classes, scores))


def drawn_objects(objects: Objects, classes: Classes, scores: bool = True) -> list[Drawn]:
    """How each object is drawn: in its class's colour, named, in the order that they have."""
    masks = objects.masks or [None] * len(objects)
    drawn = []
    for box, label, score, mask in zip(objects.boxes, objects.labels, objects.scores, masks):
        name = classes.names[label] + (f" {score:.2f}" if scores else "")
        drawn.append(Drawn(classes.colours[label], tuple(box), mask, name))
    return drawn


def draw_segmentation(
    image: np.ndarray,
    labels_HW: np.ndarray,
    shares: Mapping[str, float],
    classes: Classes,
    second: np.ndarray | None = None,
) -> np.ndarray:
    """The image tinted by class and, at the right, a legend with each class's share of it.

    Args:
        second: an image of the same size, of a pair, which goes between them as it is.
    """
    tinted = tint_regions(image, labels_HW, classes)
    height, width = tinted.shape[:2]
    # The tinted image may be enlarged; the legend's type goes with it.
    parts = [tinted, legend_column(height, max(height, width), shares, classes)]
    if second is not None:
        parts.insert(1, enlarge(second)[0])
    return np.hstack(parts)


def draw_classification(
    image: np.ndarray, labels: Sequence[int], scores: Sequence[float], classes: Classes
) -> np.ndarray:
    """The image, enlarged if it is small, and on it the names of classes with their scores.

    They stand one below the other, each in its class's colour, as many as find room.
    """
    canvas, _ = enlarge(image)
    picture = Image.fromarray(canvas[..., ::-1])
    pen, font = ImageDraw.Draw(picture), drawing_font(SIZE_OF_NAMES * max(canvas.shape[:2]))
    taken: list[Box] = []
    for label, score in zip(labels, scores):
        y = taken[-1][3] if taken else 0
        name = f"{classes.names[label]} {score:.2f}"
        draw_name(pen, font, (0, y, 0, y), name, classes.colours[label], taken)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])
