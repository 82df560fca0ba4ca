"""Which labelled object each detection found, and what it was taken for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

IOU = 0.5
SCORE = 0.3


@dataclass(frozen=True)
class Labelled:
    """Objects of one image."""

    boxes: np.ndarray
    """(N, 4) as x, y, width, height."""
    labels: np.ndarray
    """Classes (N,)."""
    crowd: np.ndarray
    """Which are crowd regions (N,)."""


@dataclass(frozen=True)
class Found:
    """Detections of one image."""

    boxes: np.ndarray
    """(N, 4) as x, y, width, height."""
    labels: np.ndarray
    """Classes (N,)."""
    scores: np.ndarray
    """(N,)."""


def count_pairs(
    matrix: np.ndarray, labelled: Labelled, found: Found, score_thr: float = SCORE
) -> None:
    """Add one image to a confusion matrix (C + 1, C + 1).

    Rows are what is there, columns what was found. The surest detection takes the object that it
    overlaps most, of any class, if their IoU is 0.5 or more and no other has it. The last row
    counts detections of nothing, the last column objects that nothing found. Detections that lie on
    a crowd region and found no object do not count.
    """
    nothing = len(matrix) - 1
    order = np.argsort(-found.scores, kind="stable")
    order = order[found.scores[order] >= score_thr]
    boxes = np.asarray(found.boxes, dtype=np.float64).reshape(-1, 4)[order]
    truth = np.asarray(labelled.boxes, dtype=np.float64).reshape(-1, 4)
    crowd = np.asarray(labelled.crowd, dtype=bool)
    overlaps = np.zeros((len(boxes), len(truth)))
    if len(boxes) and len(truth):
        # With a crowd region, pycocotools divides by the detection's own area.
        overlaps = coco_mask.iou(boxes, truth, crowd.astype(np.uint8))
    # A crowd region can be no detection's own object.
    free = ~crowd
    for detection, row in zip(order, overlaps):
        # Taken objects and crowd regions cannot be the best.
        best = int(np.argmax(np.where(free, row, -1.0))) if free.any() else -1
        if best >= 0 and row[best] >= IOU:
            # Objects go to detections in the order of their scores, as in COCO's evaluation.
            free[best] = False
            matrix[labelled.labels[best], found.labels[detection]] += 1
        elif not (row[crowd] >= IOU).any():
            matrix[nothing, found.labels[detection]] += 1
    for label in np.asarray(labelled.labels)[free]:
        matrix[label, nothing] += 1
