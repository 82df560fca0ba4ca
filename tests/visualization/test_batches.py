"""A batch is drawn as the network gets it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from mmmamba.structures.classes import Classes
from mmmamba.visualization.sheets.batches import Preprocessed, draw_batch

CLASSES = Classes(("cat",), ((250, 0, 0),), (1,))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("red_first", [True, False])
def test_colours_and_padding(tmp_path: Path, normalised: bool, red_first: bool) -> None:
    image = torch.zeros(3, 40, 80, dtype=torch.uint8)
    # Blue, as OpenCV reads it: the first channel.
    image[0], image[1] = 200, 40
    masks = np.zeros((1, 40, 80), np.uint8)
    masks[:, 20:, 40:] = 1
    found = InstanceData(
        bboxes=torch.tensor([[40.0, 20, 80, 40]]),
        labels=torch.tensor([0]),
        masks=BitmapMasks(masks, 40, 80),
    )
    sample = DetDataSample(
        gt_instances=found, metainfo=dict(img_path="a/b.jpg", img_shape=(40, 80))
    )
    values = dict(mean=[123.0, 116.0, 103.0], std=[58.0, 57.0, 57.0]) if normalised else {}
    preprocessor = DetDataPreprocessor(
        **values, bgr_to_rgb=red_first, pad_size_divisor=80, pad_mask=True
    )
    batch = preprocessor(dict(inputs=[image], data_samples=[sample]), True)
    assert batch["inputs"].shape == (1, 3, 80, 80)
    done = Preprocessed(
        getattr(preprocessor, "mean", None), getattr(preprocessor, "std", None), red_first
    )
    path = tmp_path / "batch.png"
    assert draw_batch(batch, CLASSES, path, done)
    sheet = cv2.imread(str(path))[-480 - 40 :, 8:488]
    # The square cell is the last thing above the legend: its rows hold the image and its padding.
    blue, green, red = (int(value) for value in sheet[100, 40])
    assert abs(blue - 200) < 8 and abs(green - 40) < 8 and red < 8
    assert sheet[200, 440, 2] > 100, "the mask is where the object is"


def test_what_is_no_batch(tmp_path: Path) -> None:
    assert not draw_batch([1, 2], CLASSES, tmp_path / "a.png", Preprocessed())
    assert not draw_batch(dict(inputs=[1]), CLASSES, tmp_path / "a.png", Preprocessed())
