"""Mistyped keys of a config are found with the file that set them; configs that are fine pass."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import mmdet
import mmseg
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

from mmmamba.config.find import find_config, list_configs
from mmmamba.config.keys import Arguments, check_keys, unknown_keys
from mmmamba.config.signatures import constructor_arguments
from mmmamba.engine.demo import apply_demo
from mmmamba.errors import UsageError

MASK_RCNN = find_config("mask_rcnn/vmamba_t_1x_coco")
# Of every kind of head, and those whose parts hold keys that the part around them takes out.
OF_MMDET = (
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "dcn/mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py",
    "dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py",
    "vfnet/vfnet_r101_fpn_1x_coco.py",
    "detr/detr_r50_8xb2-150e_coco.py",
    "queryinst/queryinst_r50_fpn_1x_coco.py",
    "yolox/yolox_s_8xb8-300e_coco.py",
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "htc/htc_r50_fpn_1x_coco.py",
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
    "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py",
    "swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py",
    "dino/dino-4scale_r50_8xb2-12e_coco.py",
    "albu_example/mask-rcnn_r50_fpn_albu-1x_coco.py",
    "carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py",
    "solov2/solov2_r101-dcn_fpn_ms-3x_coco.py",
)
OF_MMSEG = (
    "upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py",
    "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
    "mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py",
    "beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py",
)


def complaints(cfg: Config, arguments: Arguments | None = None) -> list[str]:
    return [
        f"{'.'.join(map(str, unknown.keys))} of {unknown.owner}"
        for unknown in unknown_keys(cfg, arguments)
    ]


def test_all_configs_pass() -> None:
    arguments = cache(constructor_arguments)
    # Classifiers are opened, keys and all, by a test of their own.
    paths = [path for path in list_configs() if path.parent.name != "imagenet"]
    found = {path: complaints(Config.fromfile(path), arguments) for path in paths}
    assert len(found) > 60
    assert not {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("config", OF_MMDET + OF_MMSEG)
def test_configs_of_openmmlab_pass(config: str) -> None:
    package = mmseg if config in OF_MMSEG else mmdet
    assert (
        complaints(Config.fromfile(Path(package.__file__).parent / ".mim" / "configs" / config))
        == []
    )


@pytest.mark.parametrize(
    "name",
    [
        "mask_rcnn/vmamba_t_1x_coco",
        "mamba_yolo/mamba_yolo_t_300e_coco",
        "upernet/vmamba_t_160k_ade20k-512x512",
    ],
)
def test_demos_pass(name: str, tmp_path: Path) -> None:
    cfg = Config.fromfile(find_config(name))
    apply_demo(cfg, tmp_path)
    assert complaints(cfg) == []


MISTAKES = {
    "model = dict(backbone=dict(drop_path=0.3))": (
        "model.backbone.drop_path",
        "VMamba",
        "'drop_path_rate'",
    ),
    "model = dict(roi_head=dict(bbox_head=dict(num_class=3)))": (
        "model.roi_head.bbox_head.num_class",
        "Shared2FCBBoxHead",
        "'num_classes'",
    ),
    "model = dict(rpn_head=dict(anchor_generator=dict(scale=[4])))": (
        "model.rpn_head.anchor_generator.scale",
        "AnchorGenerator",
        "'scales'",
    ),
    "optim_wrapper = dict(optimizer=dict(weight_deca=0.1))": (
        "optim_wrapper.optimizer.weight_deca",
        "AdamW",
        "'weight_decay'",
    ),
    "optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mul=0))": (
        "optim_wrapper.paramwise_cfg.norm_decay_mul",
        "optim_wrapper.paramwise_cfg",
        "'norm_decay_mult'",
    ),
    "train_dataloader = dict(bach_size=4)": (
        "train_dataloader.bach_size",
        "train_dataloader",
        "'batch_size'",
    ),
    "train_dataloader = dict(dataset=dict(data_rot='x'))": (
        "train_dataloader.dataset.data_rot",
        "CocoDataset",
        "'data_root'",
    ),
    "train_pipeline = [dict(type='LoadImageFromFile'),\n dict(type='Resize', scal=(8, 8))]\n"
    "train_dataloader = dict(dataset=dict(pipeline=train_pipeline))": (
        "train_dataloader.dataset.pipeline.1.scal",
        "Resize",
        "'scale'",
    ),
    "param_scheduler = [dict(type='MultiStepLR', milestone=[3])]": (
        "param_scheduler.0.milestone",
        "MultiStepLR",
        "'milestones'",
    ),
    "default_hooks = dict(logger=dict(intervall=1))": (
        "default_hooks.logger.intervall",
        "LoggerHook",
        "'interval'",
    ),
    "val_evaluator = dict(metrics='bbox')": ("val_evaluator.metrics", "CocoMetric", "'metric'"),
    "train_cfg = dict(max_epoch=2)": ("train_cfg.max_epoch", "ResumableEpochLoop", "'max_epochs'"),
    "visualizer = dict(vis_backend=[])": (
        "visualizer.vis_backend",
        "DetLocalVisualizer",
        "'vis_backends'",
    ),
    "optim_wraper = dict(optimizer=dict(lr=1))": ("optim_wraper", "a config", "'optim_wrapper'"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(f"_base_ = {str(MASK_RCNN)!r}\n{text}\n")
    place, owner, hint = MISTAKES[text]
    with pytest.raises(UsageError) as error:
        check_keys(Config.fromfile(file))
    line = 3 if "\n dict" in text else 2
    assert str(error.value).startswith(
        f"{place}: {owner} has no {place.rpartition('.')[2]!r} (set in mine.py:{line})."
    )
    assert "Did you mean" in str(error.value) and hint in str(error.value)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        f"_base_ = {str(MASK_RCNN)!r}\nmodel = dict(neck=dict(num_out=3))\n"
    )
    (tmp_path / "mine.py").write_text(
        "_base_ = './base.py'\nmodel = dict(backbone=dict(frozen_stage=1))\n"
    )
    with pytest.raises(UsageError) as error:
        check_keys(Config.fromfile(tmp_path / "mine.py"))
    second, first = str(error.value).splitlines()
    assert "model.backbone.frozen_stage" in first and "mine.py:2" in first
    assert "model.neck.num_out" in second and "base.py:2" in second


def test_an_option_that_changes_a_type_leaves_arguments_of_the_old_one(tmp_path: Path) -> None:
    cfg = Config.fromfile(MASK_RCNN)
    options = {"optim_wrapper.optimizer.type": "SGD"}
    cfg.merge_from_dict(options)
    with pytest.raises(
        UsageError, match=r"optimizer.betas: SGD has no 'betas' \(set in .*schedule_1x.py:"
    ):
        check_keys(cfg, options)


def test_what_takes_any_argument_is_left_alone() -> None:
    @MODELS.register_module(name="KeepsTheRest", force=True)
    class KeepsTheRest:
        def __init__(self, width: int, **kwargs):
            self.rest = kwargs

    @MODELS.register_module(name="HandsOnTheRest", force=True)
    class HandsOnTheRest(dict):
        def __init__(self, width: int, **kwargs):
            super().__init__(**kwargs)

    try:
        for name in ("KeepsTheRest", "HandsOnTheRest", "NobodyKnows", "nowhere.Thing", ""):
            assert complaints(Config(dict(model=dict(type=name, widht=3)))) == []
    finally:
        for name in ("KeepsTheRest", "HandsOnTheRest"):
            MODELS.module_dict.pop(name)


def test_a_type_that_is_no_name_is_left_to_building() -> None:
    cfg = Config(dict(model=dict(type=dict(), frozen=1), default_scope="mmdet"))
    assert not [key for key in unknown_keys(cfg) if "model" in key.keys]
