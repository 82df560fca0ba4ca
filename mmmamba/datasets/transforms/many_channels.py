"""Steps of mmcv and mmseg that stop at three or four channels, for images of more."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, Pad
from mmengine.registry import TRANSFORMS

from ...errors import UsageError

MOST = 4
"""Channels that OpenCV pads at a time."""


@TRANSFORMS.register_module()
class PadAnyChannels(Pad):
    """mmcv's `Pad`, with the same arguments, for images of any number of channels."""

    def _pad_img(self, results: dict) -> None:
        image_HWC = results["img"]
        channels = image_HWC.shape[2]
        fill = self.pad_val.get("img", 0)
        fills = [fill] * channels if np.isscalar(fill) else list(fill)
        if len(fills) != channels:
            raise UsageError(
                f"pad_val has {len(fills)} values for the image, which has {channels} channels"
            )
        parts = []
        for first in range(0, channels, MOST):
            own = slice(first, first + MOST)
            pad = Pad(
                self.size,
                self.size_divisor,
                self.pad_to_square,
                dict(img=tuple(fills[own])),
                self.padding_mode,
            )
            padded = pad.transform(dict(img=image_HWC[..., own]))
            parts.append(np.atleast_3d(padded.pop("img")))
        # What mmcv leaves is the same of all parts, but for the number of channels.
        results.update(padded, img=np.concatenate(parts, axis=2))
        results["pad_shape"] = results["img"].shape


@TRANSFORMS.register_module()
class PhotoMetricDistortionOfRGB(BaseTransform):
    """mmseg's `PhotoMetricDistortion` of the first three channels, which are red, green, blue.

    What lies behind them (thermal, depth) is a measurement, and stays as it is.

    Args:
        settings: those of `PhotoMetricDistortion`.
    """

    def __init__(self, **settings: Any) -> None:
        # By name: mmseg takes a second to import, which detectors need not spend.
        self.distortion = TRANSFORMS.build(dict(type="mmseg.PhotoMetricDistortion", **settings))

    def transform(self, results: dict) -> dict:
        image_HWC = results["img"]
        # Of 8 bits, in blue, green, red; beside 16 bits of a second image colours stay 0 … 255.
        colours = np.ascontiguousarray(image_HWC[..., 2::-1]).astype(np.uint8)
        changed = self.distortion.transform(dict(img=colours))["img"]
        results["img"] = image_HWC.copy()
        results["img"][..., :3] = changed[..., ::-1]
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.distortion})"
