"""Checks of data that no config names yet: a folder, or the `data.yaml` of YOLO labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ..checks.coco import check_coco
from ..checks.converted import add_converted
from ..checks.report import Report
from ..formats import convert, find_source
from ..formats.source import Split
from .coco import files_by_split, image_folder, read_file
from .objects import data_folder, is_coco

WHOLE = "all"
"""What a split is called that no name calls train, val or test."""


@dataclass
class CheckedPlace:
    """One split of a folder: what was found, and the content of a COCO file it was found in."""

    report: Report
    content: dict
    images: Path

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(category["name"] for category in self.content["categories"])

    def paths(self) -> list[Path]:
        """Those of the images."""
        names = [image.get("file_name") for image in self.content["images"]]
        return [self.images / name for name in names if isinstance(name, str)]


def check_place(
    place: Path, splits: list[str], decode: bool = True
) -> tuple[list[CheckedPlace], list[str]]:
    """Check labelled objects in COCO files, or in label files as if they were made into such.

    Args:
        splits: of train, val and test; images of no split are checked whatever it holds.
        decode: read images whole; otherwise their headers only.

    Returns:
        What was found, split by split, and lines of what was chosen.

    Raises:
        UsageError: there are no labels of objects, or they cannot be read as a data set.
    """
    root = data_folder(place)
    found: list[tuple[Split, str, dict, Path]] = []
    said: list[str] = []
    if is_coco(place):
        files = files_by_split(root)
        for split, file in files.items():
            # Beside a file for training one of another name is no data.
            if split is None and "train" in files:
                said.append(f"left out: {file}, which is of no split by its name")
                continue
            content = read_file(file)
            found.append((split, str(file), content, image_folder(root, file, content)))
    else:
        source = find_source(place)
        if source is None:
            raise UsageError(
                f"{place} has no labels of objects: wanted COCO, YOLO, Pascal VOC or labelme, or "
                "folders of classes. Label maps are checked by a config: mmmamba new --head "
                "upernet … writes one"
            )
        converted = convert(source)
        said = [f"{source.format} labels of {source.place}", *converted.said]
        for split, content in converted.contents.items():
            found.append((split, str(source.place), content, converted.folders[split]))
    checked = []
    for split, named, content, images in found:
        if split is None or split in splits:
            report = check_coco(content, images, file=named, name=split or WHOLE, decode=decode)
            add_converted(content, report)
            checked.append(CheckedPlace(report, content, images))
    return checked, said
