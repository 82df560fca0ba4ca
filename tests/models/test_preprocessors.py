"""Preprocessors for any channels: with three they are mmdet's and mmseg's."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData

import mmmamba.detection  # noqa: F401  (registers them, as custom_imports of the configs do)
from mmmamba.errors import UsageError

from mmdet.structures import DetDataSample  # isort: skip
from mmseg.structures import SegDataSample  # isort: skip

NAMES = {"DetDataPreprocessor": DetDataSample, "SegDataPreProcessor": SegDataSample}
COLOURS = dict(mean=[120.0, 110.0, 100.0], std=[50.0, 60.0, 70.0], bgr_to_rgb=True)
FOUR = dict(mean=[3.0, 2.0, 1.0, 9.0], std=[1.0, 1.0, 1.0, 2.0], bgr_to_rgb=True)


def data(name: str, channels: int, dtype: torch.dtype = torch.uint8) -> dict:
    images = [torch.arange(channels * 64).view(channels, 8, 8).to(dtype) for _ in range(2)]
    samples = [NAMES[name](metainfo=dict(img_shape=(8, 8))) for _ in images]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, 8, 8, dtype=torch.long))
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_with_three_channels_they_are_theirs(name: str, training: bool) -> None:
    # mmseg wants a size in training alone.
    size = dict(size=(8, 8)) if name.startswith("Seg") else {}
    theirs = f"mmseg.{name}" if size else f"mmdet.{name}"
    found = [
        MODELS.build(dict(type=kind, **COLOURS, **size))(data(name, 3), training)["inputs"]
        for kind in (theirs, f"AnyChannels{name}")
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_four_channels(name: str, dtype: torch.dtype) -> None:
    given = data(name, 4, dtype)
    blue, green, red, fourth = given["inputs"][0].float()
    found = MODELS.build(dict(type=f"AnyChannels{name}", **FOUR))(given)["inputs"][0]
    assert torch.equal(found, torch.stack([red - 3, green - 2, blue - 1, (fourth - 9) / 2]))


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_told(name: str) -> None:
    kind = f"AnyChannels{name}"
    with pytest.raises(UsageError, match=r"has 3 channels and data_preprocessor.mean 4"):
        MODELS.build(dict(type=kind, **FOUR))(data(name, 3))
    for wrong in (dict(mean=[1.0]), dict(mean=[1.0, 2.0], std=[1.0])):
        with pytest.raises(UsageError, match="wanted both, as long as one another, or none"):
            MODELS.build(dict(type=kind, **wrong))
    with pytest.raises(UsageError, match="exclude each other"):
        MODELS.build(dict(type=kind, bgr_to_rgb=True, rgb_to_bgr=True))
