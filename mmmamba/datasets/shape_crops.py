"""The shapes of the drawn data set, each cut out, in folders of their classes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from .drawn_folder import drawn_folder, read_spec
from .shapes import CATEGORY_IDS, CLASSES, ShapesSpec, make_shapes

MARGIN = 0.25
"""What is left around a shape, in shares of its longer side."""
SPLITS = ("train", "val")


def make_crops(root: str | Path, spec: ShapesSpec | None = None) -> Path:
    """Write `ROOT_crops/{train,val}/CLASS` of the data set below `root`, unless it is there.

    Raises:
        FileExistsError: either holds files that were not drawn.
    """
    shapes = make_shapes(root, spec)
    place = shapes.with_name(f"{shapes.name}_crops")

    def cut(folder: Path) -> None:
        for split in SPLITS:
            _cut(shapes, split, folder / split)

    return drawn_folder(place, read_spec(shapes) or {}, cut)


def _cut(shapes: Path, split: str, out: Path) -> None:
    content = json.loads((shapes / f"annotations/instances_{split}.json").read_text())
    images = {image["id"]: image["file_name"] for image in content["images"]}
    for name in CLASSES:
        (out / name).mkdir(parents=True)
    for annotation in content["annotations"]:
        # A crowd is of several.
        if annotation["iscrowd"]:
            continue
        image = cv2.imread(str(shapes / split / images[annotation["image_id"]]))
        x, y, width, height = annotation["bbox"]
        margin = MARGIN * max(width, height)
        top, bottom = max(int(y - margin), 0), int(y + height + margin)
        left, right = max(int(x - margin), 0), int(x + width + margin)
        name = CLASSES[CATEGORY_IDS.index(annotation["category_id"])]
        cv2.imwrite(str(out / name / f"{annotation['id']}.png"), image[top:bottom, left:right])
