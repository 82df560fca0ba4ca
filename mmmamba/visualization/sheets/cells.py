"""One image with what is labelled or predicted on it, at the size that it has on a sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor

from ...structures.classes import Classes
from ...structures.objects import Objects
from ..predictions import SMALLEST, draw_objects, tint_regions

IGNORED = "ignored"
WHITE = (255, 255, 255)
MOST_OBJECTS = 100


@dataclass(frozen=True)
class Cell:
    """A drawn image (H, W, 3; blue, green, red; its long side `SMALLEST`) and the classes that it shows."""

    title: str
    image: np.ndarray
    shown: frozenset[int]


def plain_cell(title: str, image: np.ndarray) -> Cell:
    """The image alone."""
    return Cell(title, _resize(image), frozenset())


def objects_cell(
    title: str, image: np.ndarray, found: Any, classes: Classes, score_thr: float = 0.0
) -> Cell:
    """Boxes, masks and names.

    Args:
        found: mmdet's instances (`bboxes`, `labels`, perhaps `scores` and `masks`) in pixels of the image. Those with
            scores under `score_thr` are left out.
    """
    scores = found.scores.float().cpu().numpy() if "scores" in found else np.ones(len(found.labels))
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= score_thr][:MOST_OBJECTS]
    labels = np.asarray(found.labels.cpu())[order]
    boxes = getattr(found.bboxes, "tensor", found.bboxes).float().cpu().numpy()[order]
    masks = _masks(found.masks, order) if "masks" in found else None
    small = _resize(image)
    height, width = small.shape[:2]
    if masks is not None:
        masks = [
            _encode(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST))
            for mask in masks
        ]
    boxes = boxes * (np.array([width, height] * 2) / np.array([image.shape[1], image.shape[0]] * 2))
    objects = Objects(boxes, scores[order], labels, masks)
    drawn = draw_objects(small, objects, classes, scores="scores" in found)
    return Cell(title, drawn, frozenset(labels.tolist()))


def regions_cell(title: str, image: np.ndarray, labels: np.ndarray, classes: Classes) -> Cell:
    """Each pixel's class; `labels` is (H, W), and pixels of no class are whitish."""
    small = _resize(image)
    ignored = len(classes.names)
    labels = np.where((labels >= 0) & (labels < ignored), labels, ignored).astype(np.int32)
    labels = cv2.resize(labels, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return Cell(
        title,
        tint_regions(small, labels, with_ignored(classes)),
        frozenset(np.unique(labels).tolist()),
    )


def with_ignored(classes: Classes) -> Classes:
    """One more class at the end, for pixels that have none."""
    return Classes((*classes.names, IGNORED), (*classes.colours, WHITE), (*classes.ids, -1))


def input_image(tensor: Tensor) -> np.ndarray:
    """What a pipeline made of an image (C, H, W) as (H, W, 3) in eight bits; normalised values are spread over them."""
    image = tensor.cpu().numpy().transpose(1, 2, 0)
    image = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    low, high = float(image.min()), float(image.max())
    if image.dtype != np.uint8 and (low < 0 or not 1 < high <= 255):
        image = (image - low) / max(high - low, 1e-6) * 255
    return np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))


def _resize(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = SMALLEST / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _masks(masks: Any, order: np.ndarray) -> np.ndarray:
    """(N, H, W): predictions are tensors, labels one of mmdet's classes of masks."""
    chosen = masks[order.tolist()]
    return (chosen.cpu().numpy() if isinstance(chosen, Tensor) else chosen.to_ndarray()).astype(
        np.uint8
    )


def _encode(mask: np.ndarray) -> dict[str, Any]:
    return coco_mask.encode(np.asfortranarray(mask))
