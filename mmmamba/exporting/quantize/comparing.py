"""How far a model in int8 is from itself in float32: by its boxes, or by numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..verify.boxes import Found, match
from .ranges import Arrays

BOXES = ("boxes", "scores", "labels")
"""Outputs of a detector."""
OVERLAPS = np.linspace(0.5, 0.95, 10)
"""IoUs from which on COCO's AP takes a box for found; AP is the mean over them."""


def differences(exact: Sequence[Arrays], found: Sequence[Arrays]) -> dict[str, float]:
    """By what was compared, 0 of equal results: `boxes`, or each value's error.

    That of boxes is what is missing to 1 in the overlap of all that was found, weighted by scores.
    An error is the root mean square of the differences, as a share of the spread of what is exact.
    """
    if set(BOXES) <= exact[0].keys():
        return dict(boxes=float(1 - _agreement(exact, found)))
    return {name: _share(_all(exact, name), _all(found, name)) for name in exact[0]}


def _agreement(exact: Sequence[Arrays], found: Sequence[Arrays]) -> float:
    common, total = 0.0, 0.0
    for ours, theirs in zip(exact, found):
        for place in range(len(ours["boxes"])):
            pair = Found.of(ours, place), Found.of(theirs, place)
            total += sum(float(one.scores.sum()) for one in pair)
            for first, second, iou in match(*pair):
                score = min(pair[0].scores[first], pair[1].scores[second])
                # Twice, as it is part of both sums.
                common += 2 * score * float((iou >= OVERLAPS).mean())
    return common / total if total else 1.0


def _share(exact: np.ndarray, found: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - exact).mean()) / max(exact.std(), 1e-12))


def _all(results: Sequence[Arrays], name: str) -> np.ndarray:
    """The numbers of a value, of all batches."""
    return np.concatenate([one[name].reshape(-1) for one in results]).astype(np.float64)
