"""Some images of a validation, the same each time: what is labelled beside what is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.structures import InstanceData

from ...evaluation.coco_results import labelled_objects
from ...structures.classes import Classes
from ...structures.tiles import Tile
from ..legend import Entry
from ..objects import Line
from ..regions import with_ignored
from ..style import FAULTY
from .cells import (
    Cell,
    class_cell,
    heat_cell,
    label_map,
    objects_cell,
    plain_cell,
    regions_cell,
)
from .sheet import save_sheet

PAIRS_A_ROW = 2
WRONG_NOTE = Entry("another class than the label", FAULTY, Line.DASHED)


class ValidationSheet:
    """Takes images spread over a validation while it runs.

    Args:
        number: images to take.
        total: images that this process sees.
        metric: mmdet's `CocoMetric`, which knows the labels; None for segmentors, whose samples
            hold them.
    """

    def __init__(
        self, number: int, total: int, classes: Classes, score_thr: float, metric: Any = None
    ) -> None:
        # By position, not by chance: each validation shows the same images.
        self.chosen = {index * total // number for index in range(number)}
        self.classes, self.score_thr, self.metric = classes, score_thr, metric
        self.seen, self.wrong = 0, 0
        self.cells: list[Cell] = []

    def add(self, samples: Sequence[Any]) -> None:
        """Draw those of a batch's results that are wanted.

        Raises:
            OSError: an image cannot be read again.
        """
        for sample in samples:
            if self.seen in self.chosen and sample.get("img_path") is not None:
                self.cells += self._pair(sample)
            # Counted also where nothing is drawn, so that the chosen images stay the same.
            self.seen += 1

    def save(self, path: Path) -> bool:
        """Write the sheet; False where nothing could be drawn.

        Raises:
            OSError: the file cannot be written.
        """
        if self.cells:
            notes = [WRONG_NOTE] if self.wrong else []
            classes = with_ignored(self.classes)
            save_sheet(path, self.cells, classes, 2 * PAIRS_A_ROW, notes=notes)
        return bool(self.cells)

    def _pair(self, sample: Any) -> list[Cell]:
        """The labelled and the predicted image; nothing for results of another kind.

        Where an image has one class, both stand on one image.
        """
        if "pred_label" in sample:
            return [self._class(sample)]
        if "pred_sem_seg" in sample:
            return self._regions(sample)
        if "pred_saliency" in sample:
            return _heat(sample)
        return self._objects(sample) if "pred_instances" in sample else []

    def _class(self, sample: Any) -> Cell:
        image, name = mmcv.imread(sample.img_path), Path(sample.img_path).name
        label = int(sample.pred_label)
        found = f"{self.classes.names[label]} {float(sample.pred_score[label]):.2f}"
        truth = int(sample.gt_label) if "gt_label" in sample else label
        wrong = truth != label
        if wrong:
            self.wrong += 1
            found += f", labelled {self.classes.names[truth]}"
        return class_cell(f"{found} · {name}", image, label, self.classes, wrong)

    def _regions(self, sample: Any) -> list[Cell]:
        image, name = mmcv.imread(sample.img_path), Path(sample.img_path).name
        truth = plain_cell(f"{name}  labelled", image)
        if "gt_sem_seg" in sample:
            labels = label_map(sample.gt_sem_seg)
            truth = regions_cell(f"{name}  labelled", image, labels, self.classes)
        labels = label_map(sample.pred_sem_seg)
        return [truth, regions_cell(f"{name}  predicted", image, labels, self.classes)]

    def _objects(self, sample: Any) -> list[Cell]:
        image, name = mmcv.imread(sample.img_path), Path(sample.img_path).name
        tile: Tile | None = sample.get("tile")
        if tile is not None:
            image, name = tile.of(image), f"{name} at {tile.x}, {tile.y}"
        truth = plain_cell(f"{name}  image", image)
        if self.metric is not None:
            labels = self._truth(sample.img_id)
            labels = labels if tile is None else _within(labels, tile)
            truth = objects_cell(f"{name}  labelled", image, labels, self.classes)
        found = sample.pred_instances
        found = found[found.scores >= self.score_thr]
        nothing = "" if len(found) else f": no score from {self.score_thr:g}"
        return [truth, objects_cell(f"{name}  predicted{nothing}", image, found, self.classes)]

    def _truth(self, image_id: int) -> InstanceData:
        """Labels in pixels of the image file; those in the sample may be scaled with the image."""
        coco = self.metric._coco_api
        categories = coco.get_cat_ids(cat_names=self.classes.names)
        labelled, annotations = labelled_objects(coco, image_id, categories)
        boxes = labelled.boxes.copy()
        # COCO's boxes have sizes, mmdet's a second corner.
        boxes[:, 2:] += boxes[:, :2]
        truth = InstanceData(
            bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(labelled.labels)
        )
        if "segm" in self.metric.metrics and annotations:
            masks = np.stack([coco.annToMask(annotation) for annotation in annotations])
            truth.masks = torch.from_numpy(masks)
        return truth


def _heat(sample: Any) -> list[Cell]:
    """Both maps, each in its own range: the spread is compared, not the height."""
    image, name = mmcv.imread(sample.img_path), Path(sample.img_path).name
    cells = []
    for what, field in (("labelled", "gt_saliency"), ("predicted", "pred_saliency")):
        title = f"{name}  {what}"
        found = sample.get(field)
        cell = (
            plain_cell(title, image) if found is None else heat_cell(title, image, label_map(found))
        )
        cells.append(cell)
    return cells


def _within(truth: InstanceData, tile: Tile) -> InstanceData:
    """What of an image's labels lies in a tile, in its pixels."""
    shift = truth.bboxes.new_tensor([tile.x, tile.y] * 2)
    limits = truth.bboxes.new_tensor([tile.width, tile.height] * 2)
    boxes_N4 = (truth.bboxes - shift).clamp(min=0).minimum(limits)
    seen_N = (boxes_N4[:, 2:] > boxes_N4[:, :2]).all(1)
    found = InstanceData(bboxes=boxes_N4, labels=truth.labels)
    if "masks" in truth:
        x1, y1, x2, y2 = tile.box
        found.masks = truth.masks[:, y1:y2, x1:x2]
    return found[seen_N]
