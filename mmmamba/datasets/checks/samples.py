"""Which images a contact sheet shows, and what is drawn on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ...structures.samples import Mark, Sample
from .coco import chosen_categories, has_size, is_id
from .images import UNREADABLE
from .instances import box_faults, decode_mask, mask_faults
from .kinds import KINDS
from .regular import irregular
from .run import Checked
from .segmentation import class_of_value


def coco_samples(
    content: dict, image_root: str | Path, classes: Sequence[str], number: int, first: Iterable = ()
) -> list[Sample]:
    """Images that between them show as many classes as they can, rare ones first; then some spread over the file.

    Args:
        first: ids of images that come before these, up to half of the samples.
    """
    chosen = chosen_categories(content["categories"], classes)
    label_of = {category: index for index, category in enumerate(chosen)}
    annotations, images_of = defaultdict(list), defaultdict(list)
    for annotation in content["annotations"]:
        category, image = annotation.get("category_id"), annotation.get("image_id")
        if is_id(category) and is_id(image) and category in label_of:
            annotations[image].append(annotation)
            images_of[category].append(image)
    images = {i["id"]: i for i in content["images"] if is_id(i.get("id")) and has_size(i)}
    order = []
    for category in sorted(images_of, key=lambda c: len(images_of[c])):
        order += next(([i] for i in images_of[category] if i in images and i not in order), [])
    spread = list(images)[:: max(len(images) // number, 1)]
    samples: list[Sample] = []
    wanted = [i for i in dict.fromkeys(first) if i in images][: number // 2]
    for number_of_image in dict.fromkeys([*wanted, *order[:number], *spread, *images]):
        entry = images[number_of_image]
        image = _open(Path(image_root) / entry["file_name"])
        if image is not None and len(samples) < number:
            size = int(entry["width"]), int(entry["height"])
            fits = image.shape[1::-1] == size
            marks = [
                _mark(a, size, fits, label_of[a["category_id"]])
                for a in annotations[number_of_image]
            ]
            samples.append(Sample(Path(entry["file_name"]).name, image, marks))
        if len(samples) == number:
            break
    return samples


def _mark(annotation: dict, size: tuple[int, int], fits: bool, label: int) -> Mark:
    """What is drawn of an annotation; no mask where the image has another size than the file says (`fits`)."""
    faults = [*box_faults(annotation, *size), *mask_faults(annotation, *size)]
    broken_mask = any(kind.startswith(("polygon", "rle")) for kind, _ in faults)
    broken_box = any(kind == "box-broken" for kind, _ in faults)
    mask = decode_mask(annotation, *size) if fits and not broken_mask else None
    return Mark(
        label,
        None if broken_box else annotation["bbox"],
        mask,
        bool(annotation.get("iscrowd")),
        bool(faults),
    )


def segmentation_samples(
    pairs: Sequence[tuple[str, str]],
    classes: int,
    number: int,
    ignore_index: int = 255,
    reduce_zero_label: bool = False,
    label_map: dict[int, int] | None = None,
) -> list[Sample]:
    """Images spread over the data set."""
    samples: list[Sample] = []
    for image_path, label_path in [*pairs[:: max(len(pairs) // number, 1)]][:number]:
        image, labels = _open(image_path), _open(label_path, colours=False)
        if image is None or labels is None or labels.shape != image.shape[:2]:
            continue
        seen = np.full(labels.shape, -1)
        for value in np.unique(labels).tolist():
            found = class_of_value(value, classes, ignore_index, reduce_zero_label, label_map)
            if found is not None and found != ignore_index:
                seen[labels == value] = found
        samples.append(Sample(Path(image_path).name, image, labels=seen))
    return samples


def _open(path: str | Path, colours: bool = True) -> np.ndarray | None:
    """The pixels, or None of a file that the report has already named as missing or unreadable."""
    if irregular(path):
        return None
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB") if colours else image)
    except UNREADABLE:
        return None


def samples_of(checked: Checked, number: int) -> list[Sample]:
    """At most `number` samples of a split that was checked; none where its classes or its files are no good."""
    split, dataset = checked.split, checked.split.dataset
    if number < 1 or not split.classes or isinstance(split.classes, str):
        return []
    if checked.content:
        faulty = [
            finding.image
            for kind, kept in checked.report.examples.items()
            if KINDS[kind].severity != "note"
            for finding in kept
        ]
        return coco_samples(checked.content, split.image_root, split.classes, number, faulty)
    return (
        segmentation_samples(
            checked.pairs,
            len(split.classes),
            number,
            checked.ignore_index,
            dataset.reduce_zero_label,
            dataset.label_map,
        )
        if checked.pairs
        else []
    )
