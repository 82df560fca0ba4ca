"""One image with what is labelled or predicted on it, at the size that it has on a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor

from ...structures.classes import Classes
from ...structures.objects import Objects
from ...structures.samples import Mark
from ..canvas import READABLE, displayed, fit, fit_labels
from ..heat import tint_heat
from ..objects import Drawn, Line, draw_objects
from ..predictions import draw_detections
from ..regions import tint_regions, with_ignored
from ..style import FAULTY

MOST_OBJECTS = 100
NAMED_MARKS = 15
"""Marks up to which each is named beside its box; the legend names the rest."""
FRAME = 6
"""Pixels of the frame in the colour of an image's class."""
BEYOND = 10
"""Pixels around an image in which boxes that reach beyond it are seen."""


@dataclass(frozen=True)
class Cell:
    """A drawn image (H, W, 3; blue, green, red; its long side `READABLE`) and what it shows."""

    title: str
    image: np.ndarray
    shown: frozenset[int] = frozenset()
    """Classes."""


def plain_cell(title: str, image: np.ndarray) -> Cell:
    """The image alone."""
    return Cell(title, fit(image))


def objects_cell(
    title: str, image: np.ndarray, found: Any, classes: Classes, score_thr: float = 0.0
) -> Cell:
    """Boxes, masks and names of what a model or its labels hold.

    Args:
        found: mmdet's instances (`bboxes`, `labels`, perhaps `scores` and `masks`) in pixels of the
            image. Those with scores under `score_thr` are left out.
    """
    scored = "scores" in found
    scores = found.scores.float().cpu().numpy() if scored else np.ones(len(found.labels))
    order = np.argsort(-scores, kind="stable")
    # Best first and cut before masks become full maps, which are large.
    order = order[scores[order] >= score_thr][:MOST_OBJECTS]
    labels = np.asarray(found.labels.cpu())[order]
    boxes = getattr(found.bboxes, "tensor", found.bboxes).float().cpu().numpy()[order]
    small = fit(image)
    height, width = small.shape[:2]
    # Apart for both axes, as sides were rounded to whole pixels.
    across, down = width / image.shape[1], height / image.shape[0]
    masks = None
    if "masks" in found:
        masks = [_encode(fit_labels(m, height, width)) for m in _masks(found.masks, order)]
    objects = Objects(boxes * np.array([across, down] * 2), scores[order], labels, masks)
    # Labels of a data set have no score to be written.
    drawn = draw_detections(small, objects, classes, scores=scored)
    return Cell(title, drawn, frozenset(labels.tolist()))


def marks_cell(title: str, image: np.ndarray, marks: Sequence[Mark], classes: Classes) -> Cell:
    """What is annotated: faulty annotations red and dashed, crowd regions dotted."""
    # With its border the canvas has just the readable size: it is not enlarged once more.
    small = fit(image, READABLE - 2 * BEYOND)
    height, width = small.shape[:2]
    scale = width / image.shape[1], height / image.shape[0]
    canvas = cv2.copyMakeBorder(small, *[BEYOND] * 4, cv2.BORDER_CONSTANT, value=(255,) * 3)
    named = len(marks) <= NAMED_MARKS
    drawn = []
    for mark in marks:
        name = classes.names[mark.label] if named else ""
        drawn.append(_drawn(mark, name, classes.colours[mark.label], scale, (height, width)))
    return Cell(title, draw_objects(canvas, drawn), frozenset(mark.label for mark in marks))


def _drawn(
    mark: Mark,
    name: str,
    colour: tuple[int, int, int],
    scale: tuple[float, float],
    size: tuple[int, int],
) -> Drawn:
    """A mark at its place on a canvas that begins `BEYOND` pixels before the image."""
    box = mask = None
    if mark.box is not None:
        x, y, width, height = mark.box
        across, down = scale
        left, top = BEYOND + x * across, BEYOND + y * down
        box = left, top, left + width * across, top + height * down
    if mark.mask is not None:
        mask = _encode(np.pad(fit_labels(mark.mask, *size), BEYOND))
    line = Line.DASHED if mark.faulty else Line.DOTTED if mark.crowd else Line.SOLID
    return Drawn(colour, box, mask, name, line, FAULTY if mark.faulty else None)


def class_cell(
    title: str, image: np.ndarray, label: int, classes: Classes, wrong: bool = False
) -> Cell:
    """The image in a frame of its class's colour, or one red and dashed if the class is `wrong`."""
    small = fit(image, READABLE - 2 * FRAME)
    colour = (255,) * 3 if wrong else classes.colours[label][::-1]
    # Around the image, so that nothing of it is hidden.
    canvas = cv2.copyMakeBorder(small, *[FRAME] * 4, cv2.BORDER_CONSTANT, value=colour)
    if not wrong:
        return Cell(title, canvas, frozenset([label]))
    height, width = canvas.shape[:2]
    frame = Drawn(FAULTY, (0, 0, width, height), line=Line.DASHED)
    return Cell(title, draw_objects(canvas, [frame]))


def regions_cell(title: str, image: np.ndarray, labels: np.ndarray, classes: Classes) -> Cell:
    """Each pixel's class; `labels` is (H, W), and pixels of no class are whitish."""
    small = fit(image)
    # Whatever stands for "ignored" (255, -1) becomes one class more.
    ignored = len(classes.names)
    labels = np.where((labels >= 0) & (labels < ignored), labels, ignored).astype(np.int32)
    labels = fit_labels(labels, *small.shape[:2])
    shown = frozenset(np.unique(labels).tolist())
    return Cell(title, tint_regions(small, labels, with_ignored(classes)), shown)


def heat_cell(title: str, image: np.ndarray, map_HW: np.ndarray) -> Cell:
    """How salient each pixel is; the map may have another size than the image."""
    return Cell(title, tint_heat(fit(image), map_HW))


def input_image(tensor: Tensor) -> np.ndarray:
    """What a pipeline made of an image (C, H, W), as (H, W, 3) in eight bits."""
    return displayed(tensor.cpu().numpy().transpose(1, 2, 0))


def label_map(data: Any) -> np.ndarray:
    """The labels, or other numbers, (H, W) of mmengine's `PixelData`."""
    return data.data.squeeze().cpu().numpy()


def _masks(masks: Any, order: np.ndarray) -> np.ndarray:
    """(N, H, W): predictions are tensors, labels one of mmdet's classes of masks."""
    chosen = masks[order.tolist()]
    full = chosen.cpu().numpy() if isinstance(chosen, Tensor) else chosen.to_ndarray()
    return full.astype(np.uint8)


def _encode(mask: np.ndarray) -> dict[str, Any]:
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
