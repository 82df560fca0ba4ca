"""Saliency of the drawn shapes: somebody who looks at circles, and a little at the middle."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

from ..drawn_folder import drawn_folder, read_spec
from ..shapes import SEG_CLASSES, ShapesSpec, make_shapes

LOOKED_AT = SEG_CLASSES.index("circle")
MIDDLE = 0.15
"""How salient the middle is where the most salient pixel is 1: images without circles have it."""
BLUR = 1 / 24
"""Deviation of the blur, as a share of the image's side."""
FIXATIONS = 20
"""An image."""


def make_saliency(root: str | Path, spec: ShapesSpec | None = None) -> Path:
    """Write `ROOT_saliency/{images,maps,fixations}/{train,val}` of the shapes below `root`.

    Raises:
        FileExistsError: either holds files that were not drawn.
    """
    shapes = make_shapes(root, spec)

    def look(folder: Path) -> None:
        for split in ("train", "val"):
            _write(shapes, split, folder)

    return drawn_folder(shapes.with_name(f"{shapes.name}_saliency"), read_spec(shapes) or {}, look)


def _write(shapes: Path, split: str, draft: Path) -> None:
    folders = {name: draft / name / split for name in ("images", "maps", "fixations")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    # Another for each split, so that more images of one leave the other as it is.
    rng = np.random.default_rng([7, split == "train"])
    for image in sorted((shapes / split).glob("*.png")):
        shutil.copy(image, folders["images"] / image.name)
        labels_HW = cv2.imread(str(shapes / "labels" / split / image.name), cv2.IMREAD_UNCHANGED)
        map_HW = _looked_at(labels_HW == LOOKED_AT)
        cv2.imwrite(str(folders["maps"] / image.name), map_HW)
        cv2.imwrite(str(folders["fixations"] / image.name), _fixations(map_HW, rng))


def _looked_at(circles_HW: np.ndarray) -> np.ndarray:
    """A map (H, W) of 8 bits."""
    side = circles_HW.shape[0]
    places = (np.arange(side) + 0.5) / side - 0.5
    middle_HW = MIDDLE * np.exp(-8 * (places[:, None] ** 2 + places**2))
    blurred_HW = cv2.GaussianBlur(circles_HW.astype(np.float64), (0, 0), BLUR * side)
    map_HW = np.maximum(blurred_HW / max(blurred_HW.max(), 1e-6), middle_HW)
    return np.round(255 * map_HW).astype(np.uint8)


def _fixations(map_HW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels drawn as often as they are salient: 255 there, 0 elsewhere."""
    shares = map_HW.ravel() / map_HW.sum(dtype=np.float64)
    drawn = rng.choice(shares.size, FIXATIONS, p=shares)
    fixations_HW = np.zeros_like(map_HW)
    fixations_HW.flat[drawn] = 255
    return fixations_HW
