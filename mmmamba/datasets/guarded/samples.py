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

JPEG, PNG = b"\xff\xd8", b"\x89PNG"
ENDS = {JPEG: b"\xff\xd9", PNG: b"IEND\xaeB`\x82"}
LABEL_MODES = ("1", "L", "P")


def file_faults(sample: Any) -> Iterator[str]:
    """Of the files that a sample is about to be loaded from."""
    if not isinstance(sample, dict):
        return
    if found := irregular(sample.get("img_path")):
        yield found
    if found := irregular(sample.get("seg_map_path")):
        yield f"the label map {sample['seg_map_path']}: {found}"


def image_faults(sample: dict) -> Iterator[str]:
    """Of an image just loaded: cut off, which OpenCV fills with grey, or of another size than the annotations say."""
    path = sample.get("img_path")
    if isinstance(path, str) and (error := cut_off(path)):
        yield error
    height, width = sample["img"].shape[:2]
    if not (height and width):
        yield f"the image is {width} x {height}"
    told = sample.get("width"), sample.get("height")
    if None not in told and told != (width, height):
        turned = (
            " (its EXIF orientation turns it, as training sees it)"
            if told == (height, width)
            else ""
        )
        yield f"the image is {width} x {height}{turned}, its annotations say {told[0]} x {told[1]}"


def cut_off(path: str) -> str:
    """Why a JPEG or PNG file is not whole; empty if it is. Files that do not end as they should are decoded anew."""
    try:
        with open(path, "rb") as file:
            end = ENDS.get(head := file.read(4)) or ENDS.get(head[:2])
            if end is None:
                return ""
            file.seek(0, os.SEEK_END)
            file.seek(-min(64, file.tell()), os.SEEK_END)
            if end in file.read():
                return ""
    except OSError:
        # In storage that is not a local file; what loads it has its own errors.
        return ""
    return read_image_facts(path).error


def box_faults(sample: dict, classes: int | None) -> Iterator[str]:
    """Of boxes and labels just loaded."""
    boxes = sample["gt_bboxes"]
    values = torch.as_tensor(getattr(boxes, "tensor", boxes))
    wrong = (~values.isfinite().all(-1)).nonzero().flatten().tolist()
    if wrong:
        yield f"box {wrong[0]} of its {len(values)} is {values[wrong[0]].tolist()}"
    labels = np.asarray(sample.get("gt_bboxes_labels", ()))
    if classes is not None and labels.size and not 0 <= labels.min() <= labels.max() < classes:
        yield f"its labels reach from {labels.min()} to {labels.max()}, wanted 0 … {classes - 1}"


def label_map_faults(sample: dict, classes: int | None, ignore_index: int) -> Iterator[str]:
    """Of a label map just loaded: colours, more than 8 bits, another size than the image, labels of no class."""
    labels, path = sample["gt_seg_map"], sample.get("seg_map_path")
    if labels.ndim != 2:
        yield f"the label map {path} has {labels.shape[-1]} channels, wanted one number a pixel"
        return
    if (shape := sample.get("ori_shape")) and labels.shape != tuple(shape[:2]):
        yield f"the label map {path} is {labels.shape[1]} x {labels.shape[0]}, the image is {shape[1]} x {shape[0]}"
    if isinstance(path, str) and (problem := _wrapped(path)):
        yield problem
    elif classes is not None:
        # Comparisons of bytes: a millisecond for 16 million pixels, beside decoding some 100.
        wrong = labels[(labels >= classes) & (labels != ignore_index)]
        if wrong.size:
            found = ", ".join(map(str, np.unique(wrong)[:8]))
            yield (
                f"the label map {path} holds {found} (after reduce_zero_label, if set) in {wrong.size} pixels, "
                f"wanted 0 … {classes - 1}, or {ignore_index} to ignore"
            )


def _wrapped(path: str) -> str:
    """What of a file mmseg loses, as it reads the lowest 8 bits; empty if nothing."""
    try:
        with Image.open(path) as image:
            if image.mode in LABEL_MODES:
                return ""
            highest = np.asarray(image).max() if image.mode in DEEP_MODES else 0
            if highest < 256 and image.mode in DEEP_MODES:
                return ""
            return f"the label map {path} is of mode {image.mode}, up to {highest}: it is read with 8 bits"
    except UNREADABLE:
        # Not an image file that Pillow knows, or in storage of another kind; it was loaded by other means.
        return ""


def place(sample: Any) -> tuple[str, Any]:
    """File and id of a sample's image."""
    sample = sample if isinstance(sample, dict) else {}
    return str(sample.get("img_path") or "an image without img_path"), sample.get("img_id")
