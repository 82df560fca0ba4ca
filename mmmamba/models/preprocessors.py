"""Data preprocessors for images of any number of channels; mmdet's and mmseg's take 1 or 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models import DetDataPreprocessor
from mmengine.registry import MODELS
from mmseg.models import SegDataPreProcessor
from torch import Tensor

from ..errors import UsageError


class _AnyChannels:
    """In front of one of theirs: means and deviations of any number, colours put in order.

    Args:
        mean, std: of each channel as the network gets them, in the units of the files.
        bgr_to_rgb, rgb_to_bgr: exchange the first and the third channel; others stay where they
            are.
        settings: theirs.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if (mean is None) != (std is None) or len(mean or ()) != len(std or ()):
            raise UsageError(
                f"data_preprocessor has mean={mean} and std={std}: wanted both, as long as one "
                "another, or none"
            )
        if bgr_to_rgb and rgb_to_bgr:
            raise UsageError("data_preprocessor: bgr_to_rgb and rgb_to_bgr exclude each other")
        self._exchanges = bgr_to_rgb or rgb_to_bgr
        if mean is not None:
            # Their constructors refuse other numbers than 1 and 3; what they compute takes any.
            for name, values in (("mean", mean), ("std", std)):
                values_C11 = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
                self.register_buffer(name, values_C11, persistent=False)
            self._enable_normalize = True

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalised images in one batch, with what their samples say of it."""
        data = self.cast_data(data)
        inputs = data["inputs"]
        if isinstance(inputs, Tensor):
            inputs = self._in_order(inputs)
        else:
            inputs = [self._in_order(image) for image in inputs]
        return super().forward({**data, "inputs": inputs}, training)

    def _in_order(self, image: Tensor) -> Tensor:
        """An image `(C, H, W)`, or several, with its channels as the network wants them."""
        channels = image.shape[-3]
        if self._enable_normalize and channels != len(self.mean):
            raise UsageError(
                f"an image has {channels} channels and data_preprocessor.mean {len(self.mean)}: "
                "color_type of LoadImageFromFile decides what is read of a file (docs/channels.md)"
            )
        # 16 bits have few operators of their own.
        image = image.float()
        if not self._exchanges or channels < 3:
            return image
        return image[..., [2, 1, 0, *range(3, channels)], :, :]


@MODELS.register_module()
class AnyChannelsDetDataPreprocessor(_AnyChannels, DetDataPreprocessor):
    """mmdet's `DetDataPreprocessor` for images of any number of channels."""


@MODELS.register_module()
class AnyChannelsSegDataPreProcessor(_AnyChannels, SegDataPreProcessor):
    """mmseg's `SegDataPreProcessor` for images of any number of channels."""
