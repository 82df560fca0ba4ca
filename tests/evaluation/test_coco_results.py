"""Precision and recall and the confusion matrix hold what COCOeval computes."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation import CocoMetric

from mmmamba.datasets.shapes import CLASSES, ShapesSpec, make_shapes
from mmmamba.evaluation.coco_results import (
    detection_confusion,
    find_coco_metric,
    keep_results,
    precisions,
)
from mmmamba.visualization.charts.confusion import draw_confusion
from mmmamba.visualization.charts.precision_recall import draw_precision_recall


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_shapes(
        tmp_path_factory.mktemp("data") / "shapes", ShapesSpec(num_train=1, num_val=20, size=48)
    )
    return root / "annotations" / "instances_val.json"


def samples(file: Path) -> list[dict]:
    """Objects as a middling detector finds them.

    They are shifted, some are missed, some of the wrong class, some made up.
    """
    rng = np.random.default_rng(0)
    coco = COCO(str(file))
    found = []
    for image in coco.load_imgs(coco.get_img_ids()):
        annotations = coco.load_anns(coco.get_ann_ids(img_ids=[image["id"]]))
        boxes = np.array([a["bbox"] for a in annotations] + [[1, 1, 12, 9]], dtype=np.float32)
        boxes[:, 2:] += boxes[:, :2]
        boxes += rng.normal(0, 1.0, boxes.shape).astype(np.float32)
        masks = np.stack(
            [coco.annToMask(a) for a in annotations] + [np.eye(48, dtype=np.uint8)]
        ).astype(bool)
        labels = np.array([[1, 4, 9].index(a["category_id"]) for a in annotations] + [0])
        labels = np.where(rng.random(len(labels)) < 0.2, (labels + 1) % 3, labels)
        kept = torch.from_numpy(rng.random(len(labels)) < 0.8)
        instances = dict(
            bboxes=torch.from_numpy(boxes)[kept],
            labels=torch.from_numpy(labels)[kept],
            scores=torch.from_numpy(rng.random(len(labels)))[kept],
            masks=torch.from_numpy(np.roll(masks, 1, axis=2))[kept],
        )
        found.append(dict(img_id=image["id"], ori_shape=(48, 48), pred_instances=instances))
    return found


@pytest.fixture(scope="module")
def evaluated(annotations: Path) -> tuple[CocoMetric, list, dict]:
    metric = CocoMetric(ann_file=str(annotations), metric=["bbox", "segm"])
    metric.dataset_meta = dict(classes=CLASSES)
    assert find_coco_metric([object(), metric]) is metric
    kept = keep_results(metric)
    found = samples(annotations)
    metric.process({}, found)
    return metric, kept, metric.evaluate(len(found))


def test_precision_is_cocoevals(evaluated, annotations: Path) -> None:
    metric, kept, results = evaluated
    box, mask = precisions(metric, kept)
    assert (box.kind, mask.kind) == ("box", "mask")
    for precision, kind in ((box, "bbox"), (mask, "segm")):
        assert 0.1 < precision.average() < 0.9
        assert precision.average() == pytest.approx(results[f"coco/{kind}_mAP"], abs=5.1e-4)
        assert precision.average(precision.index(0.5)) == pytest.approx(
            results[f"coco/{kind}_mAP_50"], abs=5.1e-4
        )
        assert precision.average(precision.index(0.75)) == pytest.approx(
            results[f"coco/{kind}_mAP_75"], abs=5.1e-4
        )
    # Once more without mmdet: the whole array, of boxes.
    coco = COCO(str(annotations))
    entries = [
        dict(
            image_id=image["img_id"],
            category_id=[1, 4, 9][label],
            score=float(score),
            bbox=[*box[:2], *(box[2:] - box[:2])],
        )
        for _, image in kept
        for box, label, score in zip(
            image["bboxes"].astype(float), image["labels"], image["scores"]
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(entries), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    np.testing.assert_allclose(box.values, evaluation.eval["precision"][:, :, :, 0, -1])


def test_confusion_counts_every_object_once(evaluated, annotations: Path, tmp_path: Path) -> None:
    metric, kept, _ = evaluated
    matrix = detection_confusion(metric, kept, score_thr=0.0)
    objects = [a for a in json.loads(annotations.read_text())["annotations"] if not a["iscrowd"]]
    for label, category in enumerate((1, 4, 9)):
        assert matrix[label].sum() == sum(a["category_id"] == category for a in objects)
    # Most are found as what they are; a fifth is taken for the next class, a fifth is not found.
    shares = matrix[:3] / matrix[:3].sum(axis=1, keepdims=True)
    assert (np.diag(shares) > 0.3).all()
    assert 0.05 < shares[:, 3].mean() < 0.5
    draw_confusion(matrix, [*CLASSES, "nothing"], tmp_path / "confusion.png", "objects", "by hand")
    draw_precision_recall(precisions(metric, kept), CLASSES, tmp_path / "pr.png")
    for name in ("confusion.png", "pr.png"):
        picture = cv2.imread(str(tmp_path / name))
        assert min(picture.shape[:2]) > 300 and picture.std() > 10


def test_no_detections_give_no_curve(evaluated) -> None:
    metric, kept, _ = evaluated
    nothing = []
    for truth, found in kept:
        empty = {name: value[:0] for name, value in found.items() if name != "img_id"}
        nothing.append((truth, dict(empty, img_id=found["img_id"])))
    assert precisions(metric, nothing) == []
    matrix = detection_confusion(metric, nothing)
    assert matrix[:3, 3].sum() == matrix.sum() > 0
