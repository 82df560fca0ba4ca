"""What a prediction is: objects, a class for each pixel, or a class for the image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from ..errors import UsageError
from ..printable import printable_names
from ..structures.classes import Classes
from ..structures.objects import Objects
from ..suggest import did_you_mean
from ..visualization.predictions import draw_classification, draw_detections, draw_segmentation
from ..visualization.style import save_image

if TYPE_CHECKING:
    import pandas

SHOWN = 5
"""Classes that a line about a result names."""


class Result:
    """What all kinds of result do."""

    image: np.ndarray
    path: str | None

    def plot(self) -> np.ndarray:
        """The image with the prediction on it: (H, W, 3), blue, green, red."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, Any]]:
        """The prediction as a table, a dict of plain numbers and names a row."""
        raise NotImplementedError

    def save(self, path: str | Path) -> Path:
        """Write the drawn image; the ending of the name chooses the format.

        Raises:
            OSError: it could not be written.
        """
        return save_image(path, self.plot())

    def to_pandas(self) -> pandas.DataFrame:
        """`rows()` as a data frame.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise UsageError(
                "to_pandas() needs pandas, which is not installed: pip install pandas. rows() "
                "gives the same table as a list of dicts"
            ) from error
        return pandas.DataFrame(self.rows(), columns=self._columns())

    def _columns(self) -> list[str]:
        raise NotImplementedError

    def _repr_png_(self) -> bytes:
        """The picture that a notebook shows where a result ends a cell."""
        return cv2.imencode(".png", self.plot())[1].tobytes()

    def _line(self, found: list[str]) -> str:
        """The class, the image and what was found, on one line."""
        more = f" and {len(found) - SHOWN} more classes" if len(found) > SHOWN else ""
        said = ", ".join(found[:SHOWN]) + more or "nothing found"
        height, width = self.image.shape[:2]
        return f"<{type(self).__name__} in {self.path or 'an array'}, {width} x {height}: {said}>"


@dataclass(repr=False)
class Detections(Result):
    """The objects found in an image (H, W, 3; blue, green, red), the surest first.

    `for name, score, box in zip(found.names, found.scores, found.boxes): ...`

    Attributes:
        objects: what was found, with masks as pycocotools holds them (RLE).
        classes: all classes that the model tells apart, with their colours and COCO ids.
        path: where the image came from, None for an array.
    """

    image: np.ndarray
    objects: Objects
    classes: Classes
    path: str | None = None

    def __len__(self) -> int:
        return len(self.objects)

    def __repr__(self) -> str:
        counts = Counter(self.names).most_common()
        return self._line([f"{count} {name}" for name, count in counts])

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) as x1, y1, x2, y2 in pixels."""
        return self.objects.boxes

    @property
    def scores(self) -> np.ndarray:
        """(N,), from 0 to 1."""
        return self.objects.scores

    @property
    def labels(self) -> np.ndarray:
        """(N,) indices of classes."""
        return self.objects.labels

    @property
    def names(self) -> list[str]:
        """The class of each object by name."""
        return [self.classes.names[label] for label in self.labels]

    @property
    def masks(self) -> np.ndarray | None:
        """(N, H, W) of bool, or None where the model finds boxes only.

        They are unpacked with each call; `objects.masks` has them as run lengths.
        """
        packed = self.objects.masks
        if packed is None:
            return None
        # Without objects pycocotools would not know the size.
        if not packed:
            return np.zeros((0, *self.image.shape[:2]), dtype=bool)
        return coco_mask.decode(packed).transpose(2, 0, 1).astype(bool)

    def plot(self) -> np.ndarray:
        return draw_detections(self.image, self.objects, self.classes)

    def rows(self) -> list[dict[str, Any]]:
        """A dict an object: `name`, `score`, `x1`, `y1`, `x2`, `y2`, `label`."""
        table = []
        for name, score, box, label in zip(self.names, self.scores, self.boxes, self.labels):
            values = (name, float(score), *map(float, box), int(label))
            table.append(dict(zip(self._columns(), values)))
        return table

    def _columns(self) -> list[str]:
        return ["name", "score", "x1", "y1", "x2", "y2", "label"]

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """In COCO's format of results: `bbox` as x, y, width, height.

        Beside COCO's keys each has `category_name`.
        """
        entries = []
        for index, name in enumerate(self.names):
            x1, y1, x2, y2 = (float(side) for side in self.boxes[index])
            entry = dict(
                image_id=image_id,
                category_id=self.classes.ids[self.labels[index]],
                category_name=name,
                bbox=[round(side, 2) for side in (x1, y1, x2 - x1, y2 - y1)],
                score=round(float(self.scores[index]), 5),
            )
            if self.objects.masks is not None:
                entry["segmentation"] = _plain(self.objects.masks[index])
            entries.append(entry)
        return entries


