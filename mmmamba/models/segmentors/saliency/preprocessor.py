"""Batches of images that the pipeline has brought to one size."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from mmseg.models import SegDataPreProcessor

from mmmamba.errors import UsageError


@MODELS.register_module()
class SaliencyDataPreprocessor(SegDataPreProcessor):
    """mmseg's `SegDataPreProcessor` for samples without classes.

    mmseg's own fills images of a training batch up to one size, together with their classes. A
    saliency map says how much of all looking falls where: there is nothing to fill it with.

    Raises:
        UsageError: images of a batch of several sizes.
    """

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Normalised images in one batch, with their samples."""
        sizes = {tuple(image.shape[1:]) for image in data["inputs"]}
        if len(sizes) > 1:
            found = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
            raise UsageError(
                f"images of one batch are {found} pixels: the pipeline has to bring them to one "
                "size, dict(type='Resize', scale=(256, 256), keep_ratio=False)"
            )
        # Whether it trains decides about padding alone.
        return super().forward(data, training=False)
