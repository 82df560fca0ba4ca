"""Every YOLO config trains a step and answers, with its family's smallest backbone.

Its pipelines run on an image.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS, MODELS, init_default_scope
from mmengine.structures import InstanceData

from .conftest import CONFIGS, build_detector

FILES = sorted([*CONFIGS.glob("yolo/*.py"), CONFIGS / "mamba_yolo/mamba_yolo_t_300e_coco.py"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_trains_a_step_and_answers(file: Path) -> None:
    cfg = Config.fromfile(file)
    init_default_scope(cfg.default_scope)
    backbone = cfg.model.backbone
    family = MODELS.get(backbone.type)
    cfg.model.backbone = dict(type=backbone.type, **family.TINY)
    if "out_indices" in backbone:
        cfg.model.backbone.out_indices = backbone.out_indices
    widths = MODELS.build(cfg.model.backbone).out_channels
    cfg.model.neck.in_channels = widths
    if cfg.model.neck.type == "MambaYOLOPAFPN":
        cfg.model.neck.pop("out_channels", None)
        cfg.model.bbox_head.in_channels = widths
    model = build_detector(cfg)
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(128, 128),
            ori_shape=(128, 128),
            pad_shape=(128, 128),
            scale_factor=(1.0, 1.0),
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[32.0, 32.0, 96.0, 96.0]]), labels=torch.tensor([7])
    )
    samples = [sample, sample.clone()]
    # The second image has nothing on it.
    samples[1].gt_instances = sample.gt_instances[:0]
    losses = model.train().loss(torch.rand(2, 3, 128, 128), samples)
    model.parse_losses(losses)[0].backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert {"loss_cls", "loss_bbox"} <= set(losses)
    assert all(
        torch.isfinite(torch.as_tensor(value)).all()
        for value in model.parse_losses(losses)[1].values()
    )
    cells = sum((64 // stride) ** 2 for stride in model.backbone.out_strides)
    outputs = model.eval()(torch.rand(1, 3, 64, 64))
    assert sum(m.shape[2] * m.shape[3] for m in outputs[0]) == cells
    model.test_cfg.score_thr = model.bbox_head.test_cfg.score_thr = 0.0
    with torch.no_grad():
        found = model.predict(torch.rand(2, 3, 128, 128), samples)[0].pred_instances
    assert len(found) and found.scores.equal(found.scores.sort(descending=True).values)
    assert type(model.bbox_head).__name__ in {
        "BatchedRTMDetHead",
        "BatchedYOLOXHead",
        "YOLODFLHead",
    }


@pytest.fixture
def image(tmp_path: Path) -> dict:
    """A 100 x 200 picture, white where its one object is."""
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    pixels[20:80, 40:160] = 255
    cv2.imwrite(str(tmp_path / "picture.png"), pixels)
    instance = dict(bbox=[40.0, 20.0, 160.0, 80.0], bbox_label=3, ignore_flag=0)
    return dict(
        img_path=str(tmp_path / "picture.png"),
        img_id=1,
        height=100,
        width=200,
        instances=[instance],
    )


@pytest.mark.parametrize(
    "name", ["mamba_yolo/mamba_yolo_t_300e_coco", "yolo/vmamba_t_yolox_36e_coco"]
)
def test_pipelines(name: str, image: dict) -> None:
    """Boxes stay where the white is, in training with mosaic and without.

    Tests get theirs untouched.
    """
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    init_default_scope(cfg.default_scope)
    late = next(
        hook for hook in cfg.custom_hooks if hook.type == "PipelineSwitchHook"
    ).switch_pipeline
    for pipeline in (
        cfg.train_dataloader.dataset.pipeline,
        late,
        cfg.test_dataloader.dataset.pipeline,
    ):
        # The first images fill the mosaic's cache.
        whole = Compose(pipeline)
        packed = [whole(dict(image)) for _ in range(12)][-1]
        pixels, sample = packed["inputs"].float(), packed["data_samples"]
        assert tuple(pixels.shape[1:]) == sample.img_shape
        if pipeline is cfg.test_dataloader.dataset.pipeline:
            # Boxes to test against are those of the image file.
            assert sample.gt_instances.bboxes.tensor.tolist() == [[40.0, 20.0, 160.0, 80.0]]
            continue
        assert sample.img_shape == (640, 640) and len(sample.gt_instances)
        for x1, y1, x2, y2 in sample.gt_instances.bboxes.tensor.round().int().tolist():
            inside = pixels[:, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].amax(0)
            assert inside.numel() == 0 or inside.min() > 130, (x1, y1, x2, y2)


def test_mixup_is_off_and_can_be_turned_on(image: dict) -> None:
    cfg = Config.fromfile(CONFIGS / "mamba_yolo/mamba_yolo_t_300e_coco.py")
    init_default_scope(cfg.default_scope)
    mosaic, affine, mixup = cfg.train_dataloader.dataset.pipeline[2:5]
    assert (mosaic.type, affine.type, mixup.type, mixup.prob) == (
        "CachedMosaic",
        "CenteredRandomAffine",
        "CachedMixUp",
        0.0,
    )
    load = cfg.train_dataloader.dataset.pipeline[:2]
    boxes = {}
    for mixup.prob in (0.0, 1.0):
        whole = Compose([*load, dict(type="Letterbox", size=640), mixup])
        mixed = [whole(dict(image)) for _ in range(3)][-1]
        boxes[mixup.prob] = mixed["gt_bboxes"].tensor.tolist()
    # The one image mixed with itself: nothing is scaled, moved or flipped.
    assert len(boxes[0.0]) == 1 and boxes[1.0] == boxes[0.0] * 2


def test_training_ends_where_ap_no_longer_rises() -> None:
    """After 100 epochs, counted in validations."""
    cfg = Config.fromfile(CONFIGS / "mamba_yolo/mamba_yolo_t_300e_coco.py")
    hook = HOOKS.build(next(hook for hook in cfg.custom_hooks if hook.type == "EarlyStoppingHook"))
    assert hook.patience * cfg.train_cfg.val_interval == 100
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(stop_training=False), logger=MMLogger.get_current_instance()
    )
    for ap in (0.3, 0.31, *[0.31] * 5, 0.311, *[0.3] * 9):
        hook.after_val_epoch(runner, {"coco/bbox_mAP": ap})
        assert not runner.train_loop.stop_training
    hook.after_val_epoch(runner, {"coco/bbox_mAP": 0.3})
    assert runner.train_loop.stop_training


def test_the_late_pipeline_has_no_mosaic_and_ends_training() -> None:
    cfg = Config.fromfile(CONFIGS / "mamba_yolo/mamba_yolo_t_300e_coco.py")
    switch = next(hook for hook in cfg.custom_hooks if hook.type == "PipelineSwitchHook")
    assert switch.switch_epoch == cfg.train_cfg.max_epochs - 10
    assert not any("Mosaic" in step.type for step in switch.switch_pipeline)
    assert any("Mosaic" in step.type for step in cfg.train_dataloader.dataset.pipeline)
