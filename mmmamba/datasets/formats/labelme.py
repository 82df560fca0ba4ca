"""labelme's JSON files, one an image: polygons, rectangles, circles and masks."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ..checks.images import UNREADABLE, ImageFacts, in_threads
from ..checks.instances import is_number
from ..checks.regular import irregular
from ..checks.report import Finding
from ..layout import split_of, walk
from .files import ImageFinder, class_file, class_names
from .source import Entry, Labels, Source, Split, Thing, box_of, parse_fault

HEAD = 65_536
"""Bytes of a file by which it is known: pictures inside of it may be megabytes."""
IGNORED = ("__ignore__", "_background_")
"""Names in labelme's lists of labels that are no class."""
OF_NO_AREA = ("point", "points", "line", "linestrip")
CORNERS = 32
"""How many the polygon has that a circle becomes."""


def is_labelme(file: Path) -> bool:
    """Whether a JSON file is one of labelme's, by how it begins."""
    if irregular(file):
        return False
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    return b'"shapes"' in head or (b'"imagePath"' in head and b'"annotations"' not in head)


def find_labelme(root: Path) -> Source | None:
    """The JSON files below a folder as a data set, or None if there are none of labelme's."""
    files = []
    for folder in walk(root):
        files += sorted(folder.glob("*.json"))
    if not any(map(is_labelme, files)):
        return None
    reader = LabelmeReader()
    finder = ImageFinder(root)
    findings: list[Finding] = []
    splits: dict[Split, list[Entry]] = {}
    used = set()
    for file, problem in in_threads(reader.problem, files, "labelme: labels"):
        image = _image(file, reader.named_image(file), finder)
        if image is None:
            named = reader.named_image(file)
            kind = "label-unparsed" if problem else "label-imageless"
            findings.append(Finding(kind, str(file), problem or f"wanted {named}"))
            continue
        used.add(image)
        splits.setdefault(split_of(file.relative_to(root)), []).append(Entry(image, file))
    for image in finder.unlabelled(used):
        found = "no .json of this name: it is left out"
        findings.append(Finding("image-unlabelled", str(image), found))
    source = Source("labelme", root, splits, reader, settle=_settle, findings=findings)
    classes = class_file(root)
    if classes:
        names = [name for name in class_names(classes) if name not in IGNORED]
        source.classes = tuple(names)
        source.said.append(f"classes: {classes}")
    return source


def _image(file: Path, named: str, finder: ImageFinder) -> Path | None:
    beside = file.parent / named.replace("\\", "/")
    if named and os.path.isfile(beside):
        # With `..` in it a path is in another folder than those that reach it without.
        return Path(os.path.normpath(beside))
    return finder.find(file, named)


class LabelmeReader:
    """Reads label files, each once."""

    def __init__(self) -> None:
        self.contents: dict[Path, dict | str] = {}

    def _content(self, file: Path) -> dict | str:
        """What a file holds, or why it cannot be read."""
        if file not in self.contents:
            self.contents[file] = _load(file)
        return self.contents[file]

    def named_image(self, file: Path) -> str:
        """The path of the image by the file; empty where it gives none or cannot be read."""
        content = self._content(file)
        return content["imagePath"] if isinstance(content, dict) else ""

    def problem(self, file: Path) -> str:
        """Why a file cannot be read; empty where it can."""
        content = self._content(file)
        return content if isinstance(content, str) else ""

    def __call__(self, file: Path, facts: ImageFacts) -> Labels:
        labels = Labels()
        content = self._content(file)
        if isinstance(content, str):
            labels.refuse("label-unparsed", content)
            return labels
        size = content.get("imageWidth"), content.get("imageHeight")
        if all(isinstance(side, int) for side in size) and size != facts.seen_size:
            seen = " x ".join(map(str, facts.seen_size))
            found = f"the file says {size[0]} x {size[1]}, the image is {seen}"
            labels.refuse("image-size", found)
            return labels
        groups: dict[tuple, Thing] = {}
        for number, shape in enumerate(content["shapes"], start=1):
            thing = _thing(shape, f"shape {number}", facts, labels)
            if thing is None:
                continue
            group = shape.get("group_id")
            # Parts of one object, which something else covers in between, share a number.
            if group is None or not isinstance(thing.outline, list):
                labels.things.append(thing)
            elif (thing.name, str(group)) in groups:
                whole = groups[thing.name, str(group)]
                whole.outline, whole.box = _joined(whole.outline, thing.outline)
            else:
                groups[thing.name, str(group)] = thing
                labels.things.append(thing)
        return labels


