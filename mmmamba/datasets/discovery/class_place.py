"""Checks of folders of classes that no config names yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..checks.class_images import check_labelled, check_shared, check_unread
from ..checks.class_labels import Labelled, enter_classes
from ..checks.report import Report
from ..layout import IMAGE_SUFFIXES
from .class_folders import class_folders, split_folders
from .place import WHOLE


@dataclass
class CheckedClasses:
    """One split of a folder: what was found, and its images with their labels."""

    report: Report
    labelled: Labelled
    classes: tuple[str, ...]


def check_class_place(place: Path, splits: list[str], decode: bool = True) -> list[CheckedClasses]:
    """Check the folders of classes below a folder, split by split.

    Args:
        splits: of train, val and test; images of no split are checked whatever it holds.
        decode: read images whole; otherwise their headers only.

    Raises:
        UsageError: there are none.
    """
    parts, roots = class_folders(place), split_folders(place)
    # Of all splits, so that one that lacks a class tells.
    names: set[str] = set()
    for folders in parts.values():
        names |= set(folders)
    classes = tuple(sorted(names))
    found: list[CheckedClasses] = []
    for split, folders in parts.items():
        if split is not None and split not in splits:
            continue
        root = roots[split] if split else place
        report = Report(split or WHOLE, str(root), unit="images")
        labelled = []
        for label, name in enumerate(classes):
            labelled += [(str(path), label) for path in folders.get(name, ())]
        report.images = len(labelled)
        enter_classes(report, classes, [label for _, label in labelled])
        check_unread(root, IMAGE_SUFFIXES, report)
        check_labelled(labelled, report, decode)
        if found and found[0].report.name == "train":
            trained = [Path(path) for path, _ in found[0].labelled]
            check_shared(trained, [Path(path) for path, _ in labelled], report)
        found.append(CheckedClasses(report, labelled, classes))
    return found
