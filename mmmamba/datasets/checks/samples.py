"""Which images a contact sheet shows, and what is labelled on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...structures.samples import Mark, Sample
from .coco import chosen_categories, has_size, is_id
from .images import UNREADABLE, read_image, read_labels
from .instances import box_faults, decode_mask, mask_faults
from .kinds import KINDS
from .regular import irregular
from .report import Report
from .run import Checked
from .saliency import saliency_samples
from .segmentation import class_of_value


def samples_of(checked: Checked, number: int) -> list[Sample]:
    """At most `number` samples of a split that was checked.

    There are none where its classes or its files are no good.
    """
    split, dataset = checked.split, checked.split.dataset
    if number < 1 or not split.classes or isinstance(split.classes, str):
        return []
    if checked.triples:
        return saliency_samples(checked.triples, number)
    if checked.content:
        faulty = faulty_images(checked.report)
        return coco_samples(checked.content, split.image_root, split.classes, number, faulty)
    if checked.labelled:
        return class_samples(checked.labelled, len(split.classes), number)
    if not checked.pairs:
        return []
    return segmentation_samples(
        checked.pairs,
        len(split.classes),
        number,
        checked.ignore_index,
        dataset.reduce_zero_label,
        dataset.label_map,
    )


def faulty_images(report: Report) -> list:
    """Ids of images in which something is wrong."""
    images = []
    for kind, findings in report.examples.items():
        if KINDS[kind].severity != "note":
            images += [finding.image for finding in findings]
    return images


def coco_samples(
    content: dict, image_root: str | Path, classes: Sequence[str], number: int, first: Iterable = ()
) -> list[Sample]:
    """Images that between them show as many classes as they can, rare ones first.

    Some that are spread over the file follow.

    Args:
        first: ids of images that come before these, up to half of the samples.
    """
    if number < 1:
        return []
    chosen = chosen_categories(content["categories"], classes)
    label_of = {category: index for index, category in enumerate(chosen)}
    images = {i["id"]: i for i in content["images"] if is_id(i.get("id")) and has_size(i)}
    annotations_of, images_of = defaultdict(list), defaultdict(list)
    for annotation in content["annotations"]:
        category, image = annotation.get("category_id"), annotation.get("image_id")
        if is_id(category) and is_id(image) and category in label_of:
            annotations_of[image].append(annotation)
            images_of[category].append(image)
    # Faulty images come first, in half of the places at most: the rest show what is right.
    wanted = [image for image in dict.fromkeys(first) if image in images][: number // 2]
    rare_first = _one_for_each(images_of, images)[:number]
    spread = list(images)[:: max(len(images) // number, 1)]
    samples: list[Sample] = []
    # All images stand at the end: some of those before may not be readable.
    for image_id in dict.fromkeys([*wanted, *rare_first, *spread, *images]):
        if len(samples) == number:
            break
        entry = images[image_id]
        image = _read(read_image, Path(image_root) / entry["file_name"])
        if image is None:
            continue
        size = int(entry["width"]), int(entry["height"])
        # shape is height first, size width first.
        fits = image.shape[1::-1] == size
        marks = []
        for annotation in annotations_of[image_id]:
            marks.append(_mark(annotation, size, fits, label_of[annotation["category_id"]]))
        samples.append(Sample(Path(entry["file_name"]).name, image, marks))
    return samples


def _one_for_each(images_of: Mapping, known: Mapping) -> list:
    """An image for each category, of the rarest first, none twice."""
    chosen: list = []
    for category in sorted(images_of, key=lambda category: len(images_of[category])):
        for image in images_of[category]:
            if image in known and image not in chosen:
                chosen.append(image)
                break
    return chosen


def _mark(annotation: dict, size: tuple[int, int], fits: bool, label: int) -> Mark:
    """What is drawn of an annotation.

    Args:
        size: width and height of the image by the annotation file.
        fits: the image has that size; where it has another, the mask would not lie on it.
    """
    faults = [*box_faults(annotation, *size), *mask_faults(annotation, *size)]
    # pycocotools may end the process at such masks; boxes need only be four numbers to be drawn.
    broken_mask = any(kind.startswith(("polygon", "rle")) for kind, _ in faults)
    broken_box = any(kind == "box-broken" for kind, _ in faults)
    mask = decode_mask(annotation, *size) if fits and not broken_mask else None
    box = None if broken_box else annotation["bbox"]
    return Mark(label, box, mask, bool(annotation.get("iscrowd")), bool(faults))


def class_samples(labelled: Sequence[tuple[str, int]], classes: int, number: int) -> list[Sample]:
    """Images of all classes in turn, spread over each."""
    by_class: dict[int, list[str]] = defaultdict(list)
    for path, label in labelled:
        if 0 <= label < classes:
            by_class[label].append(path)
    each = max(-(-number // max(len(by_class), 1)), 1)
    chosen = []
    for label, paths in sorted(by_class.items()):
        spread = paths[:: max(len(paths) // each, 1)][:each]
        chosen += [(place, label, path) for place, path in enumerate(spread)]
    samples: list[Sample] = []
    # One of each class before the second of any.
    for _, label, path in sorted(chosen):
        image = _read(read_image, path) if len(samples) < number else None
        if image is not None:
            samples.append(Sample(Path(path).name, image, label=label))
    return samples


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
    for image_path, label_path in pairs[:: max(len(pairs) // number, 1)][:number]:
        image, labels = _read(read_image, image_path), _read(read_labels, label_path)
        if image is None or labels is None or labels.shape != image.shape[:2]:
            continue
        # -1 stays where a pixel is ignored or has a value of no class.
        seen = np.full(labels.shape, -1)
        for value in np.unique(labels).tolist():
            found = class_of_value(value, classes, ignore_index, reduce_zero_label, label_map)
            if found is not None and found != ignore_index:
                seen[labels == value] = found
        samples.append(Sample(Path(image_path).name, image, labels=seen))
    return samples


def _read(read: Callable[[str | Path], np.ndarray], path: str | Path) -> np.ndarray | None:
    """The pixels, or None of a file that the report has already named as missing or unreadable."""
    if irregular(path):
        return None
    try:
        return read(path)
    except UNREADABLE:
        return None
