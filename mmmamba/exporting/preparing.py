"""Images as an exported file takes them, prepared as its metadata say."""

from __future__ import annotations

import math
from typing import NamedTuple

import mmcv
import numpy as np

from ..errors import UsageError
from .metadata import Inputs, Size


class Prepared(NamedTuple):
    """An image as the file takes it, and where the image lies in it."""

    image: np.ndarray
    """(C, H, W) float32."""
    seen: Size
    """What `image_sizes` say of it."""
    inner: Size
    """Height and width of the image without any padding."""
    corner: tuple[int, int]
    """Pixels above and on the left of it."""
    factor: tuple[float, float]
    """Pixels of `image` to one of the original, down and across."""


def prepare(image: np.ndarray, inputs: Inputs) -> Prepared:
    """An image of 8 bits as OpenCV reads files, (H, W, 3) in blue, green, red, or (H, W).

    Pairs are as `LoadPairedImage` reads them, red first.

    Raises:
        UsageError: it has other channels than the file takes.
    """
    image = image[..., None] if image.ndim == 2 else image
    if image.shape[2] != inputs.channels:
        raise UsageError(
            f"an image has {image.shape[2]} channels and the file takes {inputs.channels}"
        )
    if inputs.exchanges:
        image = image[..., [2, 1, 0, *range(3, inputs.channels)]]
    old = _size(image)
    for size in steps_of_size(old, inputs):
        image = resized(image, size, inputs)
    factor = image.shape[0] / old[0], image.shape[1] / old[1]
    image = centre(image, inputs)
    inner = _size(image)
    outer = padded_size(inner, inputs)
    top, left = 0, 0
    if inputs.pad_place == "centre":
        top, left = ((all_of_it - part) // 2 for all_of_it, part in zip(outer, inner))
    padded = np.empty((*outer, inputs.channels), np.float32)
    padded[:] = inputs.pad_value
    padded[top : top + inner[0], left : left + inner[1]] = image
    normal = (padded - np.array(inputs.mean, np.float32)) / np.array(inputs.std, np.float32)
    return Prepared(
        np.ascontiguousarray(normal.transpose(2, 0, 1)),
        outer if inputs.sizes_with_padding else inner,
        inner,
        (top, left),
        factor,
    )


def resized(image: np.ndarray, size: Size, inputs: Inputs) -> np.ndarray:
    """An image (H, W, C) of 8 bits at a height and width, by what the metadata name."""
    height, width = size
    # OpenCV and Pillow drop a last axis of one channel.
    plain = image[..., 0] if image.shape[2] == 1 else image
    made = mmcv.imresize(
        plain, (width, height), interpolation=inputs.interpolation, backend=inputs.backend
    )
    return made.reshape(height, width, -1)


def centre(image: np.ndarray, inputs: Inputs) -> np.ndarray:
    """The centre of an image (H, W, …) that `crop` leaves."""
    if inputs.crop is None:
        return image
    # Halves to the even number, as OpenMMLab's `CenterCrop` has them.
    top, left = (max(round((a - b) / 2), 0) for a, b in zip(image.shape, inputs.crop))
    return image[top : top + inputs.crop[0], left : left + inputs.crop[1]]


def steps_of_size(old: Size, inputs: Inputs) -> list[Size]:
    """The heights and widths that an image is resized to, one after the other."""
    first = _resized(old, inputs)
    steps = [] if first == old else [first]
    if inputs.multiple > 1:
        limits = inputs.size or (math.inf, math.inf)
        second = tuple(
            min(math.ceil(side / inputs.multiple) * inputs.multiple, limit)
            for side, limit in zip(first, limits)
        )
        if second != first:
            steps.append((int(second[0]), int(second[1])))
    return steps


def _resized(old: Size, inputs: Inputs) -> Size:
    scale = inputs.scale or old
    if inputs.resize == "stretch":
        return inputs.size or (scale[1], scale[0])
    if inputs.resize == "short_edge":
        height, width = (int(min(scale) * side / min(old)) for side in old)
        return height, width
    factors = [1.0]
    if inputs.resize != "none":
        factors = [max(scale) / max(old), min(scale) / min(old)]
    if inputs.size:
        factors += [all_of_it / side for all_of_it, side in zip(inputs.size, old)]
    lengths = [side * min(factors) for side in old]
    if inputs.resize != "letterbox":
        height, width = (max(int(length + 0.5), 1) for length in lengths)
        return height, width
    # Rounding up must not make a side a pixel too long.
    limits = inputs.size or (max(scale),) * 2
    height, width = (min(math.ceil(length), limit) for length, limit in zip(lengths, limits))
    return height, width


def padded_size(inner: Size, inputs: Inputs) -> Size:
    """Height and width of what the file gets of an image."""
    if fixed := inputs.size or inputs.pad_to:
        return fixed
    divisor = inputs.size_divisor
    height, width = (math.ceil((side + inputs.pad_extra) / divisor) * divisor for side in inner)
    return height, width


def _size(image: np.ndarray) -> Size:
    height, width = image.shape[:2]
    return height, width
