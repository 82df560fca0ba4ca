"""What a sample must hold once its image, boxes or labels are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..checks.images import DEEP_MODES, UNREADABLE, read_image_facts
from ..checks.regular import irregular

# The first bytes of the formats, and what ends a whole file: JPEG's end marker, PNG's last chunk.
JPEG, PNG = b"\xff\xd8", b"\x89PNG"
ENDS = {JPEG: b"\xff\xd9", PNG: b"IEND\xaeB`\x82"}
LABEL_MODES = ("1", "L", "P")
FILES = (
    ("seg_map_path", "label map"),
    ("second_path", "second image"),
    ("saliency_map_path", "saliency map"),
    ("fixation_map_path", "fixation map"),
)
"""Where samples name what is read beside the image."""
TAIL = 64
"""Bytes at a file's end in which its end mark stands, if nothing is missing."""


def file_faults(sample: Any) -> Iterator[str]:
    """What is wrong with the files that a sample is about to be loaded from."""
    if not isinstance(sample, dict):
        return
    if found := irregular(sample.get("img_path")):
        yield found
    for key, what in FILES:
        if found := irregular(sample.get(key)):
            yield f"the {what} {sample[key]}: {found}"


def image_faults(sample: dict) -> Iterator[str]:
    """What is wrong with an image just loaded.

    It may be cut off, which OpenCV fills with grey, or of another size than the annotations say.
    """
    path = sample.get("img_path")
    if isinstance(path, str) and (error := cut_off(path)):
        yield error
    second = sample.get("second_path")
    if isinstance(second, str) and (error := cut_off(second)):
        yield f"the second image {second}: {error}"
    height, width = sample["img"].shape[:2]
    if not (height and width):
        yield f"the image is {width} x {height}"
    told = sample.get("width"), sample.get("height")
    # Samples of mmseg carry no sizes: there is nothing to compare with.
    if None in told or told == (width, height):
        return
    turned = " (its EXIF orientation turns it, as training sees it)"
    why = turned if told == (height, width) else ""
    yield f"the image is {width} x {height}{why}, its annotations say {told[0]} x {told[1]}"


def cut_off(path: str) -> str:
    """Why a JPEG or PNG file is not whole; empty if it is.

    Files that do not end as they should are decoded anew.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(len(PNG))
            # `head` has the length of PNG's mark; JPEG's is shorter.
            end = ENDS.get(head) or ENDS.get(head[: len(JPEG)])
            if end is None:
                return ""
            size = file.seek(0, os.SEEK_END)
            file.seek(-min(TAIL, size), os.SEEK_END)
            if end in file.read():
                return ""
    except OSError:
        # In storage that is not a local file; what loads it has its own errors.
        return ""
    # Bytes may follow the end of a good file: only decoding tells.
    return read_image_facts(path).error


def box_faults(sample: dict, classes: int | None) -> Iterator[str]:
    """What is wrong with boxes and labels just loaded."""
    boxes = sample["gt_bboxes"]
    # mmdet's boxes hold a tensor, or are arrays with `box_type=None`.
    values_N4 = torch.as_tensor(getattr(boxes, "tensor", boxes))
    wrong = (~values_N4.isfinite().all(-1)).nonzero().flatten().tolist()
    if wrong:
        yield f"box {wrong[0]} of its {len(values_N4)} is {values_N4[wrong[0]].tolist()}"
    labels = np.asarray(sample.get("gt_bboxes_labels", ()))
    if classes is None or not labels.size:
        return
    lowest, highest = labels.min(), labels.max()
    if lowest < 0 or highest >= classes:
        yield f"its labels reach from {lowest} to {highest}, wanted 0 … {classes - 1}"


def label_map_faults(sample: dict, classes: int | None, ignore_index: int) -> Iterator[str]:
    """What is wrong with a label map just loaded.

    It may have colours, more than 8 bits, another size than the image, or labels of no class.
    """
    labels_HW, path = sample["gt_seg_map"], sample.get("seg_map_path")
    name = f"the label map {path}"
    if labels_HW.ndim != 2:
        yield f"{name} has {labels_HW.shape[-1]} channels, wanted one number a pixel"
        return
    height, width = labels_HW.shape
    image = sample.get("ori_shape")
    if image and (height, width) != tuple(image[:2]):
        yield f"{name} is {width} x {height}, the image is {image[1]} x {image[0]}"
    # Before the range: what 8 bits leave of a larger value may look like a class.
    if isinstance(path, str) and (problem := _lost_bits(path)):
        yield f"{name} {problem}"
        return
    if classes is None:
        return
    # Comparisons of bytes: a millisecond for 16 million pixels, beside decoding some 100.
    wrong = labels_HW[(labels_HW >= classes) & (labels_HW != ignore_index)]
    if wrong.size:
        found = ", ".join(map(str, np.unique(wrong)[:8]))
        yield (
            f"{name} holds {found} (after reduce_zero_label, if set) in {wrong.size} pixels, "
            f"wanted 0 … {classes - 1}, or {ignore_index} to ignore"
        )


def _lost_bits(path: str) -> str:
    """What mmseg loses of a label map, as it reads the lowest 8 bits; empty if nothing."""
    try:
        with Image.open(path) as image:
            if image.mode in LABEL_MODES:
                return ""
            highest = np.asarray(image).max() if image.mode in DEEP_MODES else 0
            if image.mode in DEEP_MODES and highest < 256:
                return ""
            return f"is of mode {image.mode}, up to {highest}: it is read with 8 bits"
    except UNREADABLE:
        # Not an image file that Pillow knows, or in storage of another kind; it was loaded by
        # other means.
        return ""


def place(sample: Any) -> tuple[str, Any]:
    """File and id of a sample's image."""
    sample = sample if isinstance(sample, dict) else {}
    return str(sample.get("img_path") or "an image without img_path"), sample.get("img_id")
