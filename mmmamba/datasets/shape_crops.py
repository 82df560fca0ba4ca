"""The shapes of the drawn data set, each cut out, in folders of their classes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import cv2

from .shapes import CATEGORY_IDS, CLASSES, SPEC_FILE, ShapesSpec, make_shapes, read_spec

MARGIN = 0.25
"""What is left around a shape, in shares of its longer side."""
SPLITS = ("train", "val")


def make_crops(root: str | Path, spec: ShapesSpec | None = None) -> Path:
    """Write `ROOT_crops/{train,val}/CLASS` of the data set below `root`, unless it is there.

    Raises:
        FileExistsError: `root` holds files that are none of the data set's.
    """
    shapes = make_shapes(root, spec)
    place = shapes.with_name(f"{shapes.name}_crops")
    if place.is_dir() and read_spec(place) == read_spec(shapes):
        return place
    # Moved to its place whole, as the shapes themselves are.
    draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        for split in SPLITS:
            _cut(shapes, split, draft / split)
        shutil.copy(shapes / SPEC_FILE, draft / SPEC_FILE)
        if place.is_dir() and read_spec(place) != read_spec(shapes):
            shutil.rmtree(place)
        try:
            os.replace(draft, place)
        except OSError:
            # Another process was first.
            if read_spec(place) != read_spec(shapes):
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


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
