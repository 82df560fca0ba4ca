"""Pixels counted against a case by hand and against mmseg's IoU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmmamba.evaluation.segmentation import PixelConfusion, ious

CLASSES = ("road", "car", "tree", "nowhere")


def count(pairs: list[tuple], ignore_index: int = 255) -> PixelConfusion:
    metric = PixelConfusion(ignore_index)
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples(pairs))
    assert metric.evaluate(len(pairs)) == {}
    return metric


def samples(pairs: list[tuple]) -> list[dict]:
    return [
        dict(
            gt_sem_seg=dict(data=torch.as_tensor(labelled)[None]),
            pred_sem_seg=dict(data=torch.as_tensor(predicted)[None]),
        )
        for labelled, predicted in pairs
    ]


def test_by_hand() -> None:
    labelled, predicted = [[0, 0, 1], [1, 2, 255]], [[0, 1, 1], [1, 0, 2]]
    matrix = count([(labelled, predicted), ([[2]], [[2]])]).matrix
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(ious(matrix), [1 / 3, 2 / 3, 1 / 2, np.nan])


@pytest.mark.parametrize("ignore_index", [255, 2])
def test_iou_is_mmsegs(ignore_index: int) -> None:
    random = torch.Generator().manual_seed(0)
    pairs = torch.randint(0, 4, (3, 2, 9, 7), generator=random)
    theirs = IoUMetric(ignore_index=ignore_index)
    theirs.dataset_meta = dict(classes=CLASSES)
    theirs.process({}, samples(pairs))
    mean = np.nanmean(ious(count(pairs, ignore_index).matrix)) * 100
    assert mean == pytest.approx(theirs.evaluate(len(pairs))["mIoU"], abs=0.006)
