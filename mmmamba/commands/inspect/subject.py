"""An image as a network gets it, through the test pipeline of its config."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from ...errors import UsageError
from ...inference.preparing import Preparation
from ...inference.sources import UnreadableImage
from ...visualization.canvas import displayed
from ...visualization.picture import Picture


@dataclass(frozen=True)
class Subject:
    """What a network is shown, and the picture to draw on."""

    inputs: Tensor
    """`(1, C, H, W)`, normalised and padded, on the model's device."""
    sample: Any
    """mmengine's data sample, with the sizes that predictions need."""
    picture: Picture
    """The image as the network sees it.

    It is resized by the pipeline, without the padding at the bottom and right.
    """
    file_CHW: Tensor
    """The image as the loader reads it: by default blue, green, red, 0 … 255."""

    def from_file(self, x: float, y: float) -> tuple[float, float]:
        """A pixel of the image file as one of the picture."""
        across, down = self.sample.metainfo.get("scale_factor", (1.0, 1.0))
        # Letterboxed images are moved as well as scaled, and so are those cut to their centre.
        top, _, left, _ = self.sample.metainfo.get("pad_param", (0, 0, 0, 0))
        above, before = self._cut(down, across)
        return x * across + left - before, y * down + top - above

    def _cut(self, down: float, across: float) -> tuple[int, int]:
        """Pixels above and on the left of what `CenterCrop` left of the resized image."""
        if "pad_param" in self.sample.metainfo:
            return 0, 0
        seen = self.sample.metainfo["img_shape"]
        cut = []
        for side, factor, left in zip(self.file_CHW.shape[1:], (down, across), seen):
            cut.append(max(round((round(side * factor) - left) / 2), 0))
        return cut[0], cut[1]


def read_subject(model: nn.Module, cfg: Config, path: str | PathLike) -> Subject:
    """Read an image and prepare it as the config's tests do.

    Raises:
        UsageError: no such image, or a config without a test pipeline.
    """
    if not Path(path).is_file():
        raise UsageError(f"there is no image {path}, seen from {Path.cwd()}")
    preparation = Preparation.of_config(cfg, cfg.filename)
    try:
        image_HWC = preparation.read(path)
    except UnreadableImage as error:
        # The path is in the message already.
        reason = str(error).removeprefix(f"{path}: ")
        raise UsageError(f"{path} cannot be read as an image: {reason}") from error
    packed = preparation.pack(image_HWC, path=str(path))
    batch = dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]])
    data = model.data_preprocessor(batch, False)
    # From blue, green, red to what is drawn on.
    seen_HW3 = displayed(packed["inputs"].permute(1, 2, 0).numpy())[..., ::-1].copy()
    height, width = data["inputs"].shape[2:]
    # The preprocessor pads at the bottom and right, so that strides divide the sides.
    filled = seen_HW3.shape[0] / height, seen_HW3.shape[1] / width
    return Subject(
        data["inputs"],
        data["data_samples"][0],
        Picture(seen_HW3, filled),
        torch.from_numpy(np.atleast_3d(image_HWC)).permute(2, 0, 1),
    )


def prepare(model: nn.Module, images_NCHW: Tensor) -> Tensor:
    """Images as files hold them, normalised as the model wants them, on its device."""
    return model.data_preprocessor(dict(inputs=list(images_NCHW)), False)["inputs"]
