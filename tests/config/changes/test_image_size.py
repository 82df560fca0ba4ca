"""`--imgsz` reaches all that prepares images, in training and tests."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from mmmamba.config.changes import apply_flags
from mmmamba.errors import UsageError

from .recipes import recipe

SIZES = {"scale", "scales", "img_scale", "size", "crop_size", "random_size_range", "border"}


def values(node: Any, key: str = "") -> list:
    """Every size in a config's data, hooks and preprocessor."""
    if isinstance(node, dict):
        return [v for k in node for v in values(node[k], k)]
    if key in SIZES and not isinstance(node, dict) and node is not None:
        return [node]
    if isinstance(node, (list, tuple)):
        return [v for one in node for v in values(one)]
    return []


def sizes(cfg: Config) -> str:
    found = [values(cfg.get(f"{split}_dataloader")) for split in ("train", "val", "test")]
    return str([*found, values(cfg.get("custom_hooks")), values(cfg.model.data_preprocessor)])


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("mask_rcnn/vmamba_t_1x_coco", ("1333", "800")),
        ("mask_rcnn/mambavision_t_3x_coco", ("1333", "800")),
        ("mask_rcnn/mambar_s_100e-lsj_coco", ("1024",)),
        ("yolo/vmamba_t_yolox_36e_coco", ("640",)),
        ("yolo/vmamba_t_rtmdet_36e_coco", ("640",)),
        ("mamba_yolo/mamba_yolo_t_300e_coco", ("640",)),
        ("mmdet::yolox/yolox_s_8xb8-300e_coco", ("640",)),
        ("mmdet::rtmdet/rtmdet_l_8xb32-300e_coco", ("1280",)),
        ("mmdet::dino/dino-4scale_r50_8xb2-12e_coco", ("1333", "4200")),
        ("mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco", ("1333", "1024")),
    ],
)
def test_detectors(name: str, old: tuple[str, ...]) -> None:
    cfg = recipe(name)
    before = sizes(cfg)
    assert all(side in before for side in old)
    told = apply_flags(cfg, imgsz=320)
    after = sizes(cfg)
    assert not any(side in after for side in old)
    assert "train_dataloader" in "".join(told) and "test_dataloader" in "".join(told)
    resize = cfg.test_dataloader.dataset.pipeline[1]
    assert resize.get("scale", resize.get("size")) in ((320, 320), 320)
    # Again to the old size: nothing was changed twice, or by another measure.
    if "1333" not in old:
        apply_flags(cfg, imgsz=int(old[0]) if old != ("1280",) else 640)
        assert sizes(cfg) == before


def test_scales_and_crops_of_detectors_keep_their_proportion() -> None:
    cfg = recipe("mmdet::rtmdet/rtmdet_l_8xb32-300e_coco")
    apply_flags(cfg, imgsz=320)
    steps = {step["type"]: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps["RandomResize"].scale == (640, 640) and steps["RandomCrop"].crop_size == (320, 320)
    assert steps["CachedMosaic"].img_scale == steps["Pad"].size == (320, 320)
    late = cfg.custom_hooks[1].switch_pipeline
    assert [step.scale for step in late if step["type"] == "RandomResize"] == [(320, 320)]
    assert [step["scale"] for step in cfg.tta_pipeline[1].transforms[0]] == [
        (320, 320),
        (160, 160),
        (480, 480),
    ]
    cfg = recipe("mmdet::yolox/yolox_s_8xb8-300e_coco")
    apply_flags(cfg, imgsz="320")
    assert cfg.model.data_preprocessor.batch_augments[0].random_size_range == (240, 400)
    assert cfg.train_dataloader.dataset.pipeline[1].border == (-160, -160)


def test_segmentors_are_cut_to_it_and_tested_at_the_same_scale() -> None:
    cfg = recipe("upernet/vmamba_t_160k_ade20k-512x512")
    apply_flags(cfg, imgsz=256)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert pipeline[2].scale == (1024, 256) and pipeline[3].crop_size == (256, 256)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (1024, 256)
    assert cfg.model.data_preprocessor.size == (256, 256)
    cfg = recipe("cityscapes/vmamba_t_160k_cityscapes-512x1024")
    apply_flags(cfg, imgsz=256)
    assert cfg.train_dataloader.dataset.pipeline[3].crop_size == (256, 512)
    cfg = recipe("mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-769x769")
    apply_flags(cfg, imgsz=(385, 769))
    assert cfg.model.test_cfg.crop_size == (385, 769) and cfg.model.test_cfg.stride == (257, 257)


def test_height_and_width() -> None:
    cfg = recipe("mask_rcnn/vmamba_t_1x_coco")
    apply_flags(cfg, imgsz="320x640")
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (640, 320)
    with pytest.raises(UsageError, match="makes squares"):
        apply_flags(recipe("mamba_yolo/mamba_yolo_t_300e_coco"), imgsz="320x640")


@pytest.mark.parametrize("imgsz", ["big", 0, "640x", (1, 2, 3)])
def test_no_size(imgsz: Any) -> None:
    with pytest.raises(UsageError, match="wanted a side"):
        apply_flags(recipe("mask_rcnn/vmamba_t_1x_coco"), imgsz=imgsz)