@dataclass(repr=False)
class Segmentation(Result):
    """The class of each pixel of an image (H, W, 3; blue, green, red).

    Attributes:
        labels: (H, W) indices of classes.
        classes: all classes that the model tells apart, with their colours and COCO ids.
        path: where the image came from, None for an array.
        second: of a pair, the second image as a picture (H, W, 3), drawn beside the first.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: Classes
    path: str | None = None
    second: np.ndarray | None = None

    def __len__(self) -> int:
        """How many classes occur."""
        return len(self.shares())

    def __repr__(self) -> str:
        return self._line([f"{name} {share:.1%}" for name, share in self.shares().items()])

    @property
    def names(self) -> list[str]:
        """The classes that occur, the largest first."""
        return list(self.shares())

    def mask(self, name: str) -> np.ndarray:
        """(H, W) of bool: where a class is.

        Raises:
            UsageError: the model knows no such class.
        """
        if name not in self.classes.names:
            known = printable_names(self.classes.names, 5)
            raise UsageError(
                f"there is no class {name!r}; the model knows {known}."
                f"{did_you_mean(name, self.classes.names)}"
            )
        return self.labels == self.classes.names.index(name)

    def plot(self) -> np.ndarray:
        return draw_segmentation(self.image, self.labels, self.shares(), self.classes, self.second)

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

    def rows(self) -> list[dict[str, Any]]:
        """A dict a class that occurs: `name`, `share`, `pixels`, `label`."""
        table = []
        for name, share in self.shares().items():
            values = (name, share, round(share * self.labels.size), self.classes.names.index(name))
            table.append(dict(zip(self._columns(), values)))
        return table

    def _columns(self) -> list[str]:
        return ["name", "share", "pixels", "label"]

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """In the format of COCO-Stuff's results: a region for each class that occurs.

        Beside COCO's keys each has `category_name`.
        """
        entries = []
        for name in self.names:
            index = self.classes.names.index(name)
            region = coco_mask.encode(np.asfortranarray(self.labels == index, dtype=np.uint8))
            entries.append(
                dict(
                    image_id=image_id,
                    category_id=self.classes.ids[index],
                    category_name=name,
                    segmentation=_plain(region),
                )
            )
        return entries

    def save_labels(self, path: str | Path) -> Path:
        """Write the indices of classes as a PNG of 8 bits, of 16 where there are more than 256.

        Raises:
            OSError: it could not be written.
        """
        depth = np.uint8 if len(self.classes.names) <= 256 else np.uint16
        return save_image(path, self.labels.astype(depth))


@dataclass(repr=False)
class Classification(Result):
    """The classes that an image (H, W, 3; blue, green, red) may be of, the surest first.

    `print(found.names[0], found.scores[0])`

    Attributes:
        all_scores: (C,) from 0 to 1, by class index.
        classes: all classes that the model tells apart, with their colours.
        top_k: how many of them are named.
        path: where the image came from, None for an array.
    """

    image: np.ndarray
    all_scores: np.ndarray
    classes: Classes
    top_k: int = 5
    path: str | None = None

    def __len__(self) -> int:
        """How many classes are named."""
        return len(self.labels)

    def __repr__(self) -> str:
        return self._line([f"{name} {score:.2f}" for name, score in zip(self.names, self.scores)])

    @property
    def labels(self) -> np.ndarray:
        """(K,) indices of classes."""
        return np.argsort(-self.all_scores, kind="stable")[: self.top_k]

    @property
    def names(self) -> list[str]:
        """The classes by name."""
        return [self.classes.names[label] for label in self.labels]

    @property
    def scores(self) -> np.ndarray:
        """(K,), from 0 to 1."""
        return self.all_scores[self.labels]

    def plot(self) -> np.ndarray:
        return draw_classification(self.image, self.labels, self.scores, self.classes)

    def rows(self) -> list[dict[str, Any]]:
        """A dict a class that is named: `name`, `score`, `label`."""
        table = []
        for name, score, label in zip(self.names, self.scores, self.labels):
            table.append(dict(zip(self._columns(), (name, float(score), int(label)))))
        return table

    def _columns(self) -> list[str]:
        return ["name", "score", "label"]


def _plain(rle: dict[str, Any]) -> dict[str, Any]:
    """Run lengths as JSON takes them."""
    return dict(size=list(rle["size"]), counts=rle["counts"].decode("ascii"))
