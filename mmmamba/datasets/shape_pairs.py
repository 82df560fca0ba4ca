"""A small data set of pairs of images, drawn on the spot, of which neither image is enough.

Shapes are red or blue in the colour image and warm or cold in the thermal one, and their class is
both: what is of one class in the colours is of two in the thermal image, and the other way round.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from .drawn_folder import drawn_folder
from .shapes import CLASSES as SHAPES
from .shapes import Instance, ShapesSpec, draw_background, paint, place_shape

CLASSES = ("background", "warm red", "cold red", "warm blue", "cold blue")
PALETTE = [(0, 0, 0), (240, 90, 40), (150, 20, 60), (250, 190, 40), (60, 90, 220)]
COLOURS = (0, 2)
"""Red and blue, as numbers of the hues that shapes are painted in."""
HEATS = (200.0, 45.0)
"""Grey values of what is warm and cold; what lies around is between."""
FOLDERS = dict(img_path="rgb", second_path="thermal", seg_map_path="labels")
"""Below each, `train` and `val`; by the keys of a data set's `data_prefix`."""
# Another drawing under the same specification is another data set.
VERSION = 1


def make_pairs(root: str | Path, spec: ShapesSpec | None = None, heat_seed: int = 0) -> Path:
    """Write the data set below `root` unless it is already there, and return `root`.

    Layout: `rgb/`, `thermal/` (one channel of 8 bits) and `labels/`, whose values index `CLASSES`,
    each with `train/` and `val/`, and `classes.txt`.

    Args:
        heat_seed: which shapes are warm. The files of `rgb` hang on the seed of `spec` alone, so
            that data sets with different ones have the same colours and other labels.

    Raises:
        FileExistsError: `root` holds files that this function did not write.
    """
    spec = spec or ShapesSpec()

    def draw(folder: Path) -> None:
        for split, count in (("train", spec.num_train), ("val", spec.num_val)):
            _write_split(folder, split, count, spec, heat_seed)
        (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")

    wanted = dict(asdict(spec), pairs=VERSION, heat_seed=heat_seed)
    return drawn_folder(Path(root), wanted, draw)


def _write_split(root: Path, split: str, count: int, spec: ShapesSpec, heat_seed: int) -> None:
    number = {"train": 0, "val": 1}[split]
    rng = np.random.default_rng([spec.seed, number])
    # A stream of its own: nothing of the colour images may tell what is warm.
    heat_rng = np.random.default_rng([spec.seed, number, heat_seed])
    for folder in FOLDERS.values():
        (root / folder / split).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image_HWC, instances = _draw_colours(rng, spec)
        thermal_HW, labels_HW = _draw_heat(heat_rng, instances, spec.size)
        name = f"{split}/{index:05d}.png"
        for folder, picture in zip(FOLDERS.values(), (image_HWC, thermal_HW, labels_HW)):
            cv2.imwrite(str(root / folder / name), picture)


def _draw_colours(rng: np.random.Generator, spec: ShapesSpec) -> tuple[np.ndarray, list[Instance]]:
    """A colour image (H, W, 3; BGR) and its shapes, whose labels are places in `COLOURS`."""
    image_HWC = draw_background(rng, spec.size)
    drawn: list[Instance] = []
    for _ in range(int(rng.integers(1, spec.max_shapes + 1))):
        colour = int(rng.integers(len(COLOURS)))
        # Of any form, which says nothing of the class.
        instance = place_shape(rng, spec.size, int(rng.integers(len(SHAPES))), drawn)
        if instance is not None:
            instance.label = colour
            paint(rng, image_HWC, instance.mask_HW, COLOURS[colour])
            drawn.append(instance)
    return image_HWC, drawn


def _draw_heat(
    rng: np.random.Generator, instances: list[Instance], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The thermal image (H, W) of shapes, and the map of their classes."""
    coarse = rng.uniform(100, 140, size=(5, 5)).astype(np.float32)
    thermal_HW = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    labels_HW = np.zeros((size, size), np.uint8)
    for instance in instances:
        heat = int(rng.integers(len(HEATS)))
        thermal_HW[instance.mask_HW] = HEATS[heat] + rng.normal(0, 10)
        # In the order of `CLASSES`, behind the background.
        labels_HW[instance.mask_HW] = 1 + len(HEATS) * instance.label + heat
    thermal_HW += rng.normal(0, 6, size=thermal_HW.shape)
    return thermal_HW.clip(0, 255).astype(np.uint8), labels_HW
