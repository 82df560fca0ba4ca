"""What mmdet's `CocoMetric` collected of a validation, and its precision at each recall."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .matching import SCORE, Found, Labelled, count_pairs

KINDS = {"bbox": "box", "segm": "mask"}

Results = list[tuple[dict, dict]]
"""What `CocoMetric` computes from: labels and predictions, one pair for each image."""


def find_coco_metric(metrics: list[Any]) -> Any:
    """The first metric with COCO's annotations in memory, or None."""
    for metric in metrics:
        if getattr(metric, "_coco_api", None) is not None:
            return metric
    return None


def keep_results(metric: Any) -> Results:
    """A list that holds, on the main process, what the last evaluation was computed from.

    `CocoMetric` collects this from all processes and lets go of it; asking for it here spares doing
    so twice. Of tiles it holds the images that they make up.
    """
    kept: Results = []
    compute = metric.compute_metrics

    def keeping(results: Results) -> dict[str, float]:
        if hasattr(metric, "whole_images"):
            results = metric.whole_images(results)
        # In place: the caller holds this very list.
        kept[:] = results
        return compute(results)

    metric.compute_metrics = keeping
    return kept


@dataclass(frozen=True)
class Precision:
    """The precision of one kind of results, at each recall."""

    kind: str
    """box or mask."""
    values: np.ndarray
    """(T, R, C) at T IoU thresholds, R recalls and for C classes; -1 without objects."""
    thresholds: np.ndarray
    recalls: np.ndarray

    def average(self, threshold: int | None = None, label: int | None = None) -> float:
        """AP as COCO averages it, over all that is not asked for; NaN without objects."""
        # A slice keeps the axis of thresholds, so that classes stay the third.
        part = self.values if threshold is None else self.values[threshold : threshold + 1]
        part = part if label is None else part[:, :, label]
        part = part[part > -1]
        return float(part.mean()) if part.size else float("nan")

    def index(self, threshold: float) -> int | None:
        """The place of an IoU threshold, if it was evaluated."""
        found = np.flatnonzero(np.isclose(self.thresholds, threshold))
        return int(found[0]) if len(found) else None


def precisions(metric: Any, results: Results) -> list[Precision]:
    """COCOeval's precision of each kind that the metric scores, over objects of all sizes.

    It is empty without detections.
    """
    found = []
    predictions = [prediction for _, prediction in results]
    with tempfile.TemporaryDirectory() as folder:
        # By way of the metric's own files: boxes and categories are written as it scores them.
        files = metric.results2json(predictions, str(Path(folder, "results")))
        for kind in KINDS:
            entries = _entries(files, kind) if kind in metric.metrics else []
            if entries:
                found.append(_accumulate(metric, entries, kind))
    return found


def _entries(files: dict[str, str], kind: str) -> list[dict]:
    """The predictions in COCO's format of results, as the metric wrote them."""
    entries = json.loads(Path(files[kind]).read_text())
    if kind == "segm":
        # Where an entry has a box and a mask, pycocotools takes the area of the box.
        for entry in entries:
            entry.pop("bbox", None)
    return entries


def _accumulate(metric: Any, entries: list[dict], kind: str) -> Precision:
    """Match the entries with the labels as the metric does, but with objects of all sizes alone."""
    # Not at the top: importing mmdet takes seconds.
    from mmdet.datasets.api_wrappers import COCOeval

    # It prints what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(metric._coco_api, metric._coco_api.loadRes(entries), kind)
        params = evaluation.params
        params.catIds, params.imgIds = metric.cat_ids, metric.img_ids
        params.iouThrs = metric.iou_thrs
        # One number of detections and one range of areas: the rest would take as long again.
        params.maxDets = [getattr(metric, "counted", metric.proposal_nums[0])]
        params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
        evaluation.evaluate()
        evaluation.accumulate()
    # Axes: thresholds, recalls, classes, sizes, numbers of detections.
    values_TRC = evaluation.eval["precision"][..., 0, 0]
    return Precision(KINDS[kind], values_TRC, params.iouThrs, params.recThrs)


class LabelledImage(NamedTuple):
    """The objects of an image, and the annotations that they come from, in the same order."""

    objects: Labelled
    annotations: list[dict]


def labelled_objects(coco: Any, image: int, categories: list[int]) -> LabelledImage:
    """The objects of an image that are of these categories, which the classes stand for.

    Args:
        coco: mmdet's `COCO`.
        image: its id.
        categories: their ids, in the order of the classes.
    """
    label_of = {category: label for label, category in enumerate(categories)}
    annotations = []
    # Of other categories than the model's there may be objects, which it cannot find.
    for annotation in coco.load_anns(coco.get_ann_ids(img_ids=[image])):
        if annotation["category_id"] in label_of:
            annotations.append(annotation)
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    labels = np.array([label_of[a["category_id"]] for a in annotations], dtype=int)
    crowd = np.array([bool(a.get("iscrowd")) for a in annotations], dtype=bool)
    return LabelledImage(Labelled(boxes, labels, crowd), annotations)


def detection_confusion(metric: Any, results: Results, score_thr: float = SCORE) -> np.ndarray:
    """(C + 1, C + 1) counts, as `count_pairs` describes them."""
    matrix = np.zeros((len(metric.cat_ids) + 1,) * 2, dtype=np.int64)
    for _, prediction in results:
        labelled = labelled_objects(metric._coco_api, prediction["img_id"], metric.cat_ids).objects
        boxes = prediction["bboxes"].astype(np.float64).reshape(-1, 4).copy()
        # mmdet's boxes have a second corner, COCO's a size.
        boxes[:, 2:] -= boxes[:, :2]
        found = Found(boxes, prediction["labels"], prediction["scores"])
        count_pairs(matrix, labelled, found, score_thr)
    return matrix
