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

    Of label maps, `names` is a list of names without suffix where the split is not a folder of its own.
    """

    images: Path
    annotations: Path
    names: Path | None = None


def split_of(path: Path) -> str | None:
    """train, val or test, as the name of a file or else of the folders above it says; None if they say nothing."""
    for part in (path.stem, *reversed(path.parent.parts)):
        words = re.split(r"[^a-z]+", part.lower())
        for split, names in SPLIT_NAMES.items():
            if any(word in names for word in words):
                return split
    return None


def walk(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """A folder and those below it, in order; hidden ones are left out."""
    yield root
    if depth:
        for folder in sorted(
            p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")
        ):
            yield from walk(folder, depth - 1)


def split_names(names: Iterable[str], share: float) -> tuple[list[str], list[str]]:
    """Names for training and for validation, `share` of them: chosen by a hash, so the same on every machine."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    held_out = set(ordered[: max(round(share * len(ordered)), 1)])
    return sorted(set(ordered) - held_out), sorted(held_out)