def _load(file: Path) -> dict | str:
    if found := irregular(file):
        return found
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"))
    except (OSError, RecursionError, ValueError) as error:
        return parse_fault(error)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return "it has no list of shapes"
    if not all(isinstance(shape, dict) for shape in content["shapes"]):
        return "shapes holds something that is no shape"
    # The picture inside is not needed again.
    kept = {key: content.get(key) for key in ("shapes", "imageWidth", "imageHeight")}
    named = content.get("imagePath")
    return {**kept, "imagePath": named if isinstance(named, str) and named else f"{file.stem}.jpg"}


def _thing(shape: dict, place: str, facts: ImageFacts, labels: Labels) -> Thing | None:
    """The object that a shape is, or None with a finding where it is none."""
    name, kind = shape.get("label"), shape.get("shape_type") or "polygon"
    place = f"{place} ({name}, {kind})"
    points = _points(shape.get("points"))
    if not isinstance(name, str) or not name.strip() or points is None:
        labels.refuse("label-unparsed", f"{place} has no label or no points")
        return None
    name = name.strip()
    if name in IGNORED:
        labels.tell("shape-ignored", place)
        return None
    if kind in OF_NO_AREA:
        labels.tell("shape-no-area", place)
        return None
    if kind == "mask":
        return _masked(shape, points, Thing(name, box_of(points), place=place), facts, labels)
    corners = len(points) // 2
    if kind == "rectangle" and corners in (2, 4):
        # The outline waits for `_settle`: in data of boxes alone there are no masks.
        return Thing(name, box_of(points), place=place)
    if kind == "circle" and corners == 2:
        points = _circle(points)
    elif kind == "rectangle" or kind == "circle" or corners < 3:
        labels.refuse("label-unparsed", f"{place} has {corners} points")
        return None
    elif kind not in ("polygon", "oriented_rectangle"):
        known = "polygon, rectangle, circle, mask"
        labels.refuse("label-unparsed", f"{place} is of an unknown kind, known are {known}")
        return None
    return Thing(name, box_of(points), [points], place=place)


def _points(value: Any) -> list[float] | None:
    """x, y, x, y, …; None where these are no points."""
    if not isinstance(value, list) or not value:
        return None
    points = []
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            return None
        for number in point:
            if not is_number(number):
                return None
            points.append(float(number))
    return points


def _circle(points: list[float]) -> list[float]:
    """A polygon around a centre; the second point lies on the circle."""
    x, y, x1, y1 = points
    radius = math.hypot(x1 - x, y1 - y)
    found = []
    for corner in range(CORNERS):
        angle = 2 * math.pi * corner / CORNERS
        found += [x + radius * math.cos(angle), y + radius * math.sin(angle)]
    return found


def _masked(
    shape: dict, points: list[float], thing: Thing, facts: ImageFacts, labels: Labels
) -> Thing | None:
    """An object whose pixels are a PNG within the file, at its upper left corner."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape.get("mask") or ""))) as image:
            inside = np.asarray(image) > 0
    except (*UNREADABLE, binascii.Error, TypeError) as error:
        labels.refuse("label-unparsed", f"{thing.place}: its mask: {parse_fault(error)}")
        return None
    width, height = facts.seen_size
    left, upper = round(points[0]), round(points[1])
    fits = left >= 0 and left + inside.shape[1] <= width
    if inside.ndim != 2 or not fits or not 0 <= upper <= height - inside.shape[0]:
        labels.refuse("label-outside", f"{thing.place} has a mask that is not within the image")
        return None
    whole = np.zeros((height, width), np.uint8, order="F")
    whole[upper : upper + inside.shape[0], left : left + inside.shape[1]] = inside
    rle = coco_mask.encode(whole)
    x, y, w, h = coco_mask.toBbox(rle).tolist()
    thing.outline = {"size": [height, width], "counts": rle["counts"].decode()}
    thing.box = (x, y, x + w, y + h)
    return thing


def _joined(outline: Any, part: Any) -> tuple[list, tuple[float, float, float, float]]:
    """The polygons of two shapes, and the box around both."""
    polygons = [*outline, *part]
    return polygons, box_of([value for polygon in polygons for value in polygon])


def _settle(things: list[Thing]) -> list[str]:
    """Among outlines a rectangle is one, too; in data of rectangles alone they are boxes."""
    rectangles = [thing for thing in things if thing.outline is None]
    if not rectangles or len(rectangles) == len(things):
        return []
    for thing in rectangles:
        left, upper, right, lower = thing.box
        thing.outline = [[left, upper, right, upper, right, lower, left, lower]]
    return [f"{len(rectangles)} rectangles among the outlines have masks of their shape"]
