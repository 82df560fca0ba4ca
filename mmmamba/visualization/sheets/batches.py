"""Batches of a run as the network gets them, with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...structures.classes import Classes
from ..regions import with_ignored
from .cells import (
    Cell,
    class_cell,
    heat_cell,
    input_image,
    label_map,
    objects_cell,
    plain_cell,
    regions_cell,
)
from .sheet import save_sheet

MOST = 16
MIXED = 0.005
"""Least share of a class in a mixed image that is named."""


@dataclass(frozen=True)
class Preprocessed:
    """What a data preprocessor did to the values of images."""

    mean: Tensor | None = None
    """By channel, as `std`; None where it does not normalise."""
    std: Tensor | None = None
    red_first: bool = False

    def undone(self, image: Tensor) -> np.ndarray:
        """The image (C, H, W) as (H, W, 3; blue, green, red) in eight bits."""
        image = image.detach().float().cpu()
        if self.mean is not None and self.std is not None:
            image = image * self.std.cpu() + self.mean.cpu()
            image = image.round().clamp(0, 255).byte()
        if self.red_first and len(image) >= 3:
            image = image[[2, 1, 0, *range(3, len(image))]]
        return input_image(image)


def draw_batch(batch: Any, classes: Classes, path: Path, done: Preprocessed) -> bool:
    """Write up to 16 images of a batch. False where it is made as by none of the libraries.

    Args:
        done: to the images of the batch, which is taken back.

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
            cells.append(_cell(done.undone(image), sample, classes))
    if cells:
        save_sheet(path, cells, with_ignored(classes))
    return bool(cells)


def _cell(image: np.ndarray, sample: Any, classes: Classes) -> Cell:
    height, width = image.shape[:2]
    title = f"{Path(sample.get('img_path') or '').name}  {width}x{height}"
    if "gt_label" in sample:
        return _class_cell(title, image, sample, classes)
    if "gt_sem_seg" in sample:
        return regions_cell(title, image, label_map(sample.gt_sem_seg), classes)
    if "gt_saliency" in sample:
        return heat_cell(title, image, label_map(sample.gt_saliency))
    if "gt_instances" in sample and "bboxes" in sample.gt_instances:
        # Masks may be as large as the image was before it was padded.
        masks = sample.gt_instances.get("masks")
        if getattr(masks, "height", None) and getattr(masks, "width", None):
            image = np.ascontiguousarray(image[: masks.height, : masks.width])
        return objects_cell(title, image, sample.gt_instances, classes)
    return plain_cell(title, image)


def _class_cell(title: str, image: np.ndarray, sample: Any, classes: Classes) -> Cell:
    """The image with its class; with several and their shares where images were mixed."""
    label, named = int(sample.gt_label), ""
    if "gt_score" in sample:
        shares = sample.gt_score.tolist()
        order = sorted(range(len(shares)), key=lambda one: -shares[one])
        mixed = [one for one in order if shares[one] >= MIXED]
        label = mixed[0]
        if len(mixed) > 1:
            named = " + ".join(f"{shares[one]:.2f} {classes.names[one]}" for one in mixed)
    return class_cell(f"{named or classes.names[label]} · {title}", image, label, classes)
