"""Which class each pixel was taken for, counted over a validation, and IoU of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric


class PixelConfusion(BaseMetric):
    """Counts pixels (C, C): rows are labelled, columns predicted.

    It adds no number to the results of validation.
    """

    default_prefix = "pictures"

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.matrix: np.ndarray | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the pairs of classes that occur in each image, which are few."""
        count = len(self.dataset_meta["classes"])
        for sample in data_samples:
            predicted = sample["pred_sem_seg"]["data"].flatten().long()
            labelled = sample["gt_sem_seg"]["data"].flatten().to(predicted)
            # Labels beyond the classes would land in the row of another pair.
            counts = labelled != self.ignore_index
            counts &= (labelled < count) & (predicted < count)
            # One number for each pair of classes: the row and column of the matrix, flattened.
            times = torch.bincount(labelled[counts] * count + predicted[counts]).cpu().numpy()
            pairs = np.flatnonzero(times)
            # MMEngine gathers these from all processes: full matrices would be large.
            self.results.append((pairs, times[pairs]))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Sum the pairs of all images."""
        count = len(self.dataset_meta["classes"])
        flat = np.zeros(count * count, dtype=np.int64)
        for pairs, times in results:
            flat[pairs] += times
        self.matrix = flat.reshape(count, count)
        return {}


def ious(matrix: np.ndarray) -> np.ndarray:
    """IoU of each class (C,); NaN of classes that are neither labelled nor predicted."""
    both = np.diag(matrix).astype(np.float64)
    either = matrix.sum(axis=0) + matrix.sum(axis=1) - both
    return np.divide(both, either, out=np.full(len(matrix), np.nan), where=either > 0)
