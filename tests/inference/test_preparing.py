"""A config's test pipeline prepares images that have no annotations."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets.transforms import FilterAnnotations, LoadAnnotations
from mmengine.config import Config

from mmmamba.errors import UsageError
from mmmamba.inference import UnreadableImage
from mmmamba.inference.preparing import Preparation, without_annotations

LOAD = dict(type="LoadImageFromFile")
RESIZE = dict(type="Resize", scale=(40, 30), keep_ratio=False)
PACK = dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape"))


def config(*steps: dict) -> Config:
    dataset = dict(type="CocoDataset", pipeline=list(steps))
    return Config(dict(default_scope="mmdet", test_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize(
    "kind",
    [
        "LoadAnnotations",
        "mmdet.LoadAnnotations",
        "LoadPanopticAnnotations",
        "FilterAnnotations",
        LoadAnnotations,
        FilterAnnotations,
    ],
)
def test_steps_that_want_labels_are_left_out(kind: object) -> None:
    assert without_annotations([LOAD, dict(type=kind), RESIZE, PACK]) == [LOAD, RESIZE, PACK]


def test_images_are_read_and_packed(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    steps = LOAD, RESIZE, dict(type=LoadAnnotations, with_bbox=True), PACK
    preparation = Preparation.of_config(config(*steps), "mine.py")
    assert (preparation.read(tmp_path / "a.png") == image).all()
    packed = preparation.pack(image, 7, "a.png")
    assert packed["inputs"].shape == (3, 30, 40)
    sample = packed["data_samples"]
    assert (sample.img_id, sample.img_path, sample.ori_shape) == (7, "a.png", (60, 80))
    with pytest.raises(UnreadableImage, match="b.png: there is no such file"):
        preparation.read(tmp_path / "b.png")


@pytest.mark.parametrize("steps", [(), (RESIZE, PACK), (dict(type="LoadAnnotations"),)])
def test_a_pipeline_must_load_images(steps: tuple) -> None:
    with pytest.raises(UsageError, match="mine.py does not say how images are prepared"):
        Preparation.of_config(config(*steps), "mine.py")
