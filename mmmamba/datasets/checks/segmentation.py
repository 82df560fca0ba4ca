"""What can be wrong with label maps, one PNG for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .channels import AS_COLOURS, Reading
from .images import (
    UNREADABLE,
    ImageFacts,
    in_threads,
    read_image_facts,
    read_labels,
)
from .regular import irregular
from .report import ClassCount, Report

WRAP = 256
"""mmseg reads label maps as 8 bits: what is larger wraps around."""


@dataclass(frozen=True)
class LabelFacts:
    """Pixels of each value of a label map (one row above `WRAP` stands for all larger values)."""

    size: tuple[int, int] = (0, 0)
    pixels: Mapping[int, int] = field(default_factory=dict)
    channels: int = 1
    error: str = ""


def read_label_map(path: str | Path) -> LabelFacts:
    """Count the values of a label map, read as mmseg reads it."""
    if found := irregular(path):
        return LabelFacts(error=found)
    try:
        labels = read_labels(path)
    except FileNotFoundError:
        return LabelFacts(error="there is no such file")
    except UNREADABLE as error:
        return LabelFacts(error=str(error) or type(error).__name__)
    size = labels.shape[1], labels.shape[0]
    if labels.ndim != 2:
        return LabelFacts(size, channels=labels.shape[2])
    # Counted once: what a value means depends on the config, and is asked per value, not per pixel.
    values, amounts = np.unique(labels, return_counts=True)
    return LabelFacts(size, dict(zip(values.tolist(), amounts.tolist())))


def class_of_value(
    value: int,
    classes: int,
    ignore_index: int = 255,
    reduce_zero_label: bool = False,
    label_map: Mapping[int, int] | None = None,
) -> int | None:
    """What training makes of a value: a class, `ignore_index`, or None where no class has it.

    Args:
        classes: their number.
        label_map: mmseg's, from the values of a data set to a choice of its classes.
    """
    if reduce_zero_label:
        # mmseg makes 255 of 0, whatever the ignored label is, and leaves 255 alone.
        value = 255 if value in (0, 255) else value - 1
    if label_map is not None:
        value = label_map.get(value, value)
    return value if value == ignore_index or 0 <= value < classes else None


def check_segmentation(
    pairs: Sequence[tuple[str, str]],
    classes: Sequence[str],
    *,
    folder: str = "labels",
    name: str = "data",
    ignore_index: int = 255,
    reduce_zero_label: bool = False,
    label_map: Mapping[int, int] | None = None,
    decode: bool = True,
    reading: Reading = AS_COLOURS,
) -> Report:
    """Check images and their label maps, all of which are read.

    Args:
        pairs: paths of each image and of its label map.
        folder: of the label maps, for the findings.
        decode: read images whole; otherwise their headers only. Label maps are always read.
        reading: what becomes of the channels of the images.
    """
    report = Report(name, folder, unit="pixels", images=len(pairs))
    report.classes = {c: ClassCount() for c in classes}
    if not pairs:
        report.add("no-images")
        return report

    def read(pair: tuple[str, str]) -> tuple[ImageFacts, LabelFacts]:
        return read_image_facts(pair[0], decode), read_label_map(pair[1])

    for paths, (image, label) in in_threads(read, pairs, f"{name}: images and label maps"):
        image = replace(image, turned=image.turned and reading.turns)
        _check_pair(*paths, image, label, report)
        for kind, detail in () if image.error else reading.notes(image):
            report.add(kind, detail, file=paths[0])
        if label.error or label.channels > 1:
            continue
        wrong = []
        for value, pixels in label.pixels.items():
            found = class_of_value(value, len(classes), ignore_index, reduce_zero_label, label_map)
            if found is None:
                wrong.append(value)
            elif found != ignore_index:
                report.classes[classes[found]].amount += pixels
                report.classes[classes[found]].images += 1
        if wrong:
            # The message speaks of values in the file, before 0 is taken off.
            lowest = 1 if reduce_zero_label else 0
            values = ", ".join(map(str, wrong[:8])) + (" …" if len(wrong) > 8 else "")
            known = f"{lowest} … {len(classes) - 1 + lowest} or {ignore_index}"
            report.add("label-range", f"values {values}; wanted {known}", file=paths[1])
    for class_name, count in report.classes.items():
        if not count.images:
            report.add("class-empty", repr(class_name))
    return report


def _check_pair(
    image_path: str, label_path: str, image: ImageFacts, label: LabelFacts, report: Report
) -> None:
    """Whether an image and its label map can be read, and fit together."""
    if image.error and not Path(image_path).exists():
        report.add("image-missing", file=image_path)
    elif image.error:
        report.add("image-unreadable", image.error, file=image_path)
    if label.error and not Path(label_path).exists():
        report.add("label-missing", f"for {image_path}", file=label_path)
        return
    if label.error:
        report.add("label-unreadable", label.error, file=label_path)
        return
    if not image.error and image.seen_size != label.size:
        found, wanted = label.size, image.seen_size
        sizes = f"{found[0]} x {found[1]}, the image is {wanted[0]} x {wanted[1]}"
        report.add("label-size", sizes, file=label_path)
    if label.channels > 1:
        report.add("label-channels", f"{label.channels} channels", file=label_path)
