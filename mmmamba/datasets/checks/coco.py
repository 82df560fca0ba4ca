"""What can be wrong with an annotation file in COCO format and its images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...suggest import did_you_mean
from .image_ids import check_image_ids, is_id
from .images import DEEP_MODES, ImageFacts, in_threads, read_image_facts
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
    return content if is_coco(content, report, str(file)) else None


def is_coco(content: Any, report: Report, file: str | None = None) -> bool:
    """Whether the three lists of objects are there; a finding says what is not."""
    if not isinstance(content, dict):
        report.add("not-coco", f"it holds a {type(content).__name__}", file=file)
        return False
    wrong = [
        key
        for key in LISTS
        if not isinstance(content.get(key), list)
        or not all(isinstance(entry, dict) for entry in content[key])
    ]
    if wrong:
        report.add(
            "not-coco",
            f"no list of objects under {', '.join(wrong)}; it has {_some(list(content))}",
            file=file,
        )
        return False
    nameless = [
        c
        for c in content["categories"]
        if not is_id(c.get("id")) or not isinstance(c.get("name"), str)
    ]
    if nameless:
        report.add("not-coco", f"a category without id or name: {nameless[0]}", file=file)
    return not nameless


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
    """
    report = Report(name, file)
    if not is_coco(content, report):
        return report
    check_categories(content["categories"], classes, report)
    report.images = len(content["images"])
    check_image_ids(content, report)
    sizes = _check_images(content["images"], report, min_size)
    chosen = chosen_categories(content["categories"], classes)
    _check_annotations(content["annotations"], sizes, content["categories"], chosen, masks, report)
    if image_root is not None:
        check_image_files(content["images"], Path(image_root), report, decode)
    return report


def chosen_categories(categories: list[dict], classes: Sequence[str] | None) -> dict[Any, str]:
    """Names of the categories of a config's classes by id, in the file's order, as mmdet numbers them."""
    return {c["id"]: c["name"] for c in categories if classes is None or c["name"] in classes}


def check_categories(categories: list[dict], classes: Sequence[str] | None, report: Report) -> None:
    """Categories, each once, and the classes of a config against them: by name and by order."""
    names = [c["name"] for c in categories]
    for number, times in Counter(c["id"] for c in categories).items():
        if times > 1:
            report.add("category-id-twice", f"{number!r} is the id of {times} categories")
    for name, times in Counter(names).items():
        if times > 1:
            report.add("classes-twice", f"{name!r} is the name of {times} categories")
    if classes is None:
        return
    if isinstance(classes, str):
        report.add("classes-text", f"classes is {classes!r}")
        return
    for name, times in Counter(classes).items():
        if times > 1:
            report.add("classes-twice", f"{name!r} stands {times} times in the config's classes")
    missing = [name for name in classes if name not in names]
    if missing:
        hints = "".join(
            did_you_mean(name, [n for n in names if n not in classes], 2) for name in missing[:3]
        )
        cure = (
            f" Write metainfo=dict(classes={tuple(names)!r})." if len(names) <= SHORT_LIST else ""
        )
        report.add(
            "classes-missing",
            f"{_some(missing)} of the config's {len(classes)} classes; the file has "
            f"{_some(names)}.{hints if len(missing) < len(classes) else cure}",
        )
    common = [name for name in classes if name in names]
    in_file = [name for name in names if name in classes]
    if not missing and len(common) == len(in_file) and common != in_file:
        report.add("classes-order", f"write classes=({', '.join(map(repr, in_file))},)")
    for name in names:
        if name not in classes:
            report.add("classes-left", repr(name))


def _check_images(
    images: list[dict], report: Report, min_size: int
) -> dict[Any, tuple[int, int] | None]:
    """Entries of images. Returns width and height by id, None where the entry has no valid ones."""
    sizes: dict[Any, tuple[int, int] | None] = {}
    ids_of_name: dict[str, Any] = {}
    for index, image in enumerate(images):
        if not is_id(image.get("id")) or not isinstance(image.get("file_name"), str):
            report.add(
                "image-record",
                f"entry {index} of images has id {image.get('id')!r} and file_name "
                f"{image.get('file_name')!r}",
            )
            continue
        number, name = image["id"], image["file_name"]
        if name in ids_of_name and ids_of_name[name] != number:
            report.add(
                "image-name-twice",
                f"{name} has the ids {ids_of_name[name]} and {number}",
                image=number,
            )
        ids_of_name.setdefault(name, number)
        size = image.get("width"), image.get("height")
        valid = has_size(image)
        if not valid:
            report.add(
                "image-record", f"{name} has width {size[0]!r} and height {size[1]!r}", image=number
            )
        elif min(size) < min_size:
            report.add(
                "image-small",
                f"{name} is {size[0]} x {size[1]}, wanted {min_size} or more",
                image=number,
            )
        sizes[number] = size if valid else None
    return sizes


