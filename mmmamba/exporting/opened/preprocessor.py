"""Images as the graph of a file takes them: in order, normalised, padded to its size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ...errors import UsageError
from ..metadata import Metadata
from ..preparing import padded_size


class ExportedPreprocessor(BaseDataPreprocessor):
    """What the data preprocessor of the exported model did to images, from the file's metadata.

    Args:
        metadata: of the file.
        name: what errors call it.
    """

    def __init__(self, metadata: Metadata, name: str) -> None:
        super().__init__()
        self.name, self.inputs = name, metadata.inputs
        for key in ("mean", "std", "pad_value"):
            values = torch.tensor(getattr(self.inputs, key)).float().view(-1, 1, 1)
            self.register_buffer(key, values, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Images in one batch, and samples that know how they were padded."""
        data = self.cast_data(data)
        images = [self._prepared(image) for image in data["inputs"]]
        height, width = self._size(images)
        samples = data.get("data_samples") or ()
        for image, sample in zip(images, samples):
            bottom, right = height - image.shape[1], width - image.shape[2]
            # mmdet reads the first two, mmseg the last one: left, right, top, bottom.
            sample.set_metainfo(
                dict(
                    batch_input_shape=(height, width),
                    pad_shape=(height, width),
                    img_padding_size=(0, right, 0, bottom),
                )
            )
        batch = self.pad_value.expand(self.inputs.channels, height, width)
        batch = batch.repeat(len(images), 1, 1, 1)
        for place, image in zip(batch, images):
            place[:, : image.shape[1], : image.shape[2]] = image
        normalised = (batch - self.mean) / self.std
        return dict(inputs=normalised, data_samples=data.get("data_samples"))

    def _prepared(self, image: Tensor) -> Tensor:
        channels = image.shape[0]
        if channels != self.inputs.channels:
            raise UsageError(
                f"an image has {channels} channels and {self.name} takes {self.inputs.channels}: "
                "color_type of LoadImageFromFile decides what is read of a file (docs/channels.md)"
            )
        image = image.float()
        # What lies behind the colours stays in its place.
        if self.inputs.exchanges:
            image = image[[2, 1, 0, *range(3, channels)]]
        return image

    def _size(self, images: list[Tensor]) -> tuple[int, int]:
        """Height and width of the batch."""
        height = max(image.shape[1] for image in images)
        width = max(image.shape[2] for image in images)
        inputs = self.inputs
        # The steps before it added that already.
        if inputs.pad_place == "centre":
            inputs = replace(inputs, pad_extra=0)
        size = padded_size((height, width), inputs)
        if inputs.size is None:
            # What is larger than `pad_to` is padded to nothing.
            return max(size[0], height), max(size[1], width)
        check_size(self.name, size, (height, width))
        return size


def check_size(name: str, taken: tuple[int, int], found: tuple[int, int]) -> None:
    """Make sure that images fit into those that a file takes.

    Raises:
        UsageError: they do not.
    """
    if found[0] > taken[0] or found[1] > taken[1]:
        (height, width), (most, widest) = found, taken
        raise UsageError(
            f"an image is {height}x{width} pixels after the test pipeline, and {name} takes "
            f"{most}x{widest}: export it with --size {height} {width}, or with --dynamic, or let "
            "the pipeline resize images"
        )


def as_arrays(**tensors: Any) -> dict[str, Any]:
    """Tensors as NumPy has them."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
