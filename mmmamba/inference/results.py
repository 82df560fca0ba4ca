"""What a prediction is: objects, or a class for each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..structures.classes import Classes
from ..structures.objects import Objects
from ..visualization.predictions import draw_detections, draw_segmentation
from ..visualization.style import save_image


class _Result:
    """What both kinds of result do."""

    image: np.ndarray

    def draw(self) -> np.ndarray:
        """The image with the prediction on it: (H, W, 3), blue, green, red."""
        raise NotImplementedError

    def save(self, path: str | Path) -> Path:
        """Write the drawn image; the ending of the name chooses the format.

        Raises:
            OSError: it could not be written.
        """
        return save_image(path, self.draw())


@dataclass
class Detections(_Result):
    """The objects found in an image (H, W, 3; blue, green, red)."""

    image: np.ndarray
    objects: Objects
    classes: Classes

    def __len__(self) -> int:
        return len(self.objects)

    def draw(self) -> np.ndarray:
        return draw_detections(self.image, self.objects, self.classes)

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """In COCO's format of results: `bbox` as x, y, width, height."""
        entries = []
        for index in range(len(self)):
            x1, y1, x2, y2 = (float(side) for side in self.objects.boxes[index])
            entry = dict(
                image_id=image_id,
                category_id=self.classes.ids[self.objects.labels[index]],
                bbox=[round(side, 2) for side in (x1, y1, x2 - x1, y2 - y1)],
                score=round(float(self.objects.scores[index]), 5),
            )
            if self.objects.masks is not None:
                rle = self.objects.masks[index]
                entry["segmentation"] = dict(
                    size=list(rle["size"]), counts=rle["counts"].decode("ascii")
                )
            entries.append(entry)
        return entries


@dataclass
class Segmentation(_Result):
    """The class of each pixel of an image (H, W, 3; blue, green, red): `labels` is (H, W)."""

    image: np.ndarray
    labels: np.ndarray
    classes: Classes

    def draw(self) -> np.ndarray:
        return draw_segmentation(self.image, self.labels, self.shares(), self.classes)

    def shares(self) -> dict[str, float]:
        """The share of the pixels that each class covers, the largest first.

        Classes that do not occur are left out.
        """
        # One pass over the pixels, whatever the number of classes.
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes.names))
        shares = {}
        for index in np.argsort(-counts, kind="stable"):
            if counts[index]:
                shares[self.classes.names[index]] = float(counts[index] / self.labels.size)
        return shares

    def save_labels(self, path: str | Path) -> Path:
        """Write the indices of classes as a PNG of 8 bits, of 16 where there are more than 256.

        Raises:
            OSError: it could not be written.
        """
        depth = np.uint8 if len(self.classes.names) <= 256 else np.uint16
        return save_image(path, self.labels.astype(depth))
