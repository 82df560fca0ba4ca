"""Whether each annotation of a COCO file goes to the image that it is of."""

from __future__ import annotations

from typing import Any

from .report import Report

ID_KEYS = ("id", "image_id", "category_id")
"""What an annotation is, and what it refers to."""


def is_id(value: Any) -> bool:
    """What COCO files number their entries by."""
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def check_image_ids(content: dict, report: Report) -> None:
    """Ids of several images, ids of no image, and ids that are a text here and a number there."""
    names: dict[Any, Any] = {}
    seen = set()
    for image in content["images"]:
        number, name = image.get("id"), image.get("file_name")
        if not is_id(number) or not isinstance(name, str):
            continue
        # pycocotools keeps images in a dict by id, in which the last entry wins.
        if names.setdefault(number, name) != name:
            report.add("image-id-shared", f"{names[number]} and {name}", image=number)
        elif number in seen:
            report.add("image-id-twice", name, image=number)
        seen.add(number)
    # 17 and "17" are two keys of pycocotools' dicts: such annotations go to no image.
    twins = {str(number): number for number in names}
    astray: dict[Any, int] = {}
    for annotation in content["annotations"]:
        number = annotation.get("image_id")
        if not all(is_id(annotation.get(key)) for key in ID_KEYS) or number in names:
            continue
        # Told once for each id: a file written that way has it in every annotation.
        if str(number) in twins:
            astray[number] = astray.get(number, 0) + 1
        else:
            report.add("annotation-orphan", image=number, annotation=annotation["id"])
    for number, times in astray.items():
        image = twins[str(number)]
        found = f"{names[image]} has the id {image!r}, {times} annotations have image_id {number!r}"
        report.add("image-id-text", found, image=image)
