"""Images are counted as a run would see them, wrapped data sets included."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmmamba.config.find import find_config
from mmmamba.datasets.counting import count_images
from mmmamba.datasets.shapes import ShapesSpec, make_shapes
from mmmamba.errors import UsageError


def test_counting(tmp_path: Path) -> None:
    root = make_shapes(tmp_path / "shapes", ShapesSpec(num_train=3, num_val=1, size=64))
    cfg = Config.fromfile(find_config("mask_rcnn/vmamba_t_1x_coco"))
    dataset = cfg.train_dataloader.dataset
    dataset.update(
        data_root=str(root),
        ann_file="annotations/instances_train.json",
        data_prefix=dict(img="train/"),
        metainfo=dict(classes=("circle", "square", "triangle")),
    )
    assert count_images(cfg) == 3
    cfg.train_dataloader.dataset = dict(type="RepeatDataset", times=4, dataset=dataset)
    assert count_images(cfg) == 12
    dataset.ann_file = "annotations/none.json"
    with pytest.raises(UsageError, match="cannot be counted"):
        count_images(cfg)
