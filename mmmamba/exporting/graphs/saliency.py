"""SUM as a function of tensors, for images of one kind."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mmmamba.errors import UsageError
from mmmamba.models.segmentors.saliency.encoder import fits
from mmmamba.models.segmentors.saliency.segmentor import SUM, resized

from .base import Graph


class SaliencyGraph(Graph):
    """From images to `saliency` `(B, H, W)`, from 0 to 1, at the size of the images.

    The condition is the model's own, whatever the images are: a file is for one kind of images.

    Args:
        model: with the condition that is wanted.
        logits: give `logits` `(B, H, W)` instead, before the sigmoid.
    """

    task: ClassVar[str] = "saliency"

    def __init__(self, model: SUM, logits: bool = False):
        super().__init__()
        self.backbone, self.decode_head = model.backbone, model.decode_head
        self.output_names = ("logits",) if logits else ("saliency",)
        # A constant of the file.
        self.register_buffer("condition_1", torch.tensor([model.condition]), persistent=False)

    def check_size(self, size: tuple[int, int] | None) -> None:
        """Refuse sizes (height, width; None: any) that the network does not take."""
        if size is None or not all(map(fits, size)):
            found = "any size" if size is None else f"{size[0]} x {size[1]} pixels"
            raise UsageError(
                f"SUM takes images whose sides are multiples of 32, which a file for {found} is "
                "not for: give --size 256 256, or another such size, and leave out --dynamic"
            )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (images,) = inputs
        height, width = images.shape[-2:]
        known = isinstance(height, int) and isinstance(width, int)
        self.check_size((height, width) if known else None)
        condition_B = self.condition_1.expand(images.shape[0])
        logits_B1HW = self.decode_head(self.backbone(images), condition_B)
        logits_BHW = resized(logits_B1HW, (height, width))[:, 0]
        return (logits_BHW if self.output_names == ("logits",) else logits_BHW.sigmoid(),)
