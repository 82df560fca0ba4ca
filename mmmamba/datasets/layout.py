"""Names by which the parts of a data set are told apart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
LABEL_FOLDERS = (
    "labels",
    "ann_dir",
    "annotations",
    "masks",
    "label",
    "Label",
    "mask",
    "SegmentationClass",
    "gt",
)
"""Where label maps lie, which may have the names of the images."""
DEPTH = 3
"""Folders below the root in which files are looked for."""


@dataclass(frozen=True)
class Part:
    """One split: the folder of its images, and its annotation file or folder of label maps.

    With label maps, `names` is a list of names without suffix where the split is not a folder of
    its own.
    """

    images: Path
    annotations: Path
    names: Path | None = None


def is_image(path: Path) -> bool:
    """By its name; hidden ones are what macOS leaves beside files."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and in those below it, in order."""
    return sorted(path for path in folder.rglob("*") if is_image(path))


def split_of(path: Path) -> str | None:
    """train, val or test, by the name of a file or of the folders above it; None if none says."""
    # The nearest name wins: `train/val.json` is a validation file.
    for part in (path.stem, *reversed(path.parent.parts)):
        # Digits part words as well: `train2017` says train.
        words = re.split(r"[^a-z]+", part.lower())
        for split, names in SPLIT_NAMES.items():
            if any(word in names for word in words):
                return split
    return None


def walk(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """A folder and those below it, in order; hidden ones are left out."""
    yield root
    if depth:
        for path in sorted(root.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                yield from walk(path, depth - 1)


def split_names(names: Iterable[str], share: float) -> tuple[list[str], list[str]]:
    """Names for training and for validation, `share` of them.

    They are chosen by a hash, so that they are the same on every machine.
    """
    # A name's place depends on itself alone: new images move few of the old between the parts.
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    # At least one, however small the share; who calls refuses an empty training part.
    held_out = set(ordered[: max(round(share * len(ordered)), 1)])
    return sorted(set(ordered) - held_out), sorted(held_out)
