"""An image as a detector or segmentor gets it, through the test pipeline of its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ...datasets.checks.splits import plain_datasets
from ...errors import UsageError
from ...visualization.style import Picture


@dataclass(frozen=True)
class Subject:
    """What a network is shown, and the picture to draw on."""

    inputs: Tensor
    """`(1, 3, H, W)`, normalised and padded, on the model's device."""
    sample: Any
    """mmengine's data sample, with the sizes that predictions need."""
    picture: Picture
    """The image as the network sees it: resized by the pipeline, without the padding at the bottom and right."""
    file_3HW: Tensor
    """The image as the file holds it: blue, green, red, 0 … 255."""

    def from_file(self, x: float, y: float) -> tuple[float, float]:
        """A pixel of the image file as one of the picture."""
        across, down = self.sample.metainfo.get("scale_factor", (1.0, 1.0))
        top, _, left, _ = self.sample.metainfo.get("pad_param", (0, 0, 0, 0))
        return x * across + left, y * down + top


def read_subject(model: nn.Module, cfg: Config, path: str | PathLike) -> Subject:
    """Read an image and prepare it as the config's tests do.

    Raises:
        UsageError: no such image, or a config without a test pipeline.
    """
    if not Path(path).is_file():
        raise UsageError(f"there is no image {path}, seen from {Path.cwd()}")
    image_HW3 = mmcv.imread(path)
    if image_HW3 is None:
        raise UsageError(f"{path} cannot be read as an image")
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmdet")):
        packed = Compose(_pipeline(cfg))(dict(img_path=str(path), img_id=0))
    data = model.data_preprocessor(
        dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]]), False
    )
    seen = packed["inputs"].permute(1, 2, 0).numpy()[..., ::-1].clip(0, 255).astype(np.uint8)
    shares = tuple(ours / whole for ours, whole in zip(seen.shape[:2], data["inputs"].shape[2:]))
    return Subject(
        data["inputs"],
        data["data_samples"][0],
        Picture(np.ascontiguousarray(seen), shares),
        torch.from_numpy(image_HW3).permute(2, 0, 1),
    )


def prepare(model: nn.Module, images_N3HW: Tensor) -> Tensor:
    """Images as files hold them, normalised as the model wants them, on its device."""
    return model.data_preprocessor(dict(inputs=list(images_N3HW)), False)["inputs"]


def _pipeline(cfg: Config) -> list[Mapping]:
    """The test data's transforms without those that read annotations."""
    dataset = next(plain_datasets((cfg.get("test_dataloader") or {}).get("dataset")), {})
    if not dataset.get("pipeline"):
        raise UsageError(
            f"{cfg.filename} has no test_dataloader.dataset.pipeline, which prepares images for the model"
        )
    return [step for step in dataset["pipeline"] if "LoadAnnotations" not in str(step["type"])]
