"""How many small targets are found, and how much is found that is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


class Components(NamedTuple):
    """The connected regions of a mask; pixels that touch at a corner are one."""

    centroids_N2: np.ndarray
    """Means of their pixels' columns and rows."""
    areas_N: np.ndarray
    """Pixels of each."""


@dataclass(frozen=True)
class Counts:
    """What one image adds to the sums: pixels and targets."""

    both: int
    """Pixels that are target and predicted."""
    either: int
    """Pixels that are one of the two."""
    targets: int
    found: int
    """Targets that have a predicted component of their own."""
    false_pixels: int
    """Pixels of predicted components that no target has."""
    pixels: int


@METRICS.register_module()
class SmallTargetMetric(BaseMetric):
    """IoU, nIoU, Pd and Fa of masks with one class of targets.

    - `IoU`, percent: pixels that are target and predicted, over those that are either, of all
      images together.
    - `nIoU`, percent: the mean of each image's own IoU (Dai et al., arXiv 2009.14530, section 4.1).
      Images without a target in which nothing is predicted have none and are left out.
    - `Pd`, percent: targets that are found, of all targets. Targets and predictions are connected
      components; a target is found by a component whose centroid is nearer than `distance`. A
      component finds one target at most, nearest pairs first (Li et al., arXiv 2106.00487, section
      IV-A).
    - `Fa`, in 1e-6: pixels of the components that found nothing, of all pixels (the same).

    What has nothing to count is NaN: `Pd` where no image has a target, for one.

    Args:
        distance: pixels of the image as it is scored, below which two centroids are one target's.
        ignore_index: label of pixels that count for nothing, in predictions neither.
    """

    def __init__(
        self,
        distance: float = 3.0,
        ignore_index: int = 255,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.distance, self.ignore_index = distance, ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what each image adds to the sums."""
        for sample in data_samples:
            labelled_HW = sample["gt_sem_seg"]["data"].squeeze(0).cpu().numpy()
            predicted_HW = sample["pred_sem_seg"]["data"].squeeze(0).cpu().numpy()
            counted_HW = labelled_HW != self.ignore_index
            # Everything but the background is target.
            target_HW = (labelled_HW > 0) & counted_HW
            found_HW = (predicted_HW > 0) & counted_HW
            pixels = int(counted_HW.sum())
            self.results.append(count(target_HW, found_HW, self.distance, pixels))

    def compute_metrics(self, results: list[Counts]) -> dict[str, float]:
        """The sums of all images, in whatever order they come."""
        table = np.array([astuple(one) for one in results], dtype=np.int64).reshape(len(results), 6)
        both, either, targets, found, false_pixels, pixels = table.sum(0)
        scored = table[:, 1] > 0
        each = table[scored, 0] / table[scored, 1]
        return {
            "IoU": 100 * _share(both, either),
            "nIoU": 100 * _share(each.sum(), len(each)),
            "Pd": 100 * _share(found, targets),
            "Fa": 1e6 * _share(false_pixels, pixels),
        }


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def components(mask_HW: np.ndarray) -> Components:
    """The connected components of a mask."""
    _, _, stats, centroids = cv2.connectedComponentsWithStats(
        mask_HW.astype(np.uint8), connectivity=8
    )
    # The first is the background.
    return Components(centroids[1:], stats[1:, cv2.CC_STAT_AREA])


def count(target_HW: np.ndarray, found_HW: np.ndarray, distance: float, pixels: int) -> Counts:
    """What one image adds.

    Args:
        target_HW, found_HW: masks of the targets and of what is predicted.
        pixels: of the image that are counted.
    """
    targets, predicted = components(target_HW), components(found_HW)
    taken = match(targets.centroids_N2, predicted.centroids_N2, distance)
    return Counts(
        both=int((target_HW & found_HW).sum()),
        either=int((target_HW | found_HW).sum()),
        targets=len(targets.areas_N),
        found=len(taken),
        false_pixels=int(np.delete(predicted.areas_N, taken).sum()),
        pixels=pixels,
    )


def match(targets_N2: np.ndarray, predicted_M2: np.ndarray, distance: float) -> list[int]:
    """The predictions that found a target, one each, nearest pairs first."""
    far_NM = np.linalg.norm(targets_N2[:, None] - predicted_M2[None], axis=-1)
    taken: dict[int, int] = {}
    for pair in np.argsort(far_NM, axis=None, kind="stable"):
        target, prediction = divmod(int(pair), far_NM.shape[1])
        if far_NM[target, prediction] >= distance:
            break
        if target not in taken and prediction not in taken.values():
            taken[target] = prediction
    return list(taken.values())
