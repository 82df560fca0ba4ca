"""The one writer: label files of any format become the content of COCO files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from ...errors import UsageError
from ...suggest import did_you_mean
from ..checks.images import ImageFacts, in_threads, read_image_facts
from ..checks.instances import SLACK, mask_faults
from ..checks.report import Finding
from .source import Entry, Labels, Source, Split, Thing

DIGITS = 3
"""Behind the point, of coordinates in pixels."""


@dataclass
class Converted:
    """A data set as COCO files would hold it.

    Attributes:
        contents: of a COCO file for each split; images in the order of their names, ids from 1.
        folders: to which the names of the images of each split are relative.
        said: what was chosen, a line each.
    """

    source: Source
    classes: tuple[str, ...]
    contents: dict[Split, dict]
    folders: dict[Split, Path]
    findings: list[Finding]
    said: list[str]


@dataclass
class _Image:
    entry: Entry
    facts: ImageFacts
    labels: Labels


def convert(source: Source) -> Converted:
    """Read all label files of a data set, and the sizes of its images.

    An image is left out, with a finding, where it cannot be read or its labels cannot be read
    whole: what is missing would be learnt as background.

    Raises:
        UsageError: nothing is left of a split, or there is no class.
    """
    if not any(source.splits.values()):
        raise UsageError(_nothing_left(source, None, source.findings))
    images = {split: _read(source, split) for split in source.splits}
    whole = [image for found in images.values() for image in found if not image.labels.refused]
    things = [thing for image in whole for thing in image.labels.things]
    said = [*source.said, *source.settle(things)]
    classes = source.classes or tuple(sorted({thing.name for thing in things}))
    findings = list(source.findings)
    contents, folders = {}, {}
    for split, found in images.items():
        folders[split] = _common_folder([image.entry.image for image in found])
        contents[split] = _content(source, found, classes, folders[split])
        findings += _findings(found)
        left = sum(image.labels.refused for image in found)
        if left:
            said.append(f"left out: {left} of {len(found)} images{f' of {split}' if split else ''}")
        if found and not contents[split]["images"]:
            raise UsageError(_nothing_left(source, split, _findings(found)))
    if not classes:
        raise UsageError(f"the {source.format} files of {source.place} hold no object")
    outlines = [thing.outline is not None for thing in things]
    if any(outlines) and not all(outlines):
        said.append(
            f"{outlines.count(False)} of {len(outlines)} objects are boxes without an outline: "
            "heads that learn masks cannot take them"
        )
    # Once, where one folder or list is that of two splits.
    findings = list(dict.fromkeys(findings))
    for split, own in _by_split(findings, images).items():
        contents[split]["info"] = _info(source, own)
    return Converted(source, classes, contents, folders, findings, said)


def _read(source: Source, split: Split) -> list[_Image]:
    """The images of a split with their sizes and labels, in the order of their paths."""
    entries = sorted(source.splits[split], key=lambda entry: entry.image.as_posix())

    def read(entry: Entry) -> tuple[ImageFacts, Labels]:
        facts, labels = read_image_facts(entry.image, decode=False), Labels()
        if facts.error:
            labels.refuse("image-skipped", facts.error)
        elif entry.labels is not None:
            labels = source.read(entry.labels, facts)
        return facts, labels

    what = f"{source.format}: {split or 'images'}"
    return [_Image(entry, *found) for entry, found in in_threads(read, entries, what)]


def _common_folder(images: list[Path]) -> Path:
    if not images:
        return Path()
    return Path(os.path.commonpath([image.parent for image in images]))


def _content(
    source: Source, found: list[_Image], classes: tuple[str, ...], folder: Path
) -> dict[str, Any]:
    """The three lists of a COCO file."""
    numbers = {name: index for index, name in enumerate(classes, start=1)}
    images: list[dict] = []
    annotations: list[dict] = []
    for one in found:
        objects = _objects(one, numbers)
        if one.labels.refused:
            continue
        width, height = one.facts.seen_size
        number = len(images) + 1
        name = one.entry.image.relative_to(folder).as_posix()
        entry = dict(id=number, file_name=name, width=width, height=height)
        if one.entry.labels is not None:
            # Not COCO's: where the labels stand, for who wants to mend them.
            entry["labels"] = str(one.entry.labels)
        images.append(entry)
        for annotation in objects:
            place = dict(id=len(annotations) + 1, image_id=number)
            annotations.append(place | annotation)
    categories = [dict(id=number, name=name) for name, number in numbers.items()]
    return dict(images=images, annotations=annotations, categories=categories)


def _objects(image: _Image, numbers: dict[str, int]) -> list[dict]:
    """Annotations of an image, without ids; what is wrong is told of its labels."""
    found = []
    for thing in () if image.labels.refused else image.labels.things:
        if thing.name not in numbers:
            told = f"{thing.place} is a {thing.name!r}, which the classes do not name."
            image.labels.refuse("label-class", told + did_you_mean(thing.name, numbers))
            continue
        annotation = _annotation(thing, image.facts, image.labels)
        if annotation is not None:
            found.append(dict(category_id=numbers[thing.name]) | annotation)
    return found


def _annotation(thing: Thing, facts: ImageFacts, labels: Labels) -> dict | None:
    """Box, area and outline within the image; None with a finding where nothing is there."""
    width, height = facts.seen_size
    left, upper, right, lower = thing.box
    box = f"{left:.6g}, {upper:.6g}, {right:.6g}, {lower:.6g}"
    if left >= width or upper >= height or right <= 0 or lower <= 0:
        told = f"{thing.place}: {box} lies outside of the image, {width} x {height}"
        labels.refuse("label-outside", told)
        return None
    if left < -SLACK or upper < -SLACK or right > width + SLACK or lower > height + SLACK:
        labels.tell("box-clipped", f"{thing.place}: {box}, image {width} x {height}")
    left, upper = max(left, 0.0), max(upper, 0.0)
    sides = min(right, width) - left, min(lower, height) - upper
    if min(sides) < 1:
        labels.tell("box-empty", f"{thing.place}: {box}; it is left out, as in training")
        return None
    bbox = _rounded_values((left, upper, *sides))
    area = round(sides[0] * sides[1], DIGITS)
    crowd = int(thing.crowd)
    annotation: dict = dict(bbox=bbox, area=area, iscrowd=crowd, segmentation=[])
    if thing.outline is None:
        return annotation
    annotation["segmentation"] = _rounded(thing.outline)
    for kind, detail in mask_faults(annotation, width, height):
        labels.refuse(kind, f"{thing.place}: {detail}")
        return None
    annotation["area"] = _area(annotation["segmentation"], width, height)
    if annotation["area"] <= 0:
        labels.tell("box-empty", f"{thing.place}: its outline has no area; it is left out")
        return None
    return annotation


def _rounded(outline: list[list[float]] | dict) -> list[list[float]] | dict:
    if isinstance(outline, dict):
        return outline
    return [_rounded_values(polygon) for polygon in outline]


def _rounded_values(values: Iterable[float]) -> list[float]:
    return [round(value, DIGITS) for value in values]


def _area(outline: list[list[float]] | dict, width: int, height: int) -> float:
    rle = outline
    if isinstance(outline, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(outline, height, width))
    return float(coco_mask.area(rle))


def _findings(found: list[_Image]) -> list[Finding]:
    """What is wrong with images and their labels, each with its file."""
    findings = []
    for image in found:
        for kind, detail in image.labels.findings:
            is_label = image.entry.labels is not None and kind != "image-skipped"
            file = image.entry.labels if is_label else image.entry.image
            findings.append(Finding(kind, str(file), detail))
    return findings


def _by_split(
    findings: list[Finding], images: dict[Split, list[_Image]]
) -> dict[Split, list[Finding]]:
    """Findings by the split whose files they name; those of no split's files go to the first."""
    first = next(iter(images))
    split_of_file: dict[str, Split] = {}
    for split, found in images.items():
        for image in found:
            split_of_file.setdefault(str(image.entry.image), split)
            split_of_file.setdefault(str(image.entry.labels), split)
    sorted_in: dict[Split, list[Finding]] = {split: [] for split in images}
    for finding in findings:
        sorted_in[split_of_file.get(finding.file, first)].append(finding)
    return sorted_in


def _info(source: Source, findings: list[Finding]) -> dict:
    """What a COCO file says of itself, with what `check-data` is to tell again."""
    return dict(
        description=f"{source.format} labels of {source.place}, converted by mmmamba",
        findings=[dict(kind=finding.kind, **finding.to_dict()) for finding in findings],
    )


def _nothing_left(source: Source, split: Split, findings: list[Finding]) -> str:
    """Why no image of a split can be used, in a line."""
    counts = Counter(finding.kind for finding in findings)
    first = findings[0] if findings else "no finding"
    kinds = ", ".join(f"{kind} × {number}" for kind, number in counts.most_common())
    return (
        f"no image of {source.place}{f' for {split}' if split else ''} can be used ({kinds}); "
        f"the first: {first}"
    )
