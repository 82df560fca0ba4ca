"""Images as the graph of a file takes them: in order, normalised, padded to its size."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn.functional import pad

from ...errors import UsageError
from ..metadata import Metadata


class ExportedPreprocessor(BaseDataPreprocessor):
    """What the data preprocessor of the exported model did to images, from the file's metadata.

    Args:
        metadata: of the file.
        name: what errors call it.
    """

    def __init__(self, metadata: Metadata, name: str) -> None:
        super().__init__()
        self.name, self.inputs = name, metadata.inputs
        for key in ("mean", "std"):
            values = getattr(self.inputs, key)
            held = None if values is None else torch.tensor(values).float().view(-1, 1, 1)
            self.register_buffer(key, held, persistent=False)

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
        padded = []
        for image in images:
            filling = (0, width - image.shape[2], 0, height - image.shape[1])
            padded.append(pad(image, filling, value=self.inputs.pad_value))
        return dict(inputs=torch.stack(padded), data_samples=data.get("data_samples"))

    def _prepared(self, image: Tensor) -> Tensor:
        channels = image.shape[0]
        if channels != self.inputs.channels:
            raise UsageError(
                f"an image has {channels} channels and {self.name} takes {self.inputs.channels}: "
                "color_type of LoadImageFromFile decides what is read of a file (docs/channels.md)"
            )
        image = image.float()
        # Files are read as blue, green, red; what lies behind them stays in its place.
        if self.inputs.channel_order == "rgb" and channels >= 3:
            image = image[[2, 1, 0, *range(3, channels)]]
        return image if self.mean is None else (image - self.mean) / self.std

    def _size(self, images: list[Tensor]) -> tuple[int, int]:
        """Height and width of the batch."""
        height = max(image.shape[1] for image in images)
        width = max(image.shape[2] for image in images)
        if self.inputs.size is None:
            divisor = self.inputs.size_divisor or 1
            return -(-height // divisor) * divisor, -(-width // divisor) * divisor
        check_size(self.name, self.inputs.size, (height, width))
        return tuple(self.inputs.size)


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
