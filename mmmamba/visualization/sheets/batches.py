"""The first batches of a run, as its pipeline made them, with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...structures.classes import Classes
from ..regions import with_ignored
from .cells import Cell, input_image, label_map, objects_cell, plain_cell, regions_cell
from .sheet import save_sheet

MOST = 16


def draw_batch(batch: Any, classes: Classes, path: Path) -> bool:
    """Write up to 16 images of a batch. False where it is not made as mmdet's and mmseg's are.

    Raises:
        OSError: the file cannot be written.
    """
    if not isinstance(batch, Mapping):
        return False
    inputs, samples = batch.get("inputs"), batch.get("data_samples")
    # mmdet's loaders give lists of images of any size, a default collate one tensor.
    if not isinstance(inputs, (list, tuple, Tensor)) or not isinstance(samples, (list, tuple)):
        return False
    cells = []
    for image, sample in zip(inputs, samples):
        if isinstance(image, Tensor) and image.ndim == 3 and len(cells) < MOST:
            cells.append(_cell(image, sample, classes))
    if cells:
        save_sheet(path, cells, with_ignored(classes))
    return bool(cells)


def _cell(tensor: Tensor, sample: Any, classes: Classes) -> Cell:
    image = input_image(tensor)
    height, width = image.shape[:2]
    title = f"{Path(sample.get('img_path') or '').name}  {width}x{height}"
    if "gt_sem_seg" in sample:
        return regions_cell(title, image, label_map(sample.gt_sem_seg), classes)
    if "gt_instances" in sample and "bboxes" in sample.gt_instances:
        return objects_cell(title, image, sample.gt_instances, classes)
    return plain_cell(title, image)
