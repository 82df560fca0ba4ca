"""Runs of some iterations that reliability scripts share.

A config of this package on COCO-like data, not validated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common import DEVICE

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
from mmengine.config import Config

from mmmamba.config.find import find_config
from mmmamba.models.trunks.base import MambaBackbone
from mmmamba.models.trunks.pyramid import PyramidBackbone

TINY_HEADS = {256: 16, 1024: 32}


def short_config(
    name: str,
    data: Path,
    iterations: int,
    scales: list[tuple[int, int]],
    batch: int,
    workers: int,
    sample: int,
) -> Config:
    """A config for so many iterations from random weights. Without a GPU: a tiny model.

    Args:
        name: as `mmmamba list` has it.
        data: folder of COCO's annotations/ and train/.
        scales: (long, short) sides that each image's size is drawn from.
        sample: regions that a box head sees of each image.
    """
    cfg = Config.fromfile(find_config(name))
    cfg.model.backbone.init_cfg = None
    if DEVICE == "cpu":
        shrink(cfg.model)
        cfg.optim_wrapper.type = "OptimWrapper"
        for key in ("dtype", "loss_scale"):
            cfg.optim_wrapper.pop(key, None)
    masks = "mask_head" in cfg.model.get("roi_head", {})
    cfg.train_dataloader = dict(
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type="InfiniteSampler", shuffle=True),
        batch_sampler=dict(type="AspectRatioBatchSampler"),
        dataset=dict(
            type="CocoDataset",
            data_root=str(data),
            ann_file="annotations/instances_train.json",
            data_prefix=dict(img="train/"),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True, with_mask=masks),
                dict(type="RandomChoiceResize", scales=scales, keep_ratio=True),
                dict(type="RandomFlip", prob=0.5),
                *([dict(type="PackMasks")] if masks else []),
                dict(type="PackDetInputs"),
            ],
        ),
    )
    for stage in _as_list(cfg.model.train_cfg.get("rcnn", [])):
        stage.sampler.num = sample
    # The learning rate is whole after a quarter.
    warm = max(iterations // 4, 1)
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warm)
    ]
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=10**9)
    for key in (
        "val_cfg",
        "val_dataloader",
        "val_evaluator",
        "test_cfg",
        "test_dataloader",
        "test_evaluator",
        "expected",
        "auto_scale_lr",
    ):
        cfg[key] = None
    cfg.custom_hooks = []
    cfg.default_hooks.checkpoint.update(
        by_epoch=False, interval=10**9, save_last=False, save_best=None
    )
    cfg.log_processor.by_epoch = False
    cfg.visualizer.vis_backends = []
    cfg.randomness = dict(seed=0)
    cfg.log_level = "WARNING"
    return cfg


def _as_list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def shrink(model: Config) -> None:
    """Make a detector of ours tiny, in place."""
    families = {family.__name__: family for family in MambaBackbone.families()}
    family = families[model.backbone.type]
    # A tiny column has fewer blocks to choose from, a pyramid the same four stages.
    chosen = ("out_indices",) if issubclass(family, PyramidBackbone) else ("features", "pyramid")
    kept = {k: v for k, v in model.backbone.items() if k in chosen}
    model.backbone = dict(type=family.__name__, **family.TINY, **kept)
    widths = family(**family.TINY, **kept).out_channels
    model.neck.in_channels = widths[-1] if model.neck.type == "SimpleFPN" else widths
    if model.neck.type == "MambaYOLOPAFPN":
        model.neck.out_channels = model.bbox_head.in_channels = widths
    else:
        for part in ("neck", "rpn_head", "roi_head", "bbox_head"):
            _narrow(model.get(part, {}))
    if "rpn_proposal" in model.get("train_cfg", {}):
        model.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=50)


def _narrow(node: Any) -> None:
    """Replace the widths of published heads, in place."""
    if isinstance(node, dict):
        items = list(node.items())
    else:
        items = list(enumerate(node)) if isinstance(node, list) else []
    for key, value in items:
        if isinstance(value, int) and (isinstance(key, int) or key.endswith("channels")):
            node[key] = TINY_HEADS.get(value, value)
        elif not isinstance(key, int) or isinstance(value, dict):
            _narrow(value)
