"""What can be wrong with an annotation file in COCO format and its images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...suggest import did_you_mean
from .channels import AS_COLOURS, Reading
from .image_ids import ID_KEYS, check_image_ids, is_id
from .images import ImageFacts, in_threads, read_image_facts
from .instances import box_faults, is_number, mask_faults
from .regular import irregular
from .report import ClassCount, Report

SHORT_LIST = 20
"""Classes that a message lists."""
LISTS = ("images", "annotations", "categories")


def read_coco(file: str | Path, report: Report) -> dict | None:
    """The content of an annotation file, or None with a finding where it is no COCO file."""
    if found := irregular(file):
        report.add("not-coco", found, file=str(file))
        return None
    try:
        content = json.loads(Path(file).read_bytes())
    except (OSError, RecursionError, ValueError) as error:
        report.add("not-coco", f"{type(error).__name__}: {error}", file=str(file))
        return None
    problem = _no_coco(content)
    if problem:
        report.add("not-coco", problem, file=str(file))
        return None
    return content


def _no_coco(content: Any) -> str:
    """Why content is not that of a COCO file; empty where its three lists of objects are there."""
    if not isinstance(content, dict):
        return f"it holds a {type(content).__name__}"
    wrong = [key for key in LISTS if not _is_list_of_objects(content.get(key))]
    if wrong:
        return f"no list of objects under {', '.join(wrong)}; it has {_some(list(content))}"
    for category in content["categories"]:
        if not is_id(category.get("id")) or not isinstance(category.get("name"), str):
            return f"a category without id or name: {category}"
    return ""


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def has_size(image: dict) -> bool:
    """Whether an entry of an image names a file, and a width and a height that one can have."""
    sizes = image.get("width"), image.get("height")
    return isinstance(image.get("file_name"), str) and all(is_number(v) and v >= 1 for v in sizes)


def check_coco(
    content: dict,
    image_root: str | Path | None,
    classes: Sequence[str] | None = None,
    *,
    file: str = "annotations",
    name: str = "data",
    masks: bool = False,
    min_size: int = 0,
    decode: bool = True,
    reading: Reading = AS_COLOURS,
) -> Report:
    """Check the content of a COCO file.

    Args:
        image_root: folder of the images, each of which is read; None leaves them alone.
        classes: of the config, checked against the categories; None takes those of the file.
        file: name of the file for the findings.
        name: of the split.
        masks: the config trains masks.
        min_size: of images, as in mmdet's `filter_cfg`.
        decode: read images whole; otherwise their headers only.
        reading: what becomes of their channels.
    """
    report = Report(name, file)
    if problem := _no_coco(content):
        report.add("not-coco", problem)
        return report
    check_categories(content["categories"], classes, report)
    report.images = len(content["images"])
    check_image_ids(content, report)
    sizes = _check_images(content["images"], report, min_size)
    chosen = chosen_categories(content["categories"], classes)
    _check_annotations(content["annotations"], sizes, content["categories"], chosen, masks, report)
    if image_root is not None:
        check_image_files(content["images"], Path(image_root), report, decode, reading)
    return report


def chosen_categories(categories: list[dict], classes: Sequence[str] | None) -> dict[Any, str]:
    """Names of the categories of a config's classes by id.

    They stand in the file's order, by which mmdet numbers them.
    """
    return {c["id"]: c["name"] for c in categories if classes is None or c["name"] in classes}


def check_categories(categories: list[dict], classes: Sequence[str] | None, report: Report) -> None:
    """Categories, each once, and the classes of a config against them: by name and by order."""
    names = [c["name"] for c in categories]
    for number, times in _several(c["id"] for c in categories):
        report.add("category-id-twice", f"{number!r} is the id of {times} categories")
    for name, times in _several(names):
        report.add("classes-twice", f"{name!r} is the name of {times} categories")
    if classes is None:
        return
    if isinstance(classes, str):
        report.add("classes-text", f"classes is {classes!r}")
        return
    for name, times in _several(classes):
        report.add("classes-twice", f"{name!r} stands {times} times in the config's classes")
    # By name, whatever the order.
    missing = [name for name in classes if name not in names]
    if missing:
        report.add("classes-missing", _missing(missing, names, classes))
    # mmdet keeps the file's order whatever the config's: names would be exchanged.
    common = [name for name in classes if name in names]
    in_file = [name for name in names if name in classes]
    # Only where both name the same classes once each; else other findings explain the difference.
    if not missing and len(common) == len(in_file) and common != in_file:
        report.add("classes-order", f"write classes=({', '.join(map(repr, in_file))},)")
    for name in names:
        if name not in classes:
            report.add("classes-left", repr(name))


def _several(values: Iterable[Any]) -> list[tuple[Any, int]]:
    """Values that occur more than once, and how often."""
    return [(value, times) for value, times in Counter(values).items() if times > 1]


def _missing(missing: list[str], names: list[str], classes: Sequence[str]) -> str:
    """Which classes the file lacks, what it has, and what may have been meant."""
    found = f"{_some(missing)} of the config's {len(classes)} classes; the file has {_some(names)}."
    if len(missing) < len(classes):
        left = [name for name in names if name not in classes]
        return found + "".join(did_you_mean(name, left, 2) for name in missing[:3])
    if len(names) <= SHORT_LIST:
        return f"{found} Write metainfo=dict(classes={tuple(names)!r})."
    return found


def _check_images(
    images: list[dict], report: Report, min_size: int
) -> dict[Any, tuple[int, int] | None]:
    """Check the entries of images.

    Returns:
        Width and height by id, None where the entry has no valid ones.
    """
    sizes: dict[Any, tuple[int, int] | None] = {}
    ids_of_name: dict[str, Any] = {}
    for index, image in enumerate(images):
        number, name = image.get("id"), image.get("file_name")
        if not is_id(number) or not isinstance(name, str):
            found = f"entry {index} of images has id {number!r} and file_name {name!r}"
            report.add("image-record", found)
            continue
        # The first id of a file stays, and all later ones are held against it.
        other = ids_of_name.setdefault(name, number)
        if other != number:
            report.add("image-name-twice", f"{name} has the ids {other} and {number}", image=number)
        width, height = image.get("width"), image.get("height")
        # Known without a size: its annotations are no orphans, but their boxes cannot be checked.
        sizes[number] = None
        if not has_size(image):
            found = f"{name} has width {width!r} and height {height!r}"
            report.add("image-record", found, image=number)
            continue
        sizes[number] = width, height
        if min(width, height) < min_size:
            found = f"{name} is {width} x {height}, wanted {min_size} or more"
            report.add("image-small", found, image=number)
    return sizes


def _check_annotations(
    annotations: list[dict],
    sizes: Mapping[Any, tuple[int, int] | None],
    categories: list[dict],
    chosen: Mapping[Any, str],
    masks: bool,
    report: Report,
) -> None:
    """Check the entries of annotations, and count those of each class in the report."""
    known = {c["id"] for c in categories}
    report.classes = {name: ClassCount() for name in chosen.values()}
    images_of: dict[str, set] = {name: set() for name in chosen.values()}
    seen, used = set(), set()
    for index, annotation in enumerate(annotations):
        if not _check_ids(index, annotation, seen, report):
            continue
        image, category = annotation["image_id"], annotation["category_id"]
        place = dict(image=image, annotation=annotation["id"])
        if image not in sizes:
            # `check_image_ids` has named it.
            continue
        if category not in known:
            report.add("category-unknown", f"category {category!r}", **place)
            continue
        # Ignored annotations count here too, as they do for mmdet's `filter_empty_gt`.
        used.add(image)
        if annotation.get("ignore"):
            report.add("annotation-ignored", **place)
            continue
        # No object to learn, so not in the class's count; box and mask are checked all the same.
        if annotation.get("iscrowd"):
            report.add("annotation-crowd", **place)
        elif category in chosen:
            report.classes[chosen[category]].amount += 1
            images_of[chosen[category]].add(image)
        if sizes[image] is not None:
            _check_instance(annotation, sizes[image], masks, report, place)
    for name, count in report.classes.items():
        count.images = len(images_of[name])
        if not count.amount:
            report.add("class-empty", repr(name))
    # Images without objects may be meant so.
    for number in sizes:
        if number not in used:
            report.add("image-empty", image=number)


def _check_ids(index: int, annotation: dict, seen: set, report: Report) -> bool:
    """Check the ids that an annotation is and refers to; False where it lacks one.

    Args:
        seen: ids of those before, to which this one is added.
    """
    ids = {key: annotation.get(key) for key in ID_KEYS}
    wrong = [f"{key} {value!r}" for key, value in ids.items() if not is_id(value)]
    if wrong:
        found = f"entry {index} of annotations has {', '.join(wrong)}"
        report.add("annotation-record", found)
        return False
    number = annotation["id"]
    place = dict(image=annotation["image_id"], annotation=number)
    if number in seen:
        report.add("annotation-id-twice", **place)
    seen.add(number)
    # COCOeval keeps the matched annotation's id and takes 0 for "no match".
    if number == 0:
        report.add("annotation-id-0", **place)
    return True


def _check_instance(
    annotation: dict, size: tuple[int, int], masks: bool, report: Report, place: dict
) -> None:
    for kind, detail in box_faults(annotation, *size):
        report.add(kind, detail, **place)
    if masks and not annotation.get("segmentation"):
        report.add("mask-missing", **place)
    for kind, detail in mask_faults(annotation, *size):
        report.add(kind, detail, **place)


def check_image_files(
    images: list[dict],
    root: Path,
    report: Report,
    decode: bool = True,
    reading: Reading = AS_COLOURS,
) -> None:
    """Read each image and compare its size with the file's."""
    entries = [image for image in images if isinstance(image.get("file_name"), str)]

    def read(image: dict) -> ImageFacts:
        return read_image_facts(root / image["file_name"], decode)

    for image, facts in in_threads(read, entries, f"{report.name}: images"):
        path = root / image["file_name"]
        place = dict(file=str(path), image=image.get("id"))
        if facts.error and not path.exists():
            report.add("image-missing", **place)
        elif facts.error:
            report.add("image-unreadable", facts.error, **place)
        else:
            _check_size(image, replace(facts, turned=facts.turned and reading.turns), report, place)
            for kind, detail in reading.notes(facts):
                report.add(kind, detail, **place)


def _check_size(image: dict, facts: ImageFacts, report: Report, place: dict) -> None:
    """An image that was read against its entry in the file."""
    width, height = image.get("width"), image.get("height")
    seen = facts.seen_size
    # The entry fits the stored pixels, not the turned ones; squares fit both ways.
    if facts.turned and (width, height) == (facts.width, facts.height) != seen:
        report.add("image-turned", f"stored {width} x {height}", **place)
    elif (width, height) != seen:
        found = f"{seen[0]} x {seen[1]}, the file says {width} x {height}"
        report.add("image-size", found, **place)


def _some(names: Sequence[Any], most: int = 5) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"
