"""Boxes of a file and of PyTorch, made partners and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .checks import Check
from .limits import Limits

PARTNERS = 0.5
"""The IoU from which on two boxes of a class are taken for the same."""
AT_LEAST = 10
"""Boxes of an image that are compared however low their scores are."""
IN_ORDER = 1e-6
NEAR = 0.02
"""How near to a threshold a score is at most, whatever scores may differ by."""


@dataclass
class BoxCheck:
    """Boxes, scores, labels and masks of all images.

    Every box of PyTorch gets the file's box of its class that it overlaps most, the best ones
    first. A box without a partner counts, unless its score is so near the threshold, or that of an
    image's last box where the image is full, that its absence means nothing.
    """

    limits: Limits
    threshold: float | None = None
    """Boxes below this score are not among the outputs."""
    images: int = 0
    compared: int = 0
    excused: int = 0
    lost: int = 0
    least_iou: float = 1.0
    score: float = 0.0
    mask: float | None = None
    wrong: str = ""
    """What no box may be."""
    where: str = ""
    """The first batch in which something is beyond a limit."""

    def add(
        self, wanted: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray], batch: str
    ) -> None:
        """Compare a batch."""
        if not all(np.isfinite(array).all() for array in given.values()):
            self.wrong = "not finite"
        elif (np.diff(given["scores"], axis=1) > IN_ORDER).any():
            self.wrong = "not best first"
        for index in range(len(wanted["boxes"])):
            self.images += 1
            self._add_image(
                Found.of(wanted, index), Found.of(given, index), wanted["boxes"].shape[1]
            )
            if not self.where and not self._within():
                self.where = batch

    def _add_image(self, wanted: Found, given: Found, places: int) -> None:
        floor = min([self.limits.least_score, *wanted.scores[AT_LEAST - 1 : AT_LEAST]])
        if 0 < len(wanted.scores) < AT_LEAST:
            floor = min(floor, wanted.scores.min())
        partners = match(wanted, given)
        for ours, theirs, iou in partners:
            score = wanted.scores[ours], given.scores[theirs]
            if max(score) < floor:
                continue
            self.compared += 1
            self.least_iou = min(self.least_iou, iou)
            self.score = max(self.score, float(abs(score[0] - score[1])))
            if wanted.masks is not None and given.masks is not None:
                difference = np.abs(wanted.masks[ours] - given.masks[theirs]).max()
                self.mask = max(self.mask or 0.0, float(difference))
        ours_matched = {ours for ours, _, _ in partners}
        theirs_matched = {theirs for _, theirs, _ in partners}
        for found, matched in ((wanted, ours_matched), (given, theirs_matched)):
            alone = [i for i in range(len(found.scores)) if i not in matched]
            edge = self._edge(wanted, given, places)
            for score in found.scores[alone]:
                if score < floor:
                    continue
                self.compared += 1
                near = score <= edge + min(self.limits.score, NEAR)
                self.excused += int(near)
                self.lost += int(not near)

    def _edge(self, wanted: Found, given: Found, places: int) -> float:
        """The score at which boxes come into an image's results, or do not."""
        edges = [self.threshold or 0.0]
        full = [found for found in (wanted, given) if len(found.scores) == places]
        edges += [float(found.scores.min()) for found in full]
        return max(edges)

    def _within(self) -> bool:
        limits = self.limits
        return (
            self.lost <= limits.lost * self.compared
            and self.least_iou >= limits.iou
            and self.score <= limits.score
            and (self.mask or 0.0) <= limits.mask
            and not self.wrong
        )

    def result(self) -> Check:
        """The verdict over all images."""
        passed = self._within()
        pairs = self.compared - self.excused - self.lost
        line = f"boxes: {pairs} of {self.compared} matched on {_count(self.images, 'image')}"
        if self.excused:
            line += f", {self.excused} at a threshold"
        if pairs:
            line += f", least IoU {self.least_iou:.5f}, scores within {self.score:.1e}"
        if self.mask is not None:
            line += f", masks within {self.mask:.1e}"
        if not self.compared:
            line = f"boxes: none on {_count(self.images, 'image')}, so that nothing is proven of "
            line += "them: give a real image"
        line += f", {self.wrong}" if self.wrong else ""
        line += "" if passed else f"; {self._wanted()}, at {self.where}"
        numbers = dict(
            matched=pairs,
            compared=self.compared,
            at_threshold=self.excused,
            least_iou=self.least_iou,
            score_difference=self.score,
            mask_difference=self.mask,
        )
        return Check("boxes", passed, line, numbers)

    def _wanted(self) -> str:
        limits = self.limits
        masks = f", masks within {limits.mask:.0e}" if self.mask is not None else ""
        return f"wanted all, IoU {limits.iou}, scores within {limits.score:.0e}{masks}"


@dataclass(frozen=True)
class Found:
    """What is found in an image, without the places that hold nothing."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None

    @classmethod
    def of(cls, outputs: Mapping[str, np.ndarray], index: int) -> Found:
        there = outputs["labels"][index] >= 0
        masks = outputs["masks"][index][there] if "masks" in outputs else None
        boxes, scores, labels = (
            outputs[name][index][there] for name in ("boxes", "scores", "labels")
        )
        return cls(boxes.astype(np.float64), scores.astype(np.float64), labels, masks)


def match(wanted: Found, given: Found) -> list[tuple[int, int, float]]:
    """Partners: which of the first, which of the second, and their IoU."""
    if not len(wanted.boxes) or not len(given.boxes):
        return []
    ious = overlaps(wanted.boxes, given.boxes)
    ious[wanted.labels[:, None] != given.labels[None]] = -1
    partners = []
    for ours in range(len(ious)):
        theirs = int(ious[ours].argmax())
        iou = float(ious[ours, theirs])
        if iou >= PARTNERS:
            partners.append((ours, theirs, iou))
            ious[:, theirs] = -1
    return partners


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of boxes (N, 4) with boxes (M, 4), corner by corner; 1 for two that are the same."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = (high - low).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - inside
    same = (first[:, None] == second[None]).all(-1)
    # A box without an area overlaps nothing, not even itself.
    return np.where(same, 1.0, inside / np.maximum(union, np.finfo(float).tiny))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
