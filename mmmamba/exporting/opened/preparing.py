"""An image at the size that a file's metadata tell, as the exported model's tests had it."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from ..metadata import Inputs
from ..preparing import centre, padded_size, resized, steps_of_size


@TRANSFORMS.register_module()
class PrepareForFile(BaseTransform):
    """Resizes, cuts and pads an image (H, W, …) as `Inputs` say.

    Padding behind it is the preprocessor's.

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
        for size in steps_of_size((old_height, old_width), self.inputs):
            # Grey images keep their two axes.
            made = resized(image if image.ndim == 3 else image[..., None], size, self.inputs)
            image = made if image.ndim == 3 else made[..., 0]
        height, width = image.shape[:2]
        results["scale_factor"] = width / old_width, height / old_height
        image = centre(image, self.inputs)
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
        most = padded_size((height, width), self.inputs)
        down, right = most[0] - height, most[1] - width
        top, left = (down // 2, right // 2) if centred else (0, 0)
        sides = top, down - top, left, right - left
        # The values are told in the graph's order, and the image has the file's.
        values = self.inputs.pad_value
        if self.inputs.exchanges:
            values = (*values[2::-1], *values[3:])
        filled = np.empty((*most, *image.shape[2:]), image.dtype)
        filled[...] = values if image.ndim == 3 else values[0]
        filled[top : top + height, left : left + width] = image
        return filled, sides
