"""Every data set of configs/_base_ loads an image as its methods need it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

import mmmamba.detection  # noqa: F401  (registers PackMasks, as custom_imports of the configs do)
from mmmamba.datasets.shapes import CLASSES, ShapesSpec, make_shapes
from mmmamba.structures.packed_masks import PackedMasks

from .conftest import CONFIGS


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(
        tmp_path_factory.mktemp("data") / "shapes", ShapesSpec(num_train=3, num_val=1, size=64)
    )


def build(name: str, loader: str, **where: object) -> torch.utils.data.Dataset:
    cfg = Config.fromfile(CONFIGS / "_base_" / "datasets" / f"{name}.py")
    init_default_scope("mmdet" if name.startswith("coco") else "mmseg")
    return DATASETS.build({**cfg[loader].dataset, **where})


@pytest.mark.parametrize(
    ("name", "masks", "trained", "tested"),
    [
        ("coco_instance", True, (800, 800), (800, 800)),
        ("coco_instance_ms_crop", True, None, (800, 800)),
        ("coco_instance_lsj", True, (1024, 1024), (1024, 1024)),
        ("coco_detection", False, (800, 800), (800, 800)),
    ],
)
def test_coco(name: str, masks: bool, trained: tuple | None, tested: tuple, shapes: Path) -> None:
    for loader, split, size in (
        ("train_dataloader", "train", trained),
        ("val_dataloader", "val", tested),
    ):
        data = build(
            name,
            loader,
            data_root=str(shapes),
            ann_file=f"annotations/instances_{split}.json",
            data_prefix=dict(img=f"{split}/"),
            metainfo=dict(classes=CLASSES),
        )
        item = data[0]
        assert size is None or item["inputs"].shape[1:] == size
        found = item["data_samples"].gt_instances
        assert ("masks" in found) == masks
        if masks and split == "train":
            assert isinstance(found.masks, PackedMasks)
            assert (found.masks.height, found.masks.width) == tuple(item["inputs"].shape[1:])


@pytest.mark.parametrize(
    ("name", "crop", "side"), [("ade20k", (512, 512), 512), ("ade20k_640", (640, 640), 640)]
)
def test_ade20k(name: str, crop: tuple[int, int], side: int, tmp_path: Path) -> None:
    _write(tmp_path, {"images/{}/a.jpg": 3, "annotations/{}/a.png": 1}, ("training", "validation"))
    init_default_scope("mmseg")
    item = build(name, "train_dataloader", data_root=str(tmp_path))[0]
    labels = item["data_samples"].gt_sem_seg.data
    assert item["inputs"].shape[1] <= crop[0] and labels.shape[1:] == item["inputs"].shape[1:]
    assert set(labels.unique().tolist()) <= {4, 255}
    item = build(name, "val_dataloader", data_root=str(tmp_path))[0]
    assert min(item["inputs"].shape[1:]) == side
    # Not padded, and the labels at the image's own size.
    assert item["inputs"].shape[2] == round(side * 75 / 50)
    assert item["data_samples"].gt_sem_seg.data.shape == (1, 50, 75)


def test_cityscapes(tmp_path: Path) -> None:
    files = {"leftImg8bit/{}/x/a_leftImg8bit.png": 3, "gtFine/{}/x/a_gtFine_labelTrainIds.png": 1}
    _write(tmp_path, files, ("train", "val"))
    item = build("cityscapes", "train_dataloader", data_root=str(tmp_path))[0]
    assert 5 in item["data_samples"].gt_sem_seg.data
    assert (
        min(build("cityscapes", "val_dataloader", data_root=str(tmp_path))[0]["inputs"].shape[1:])
        == 1024
    )


@pytest.mark.parametrize(
    ("name", "second", "ignored"),
    [
        ("mfnet", "thermal", False),
        ("pst900", "thermal", False),
        ("nyu_depth_v2", "depth", True),
        ("sun_rgbd", "depth", True),
    ],
)
def test_pairs(name: str, second: str, ignored: bool, tmp_path: Path) -> None:
    _write(tmp_path, {"{}/a.png": 3}, ("rgb",))
    _write(tmp_path, {"{}/a.png": 1}, (second, "labels"))
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text("a\n")
    item = build(name, "train_dataloader", data_root=str(tmp_path))[0]
    labels = item["data_samples"].gt_sem_seg.data
    assert item["inputs"].shape[0] == 6 and labels.shape[1:] == item["inputs"].shape[1:]
    item = build(name, "val_dataloader", data_root=str(tmp_path))[0]
    assert item["inputs"].shape == (6, 50, 75)
    # Grey three times, above class 0 in the second image as in the labels.
    assert (item["inputs"][3:, :9] == 0).all() and (item["inputs"][3:, 9:] == 5).all()
    stored = {4, 255} if ignored else {0, 5}
    assert set(item["data_samples"].gt_sem_seg.data.unique().tolist()) == stored


def _write(root: Path, files: dict[str, int], splits: tuple[str, ...]) -> None:
    """An image of noise and a label map of class 5 with an upper row of 0."""
    rng = np.random.default_rng(0)
    for split in splits:
        for name, channels in files.items():
            path = root / name.format(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            label = np.full((50, 75), 5, dtype=np.uint8)
            label[:9] = 0
            cv2.imwrite(
                str(path),
                rng.integers(0, 256, (50, 75, 3), dtype=np.uint8) if channels == 3 else label,
            )
