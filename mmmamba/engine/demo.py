"""Turns a config into one that trains on made-up shapes on a CPU within minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..datasets.shapes import CLASSES, PALETTE, ShapesSpec, make_shapes
from .errors import UsageError

DEFAULT_SPEC = ShapesSpec(size=96)
EPOCHS = 8
BATCH_SIZE = 4
LEARNING_RATE = 6e-4
WARMUP = 0.08
# The heads are made for 80 classes and thousands of regions an image; a few shapes need a fraction of that.
HEAD_WIDTHS = {256: 96, 1024: 256}
HEAD_KEYS = ("in_channels", "out_channels", "feat_channels", "conv_out_channels", "fc_out_channels")
STRIDES = (4, 8, 16, 32)


def apply_demo(cfg: Config, data_root: str | Path, spec: ShapesSpec | None = None) -> None:
    """Point a detection config at the shapes data set below ``data_root``, drawn if need be, and scale it down.

    The backbone stays as it is but for its windows, which shrink to the maps of small images, drop path, and its
    published weights, which are not fetched.

    Raises:
        UsageError: the config is not one of MMDetection's.
    """
    if cfg.get("default_scope") != "mmdet":
        raise UsageError(f"--demo knows detection configs (default_scope 'mmdet'), not {cfg.get('default_scope')!r}")
    spec = spec or DEFAULT_SPEC
    root = make_shapes(data_root, spec)
    _scale_model(cfg.model, spec.size)
    _replace_data(cfg, root, spec.size)
    _replace_schedule(cfg, -(-spec.num_train // BATCH_SIZE))
    cfg.load_from = None
    cfg.expected = None


def _scale_model(model: Any, size: int) -> None:
    backbone = model.backbone
    backbone.init_cfg = None
    # Dropping paths keeps long runs from overfitting; this one is far too short for that.
    if "drop_path_rate" in backbone:
        backbone.drop_path_rate = 0.0
    if "window_size" in backbone:
        backbone.window_size = tuple(max(size // stride, 1) for stride in STRIDES)
    with_mask = "mask_head" in model.get("roi_head", {})
    for name, part in model.items():
        if name != "backbone":
            _scale_heads(part)
    if "rpn_head" in model:
        model.rpn_head.anchor_generator.scales = [4]
        model.train_cfg.rpn_proposal.update(nms_pre=400, max_per_img=200)
        model.test_cfg.rpn.update(nms_pre=400, max_per_img=100)
        stages = model.train_cfg.rcnn if isinstance(model.train_cfg.rcnn, list) else [model.train_cfg.rcnn]
        for stage in stages:
            stage.sampler.num = 64
    if with_mask:
        heads = model.roi_head.mask_head
        for head in heads if isinstance(heads, list) else [heads]:
            head.num_convs = 2


def _scale_heads(node: Any) -> None:
    """Fewer classes and narrower layers, wherever they stand."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "num_classes":
                node[key] = len(CLASSES)
            elif key in HEAD_KEYS and isinstance(value, int):
                node[key] = HEAD_WIDTHS.get(value, value)
            else:
                _scale_heads(value)
    elif isinstance(node, list):
        for value in node:
            _scale_heads(value)


def _replace_data(cfg: Config, root: Path, size: int) -> None:
    with_mask = "mask_head" in cfg.model.get("roi_head", {}) or "mask_head" in cfg.model
    load = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=with_mask),
        dict(type="Resize", scale=(size, size), keep_ratio=True),
    ]
    pack = dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction"),
    )

    def loader(split: str, **dataset: Any) -> dict:
        return dict(
            batch_size=BATCH_SIZE,
            num_workers=0,
            persistent_workers=False,
            sampler=dict(type="DefaultSampler", shuffle=split == "train"),
            dataset=dict(
                type="CocoDataset",
                data_root=str(root),
                ann_file=f"annotations/instances_{split}.json",
                data_prefix=dict(img=f"{split}/"),
                metainfo=dict(classes=CLASSES, palette=PALETTE),
                **dataset,
            ),
        )

    flips = dict(type="RandomFlip", prob=[0.3, 0.3], direction=["horizontal", "vertical"])
    # Assigned whole: merging would leave the sampler and the filter of the old data set in place.
    cfg.train_dataloader = loader("train", pipeline=[*load, flips, pack])
    cfg.val_dataloader = loader("val", pipeline=[*load, pack], test_mode=True)
    cfg.test_dataloader = cfg.val_dataloader
    cfg.val_evaluator = dict(
        type="CocoMetric",
        ann_file=str(root / "annotations" / "instances_val.json"),
        metric=["bbox", "segm"] if with_mask else ["bbox"],
    )
    cfg.test_evaluator = cfg.val_evaluator


def _replace_schedule(cfg: Config, iterations: int) -> None:
    total = EPOCHS * iterations
    warm = max(round(WARMUP * total), 1)
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=EPOCHS, val_interval=EPOCHS)
    cfg.optim_wrapper = dict(
        type="OptimWrapper",
        optimizer=dict(type="AdamW", lr=LEARNING_RATE, weight_decay=0.05),
        clip_grad=dict(max_norm=5.0),
    )
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=warm),
        dict(type="CosineAnnealingLR", by_epoch=False, begin=warm, end=total, eta_min=1e-6),
    ]
    cfg.auto_scale_lr = None
    cfg.randomness = dict(seed=0)
    cfg.default_hooks.logger.interval = 20
    cfg.default_hooks.checkpoint.update(interval=EPOCHS, max_keep_ckpts=1, save_best=None)