def _check_annotations(
    annotations: list[dict],
    sizes: Mapping[Any, tuple[int, int] | None],
    categories: list[dict],
    chosen: Mapping[Any, str],
    masks: bool,
    report: Report,
) -> None:
    known = {c["id"] for c in categories}
    report.classes = {name: ClassCount() for name in chosen.values()}
    images_of: dict[str, set] = {name: set() for name in chosen.values()}
    seen, used = set(), set()
    for index, annotation in enumerate(annotations):
        ids = {key: annotation.get(key) for key in ("id", "image_id", "category_id")}
        if not all(is_id(value) for value in ids.values()):
            report.add(
                "annotation-record",
                f"entry {index} of annotations has "
                + ", ".join(f"{key} {value!r}" for key, value in ids.items() if not is_id(value)),
            )
            continue
        number = annotation["id"]
        place = dict(image=annotation["image_id"], annotation=number)
        if number in seen:
            report.add("annotation-id-twice", **place)
        seen.add(number)
        if number == 0:
            report.add("annotation-id-0", **place)
        if annotation["image_id"] not in sizes:
            continue
        if annotation["category_id"] not in known:
            report.add("category-unknown", f"category {annotation['category_id']!r}", **place)
            continue
        used.add(annotation["image_id"])
        if annotation.get("ignore"):
            report.add("annotation-ignored", **place)
            continue
        if annotation.get("iscrowd"):
            report.add("annotation-crowd", **place)
        elif annotation["category_id"] in chosen:
            name = chosen[annotation["category_id"]]
            report.classes[name].amount += 1
            images_of[name].add(annotation["image_id"])
        _check_instance(annotation, sizes[annotation["image_id"]], masks, report, place)
    for name, count in report.classes.items():
        count.images = len(images_of[name])
        if not count.amount:
            report.add("class-empty", repr(name))
    for number in sizes:
        if number not in used:
            report.add("image-empty", image=number)


def _check_instance(
    annotation: dict, size: tuple[int, int] | None, masks: bool, report: Report, place: dict
) -> None:
    if size is None:
        return
    for kind, detail in box_faults(annotation, *size):
        report.add(kind, detail, **place)
    if masks and not annotation.get("segmentation"):
        report.add("mask-missing", **place)
    for kind, detail in mask_faults(annotation, *size):
        report.add(kind, detail, **place)


def check_image_files(images: list[dict], root: Path, report: Report, decode: bool = True) -> None:
    """Read each image and compare its size with the file's."""
    entries = [image for image in images if isinstance(image.get("file_name"), str)]

    def read(image: dict) -> ImageFacts:
        return read_image_facts(root / image["file_name"], decode)

    for image, facts in in_threads(read, entries, f"{report.name}: images"):
        path = str(root / image["file_name"])
        number = image.get("id")
        told = image.get("width"), image.get("height")
        if facts.error:
            missing = not Path(path).exists()
            report.add(
                "image-missing" if missing else "image-unreadable",
                "" if missing else facts.error,
                file=path,
                image=number,
            )
            continue
        if told != facts.seen_size:
            if facts.turned and told == (facts.width, facts.height):
                report.add("image-turned", f"stored {told[0]} x {told[1]}", file=path, image=number)
            else:
                report.add(
                    "image-size",
                    f"{facts.seen_size[0]} x {facts.seen_size[1]}, the file says {told[0]} x "
                    f"{told[1]}",
                    file=path,
                    image=number,
                )
        if facts.mode in DEEP_MODES:
            report.add("image-deep", f"mode {facts.mode}", file=path, image=number)


def _some(names: Sequence[Any], most: int = 5) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"
