"""What mmdet's `CocoMetric` collected of a validation, and its precision at each recall."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .matching import SCORE, Found, Labelled, count_pairs

KINDS = {"bbox": "box", "segm": "mask"}


def find_coco_metric(metrics: list[Any]) -> Any:
    """The first metric with COCO's annotations in memory, or None."""
    return next(
        (metric for metric in metrics if getattr(metric, "_coco_api", None) is not None), None
    )


def keep_results(metric: Any) -> list[tuple[dict, dict]]:
    """A list that holds, on the main process, what the metric's last evaluation was computed from.

    `CocoMetric` collects this from all processes and lets go of it; asking for it here spares doing so twice.
    """
    kept: list[tuple[dict, dict]] = []
    compute = metric.compute_metrics

    def keeping(results: list[tuple[dict, dict]]) -> dict[str, float]:
        kept[:] = results
        return compute(results)

    metric.compute_metrics = keeping
    return kept


@dataclass(frozen=True)
class Precision:
    """Of one kind, "box" or "mask": (T, R, C) at T IoU thresholds, R recalls and C classes, -1 without objects."""

    kind: str
    values: np.ndarray
    thresholds: np.ndarray
    recalls: np.ndarray

    def average(self, threshold: int | None = None, label: int | None = None) -> float:
        """AP as COCO averages it, over all that is not asked for; NaN without objects."""
        part = self.values if threshold is None else self.values[threshold : threshold + 1]
        part = part if label is None else part[:, :, label]
        part = part[part > -1]
        return float(part.mean()) if part.size else float("nan")

    def index(self, threshold: float) -> int | None:
        """Where an IoU threshold stands, if it was evaluated."""
        found = np.flatnonzero(np.isclose(self.thresholds, threshold))
        return int(found[0]) if len(found) else None


def precisions(metric: Any, results: list[tuple[dict, dict]]) -> list[Precision]:
    """COCOeval's precision of each kind that the metric scores, over objects of all sizes. Empty without detections."""
    from mmdet.datasets.api_wrappers import COCOeval

    found = []
    with tempfile.TemporaryDirectory() as folder:
        files = metric.results2json(
            [prediction for _, prediction in results], str(Path(folder, "results"))
        )
        for kind, label in KINDS.items():
            entries = json.loads(Path(files[kind]).read_text()) if kind in metric.metrics else []
            if not entries:
                continue
            # Of entries with both, pycocotools takes the area of boxes.
            if kind == "segm":
                entries = [
                    {key: value for key, value in entry.items() if key != "bbox"}
                    for entry in entries
                ]
            # It prints what it does.
            with contextlib.redirect_stdout(io.StringIO()):
                evaluation = COCOeval(metric._coco_api, metric._coco_api.loadRes(entries), kind)
                params = evaluation.params
                params.catIds, params.imgIds, params.iouThrs = (
                    metric.cat_ids,
                    metric.img_ids,
                    metric.iou_thrs,
                )
                params.maxDets = metric.proposal_nums[:1]
                params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
                evaluation.evaluate()
                evaluation.accumulate()
            found.append(
                Precision(
                    label, evaluation.eval["precision"][..., 0, 0], params.iouThrs, params.recThrs
                )
            )
    return found


def labelled_objects(coco: Any, image: int, categories: list[int]) -> tuple[Labelled, list[dict]]:
    """Objects of an image and their annotations, of the categories that the classes stand for, in their order."""
    index = {category: label for label, category in enumerate(categories)}
    annotations = [
        a for a in coco.load_anns(coco.get_ann_ids(img_ids=[image])) if a["category_id"] in index
    ]
    return Labelled(
        np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4),
        np.array([index[a["category_id"]] for a in annotations], dtype=int),
        np.array([bool(a.get("iscrowd")) for a in annotations], dtype=bool),
    ), annotations


def detection_confusion(
    metric: Any, results: list[tuple[dict, dict]], score_thr: float = SCORE
) -> np.ndarray:
    """(C + 1, C + 1) counts, as :func:`count_pairs` describes them."""
    matrix = np.zeros((len(metric.cat_ids) + 1,) * 2, dtype=np.int64)
    for _, prediction in results:
        labelled, _ = labelled_objects(metric._coco_api, prediction["img_id"], metric.cat_ids)
        boxes = prediction["bboxes"].astype(np.float64).reshape(-1, 4).copy()
        boxes[:, 2:] -= boxes[:, :2]
        count_pairs(
            matrix, labelled, Found(boxes, prediction["labels"], prediction["scores"]), score_thr
        )
    return matrix
