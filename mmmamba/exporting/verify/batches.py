"""Images that a file is verified on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ...datasets.transforms import LoadPairedImage
from ...errors import UsageError
from ..metadata import Inputs, Size
from ..preparing import Prepared, padded_size, prepare

AROUND = 224
TRIALS = (
    ((224, 224), 1),
    ((193, 257), 2),
    ((160, 320), 1),
    ((97, 65), 4),
    ((353, 289), 2),
    ((417, 351), 1),
)
"""Heights, widths and numbers of images for a dynamic file."""
SHAPES = 14
NOISE = 6.0


class Batch(NamedTuple):
    """The inputs of a run, and what to call them."""

    name: str
    inputs: dict[str, np.ndarray]


def trial_batches(
    inputs: Inputs,
    images: Sequence[str | Path] = (),
    around: int = AROUND,
    fixed: int = 1,
    second: str | Path | None = None,
) -> list[Batch]:
    """What a file is tried on: batches at its size, or six of six sizes for a dynamic file.

    Args:
        fixed: how many batches there are at the size of a file that takes no other.
        images: files of real images; drawn ones take their place if there are none.
        around: sizes of a dynamic file are chosen around this.
        second: second image of each, of files that take pairs.

    Raises:
        UsageError: a file is no image.
    """
    pictures = _Pictures(inputs, [read_image(path, inputs, second) for path in images])
    if inputs.size is not None:
        whole, count = bool(images), inputs.batch or 1
        return [pictures.batch(inputs.size, count, whole) for _ in range(fixed)]
    batches = [
        pictures.batch(_near(size, around, inputs), inputs.batch or count) for size, count in TRIALS
    ]
    if images and inputs.resize != "none":
        # As the config's own tests would take it.
        prepared = prepare(pictures.real[0], inputs)
        batches[0] = packed([prepared] * (inputs.batch or 1), inputs)
    return batches


class _Pictures:
    """Real images, then drawn ones, of any size."""

    def __init__(self, inputs: Inputs, real: list[np.ndarray]) -> None:
        self.inputs, self.real = inputs, real
        self._next = 0

    def batch(self, size: Size, count: int, whole: bool = False) -> Batch:
        """Images that fill a size; every second one leaves room for padding.

        Args:
            whole: real images keep their shape, as users will prepare them.
        """
        fixed = replace(self.inputs, size=size)
        exact = replace(fixed, resize="none", multiple=1, crop=None)
        made = []
        for index in range(count):
            number, self._next = self._next, self._next + 1
            if whole and number < len(self.real):
                made.append(prepare(self.real[number], fixed))
                continue
            height, width = size if index % 2 == 0 else (size[0] * 7 // 8, size[1] * 3 // 4)
            if self.real and not whole:
                real = self.real[number % len(self.real)]
                picture = cv2.resize(real, (width, height))
            else:
                picture = draw(height, width, self.inputs.channels, seed=number)
            made.append(prepare(picture, exact))
        return packed(made, self.inputs)


def draw(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth light, shapes before it and a little noise, (H, W, C) of 8 bits.

    White noise is no image: networks answer it in a narrow range. Without noise, places that look
    alike would have equal scores, which the last digit puts in order.
    """
    random = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = random.uniform(60, 190, channels)
    picture = light + random.uniform(-60, 60, channels) * down[..., None]
    picture += random.uniform(-60, 60, channels) * across[..., None]
    for index in range(SHAPES):
        y, x = random.uniform(0, 1, 2)
        high, wide = random.uniform(0.04, 0.25, 2)
        rows, columns = np.abs(down - y) / high, np.abs(across - x) / wide
        inside = np.maximum(rows, columns) < 1 if index % 2 else rows**2 + columns**2 < 1
        picture[inside] = random.uniform(0, 255, channels)
    picture += random.normal(0, NOISE, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def _near(size: Size, around: int, inputs: Inputs) -> Size:
    """A trial's size, in proportion, odd where it is odd, and as images reach the network."""
    height, width = (max(side * around // AROUND // 2, 1) * 2 + side % 2 for side in size)
    # Networks whose images are resized or padded to multiples may take no others.
    multiple = math.lcm(inputs.multiple, inputs.size_divisor)
    loose = replace(inputs, size=None, pad_to=None, pad_extra=0, size_divisor=multiple)
    return padded_size((height, width), loose)


def packed(made: Sequence[Prepared], inputs: Inputs) -> Batch:
    images = np.stack([one.image for one in made])
    arrays = dict(images=images)
    if "image_sizes" in inputs.names:
        arrays["image_sizes"] = np.array([one.seen for one in made], np.int64)
    count, _, height, width = images.shape
    return Batch(f"{count} of {height}×{width}", arrays)


def read_image(path: str | Path, inputs: Inputs, second: str | Path | None = None) -> np.ndarray:
    """An image, or a pair of them, as the config's loader reads it.

    Raises:
        UsageError: there is none, or one too few or too many.
    """
    if (second is not None) != (inputs.second_channels > 0):
        wanted = "pairs: name the second image too" if second is None else "single images"
        raise UsageError(f"{path}: the model takes {wanted} (--second)")
    if second is not None:
        return _read_pair(path, second, inputs)
    if inputs.channels not in (1, 3):
        kind = cv2.IMREAD_UNCHANGED
    else:
        kind = cv2.IMREAD_GRAYSCALE if inputs.channels == 1 else cv2.IMREAD_COLOR
    if not Path(path).is_file():
        raise UsageError(f"there is no image {path}, seen from {Path.cwd()}")
    image = cv2.imread(str(path), kind)
    if image is None:
        raise UsageError(f"{path} is no image of a known format, or damaged")
    return image


def _read_pair(path: str | Path, second: str | Path, inputs: Inputs) -> np.ndarray:
    load = LoadPairedImage(inputs.second_channels, inputs.second_color_type)
    try:
        return load.transform(dict(img_path=str(path), second_path=str(second)))["img"]
    # mmcv's loader asserts that OpenCV could decode the files.
    except (OSError, ValueError, AssertionError) as error:
        raise UsageError(f"{path} and {second} cannot be read as a pair: {error}") from error
