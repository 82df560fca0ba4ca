"""Which class each image was taken for, as mmpretrain counts it, and the accuracy of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS


@dataclass
class ImageConfusion:
    """Images (C, C) of the last evaluation, on the main process: rows labelled, columns predicted.

    None before there was one.
    """

    matrix: np.ndarray | None = None


def count_confusion(evaluator: Evaluator) -> ImageConfusion:
    """Have an evaluator of a classifier count, too, what images were taken for.

    It adds no number to the results.
    """
    metric: Any = METRICS.build(dict(type="mmpretrain.ConfusionMatrix"))
    kept, compute = ImageConfusion(), metric.compute_metrics

    def keeping(results: list) -> dict[str, float]:
        kept.matrix = compute(results)["result"].numpy()
        return {}

    metric.compute_metrics = keeping
    metric.dataset_meta = evaluator.dataset_meta
    evaluator.metrics.append(metric)
    return kept


def class_accuracies(matrix: np.ndarray) -> np.ndarray:
    """The share (C,) of each class's images that were taken for it; NaN where there are none."""
    totals = matrix.sum(axis=1)
    return np.divide(matrix.diagonal(), totals, out=np.full(len(matrix), np.nan), where=totals > 0)
