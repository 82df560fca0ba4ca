"""An image at the size that a file's metadata tell, as the exported model's tests had it."""

from __future__ import annotations

import math
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from ..metadata import Inputs


@TRANSFORMS.register_module()
class PrepareForFile(BaseTransform):
    """Resizes and pads an image (H, W, …) as `Inputs` say; padding behind it is the preprocessor's.

    Leaves `scale_factor` (width, height), `img_shape` and, of centred images, `pad_param`: the
    pixels added at (top, bottom, left, right).

    Args:
        inputs: fields of `Inputs`.
    """

    def __init__(self, **inputs: Any) -> None:
        self.inputs = Inputs(**inputs)

    def transform(self, results: dict) -> dict:
        image = results["img"]
        old_height, old_width = image.shape[:2]
        height, width = resized_size(self.inputs, old_height, old_width)
        if (height, width) != (old_height, old_width):
            image = mmcv.imresize(image, (width, height), interpolation="bilinear", backend="cv2")
        results["scale_factor"] = width / old_width, height / old_height
        centred = self.inputs.pad_place == "centre"
        if centred or self.inputs.sizes_with_padding:
            image, results["pad_param"] = self._padded(image, centred)
            if not centred:
                del results["pad_param"]
        results.update(img=image, img_shape=image.shape[:2], keep_ratio=True)
        return results

    def _padded(self, image: np.ndarray, centred: bool) -> tuple[np.ndarray, tuple[int, ...]]:
        """The image with its padding, and how many pixels that is on each side."""
        height, width = image.shape[:2]
        most = padded_size(self.inputs, height, width)
        down, right = most[0] - height, most[1] - width
        top, left = (down // 2, right // 2) if centred else (0, 0)
        sides = top, down - top, left, right - left
        # The values are told in the graph's order, and the image has the file's.
        values = self.inputs.pad_value
        if self.inputs.channel_order == "rgb":
            values = values[::-1]
        filled = np.empty((*most, *image.shape[2:]), image.dtype)
        filled[...] = values if image.ndim == 3 else values[0]
        filled[top : top + height, left : left + width] = image
        return filled, sides


def resized_size(inputs: Inputs, height: int, width: int) -> tuple[int, int]:
    """Height and width of an image once it is resized."""
    if inputs.resize == "stretch":
        height, width = inputs.size or inputs.scale[::-1]
    else:
        ratio = _ratio(inputs, height, width)
        height, width = _scaled(height, ratio, inputs), _scaled(width, ratio, inputs)
        if inputs.size is not None:
            # Rounding must not make a side a pixel too long.
            height, width = min(height, inputs.size[0]), min(width, inputs.size[1])
    return _next(height, inputs.multiple), _next(width, inputs.multiple)


def _ratio(inputs: Inputs, height: int, width: int) -> float:
    """How much larger the image becomes."""
    ratios = []
    if inputs.size is not None:
        ratios += [inputs.size[0] / height, inputs.size[1] / width]
    if inputs.resize == "none":
        return min([1.0, *ratios])
    if inputs.scale is not None:
        long, short = max(inputs.scale), min(inputs.scale)
        ratios += [long / max(height, width), short / min(height, width)]
    return min(ratios)


def _scaled(length: int, ratio: float, inputs: Inputs) -> int:
    # The latter as mmcv rounds sides.
    exact = length * ratio
    return math.ceil(exact) if inputs.resize == "letterbox" else int(exact + 0.5)


def padded_size(inputs: Inputs, height: int, width: int) -> tuple[int, int]:
    """Height and width of an image of a size once it is padded."""
    fixed = inputs.size or inputs.pad_to
    if fixed is not None:
        return fixed
    divisor, more = inputs.size_divisor, inputs.pad_extra
    return _next(height + more, divisor), _next(width + more, divisor)


def _next(length: int, divisor: int) -> int:
    return -(-length // divisor) * divisor
