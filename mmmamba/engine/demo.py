"""Turns a config into one that trains on made-up shapes on a CPU within minutes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..datasets import shape_pairs
from ..datasets.nodes import loads_pairs
from ..datasets.saliency.drawn import make_saliency
from ..datasets.shape_crops import make_crops
from ..datasets.shapes import CLASSES, PALETTE, SEG_CLASSES, SEG_PALETTE, ShapesSpec, make_shapes
from ..datasets.targets import TargetsSpec, make_targets
from ..errors import UsageError
from .demo_saliency import scale_saliency, tells_saliency

DEFAULT_SPEC = ShapesSpec(size=96)
TARGET_SIZE = 128
"""Side of the images of small targets."""
EPOCHS = 5
BATCH_SIZE = 4
CROPS = 4
"""Shapes cut out for an image of them, in a batch of a classifier."""
LEARNING_RATE = 6e-4
WARMUP = 0.08
"""Share of the iterations."""
# The heads are made for 80 classes and thousands of regions an image; a few shapes need a fraction
# of that.
HEAD_WIDTHS = {256: 96, 1024: 256}
"""What the usual widths become."""
HEAD_KEYS = ("in_channels", "out_channels", "feat_channels", "conv_out_channels", "fc_out_channels")
SEG_HEAD_WIDTH = 64
SECOND_MEAN, SECOND_STD = 118.0, 40.0
"""Grey values of drawn thermal images."""
STRIDES = (4, 8, 16, 32)
FLIPS = dict(type="RandomFlip", prob=[0.3, 0.3], direction=["horizontal", "vertical"])


def apply_demo(cfg: Config, data_root: str | Path, spec: ShapesSpec | None = None) -> None:
    """Point a config at the shapes data set below `data_root`, drawn if need be, and scale it down.

    A segmentor with one channel, target or not, gets a set of small targets in its place, one that
    reads pairs a set of pairs.

    The backbone stays as it is but for its windows, which shrink to the maps of small images, drop
    path, and its published weights, which are not fetched.

    Raises:
        UsageError: the config is of none of the libraries that are known.
    """
    libraries = {
        "mmdet": _scale_detection,
        "mmseg": _scale_segmentation,
        "mmpretrain": _scale_classification,
    }
    scope = cfg.get("default_scope")
    if scope not in libraries:
        raise UsageError(
            f"--demo knows configs of default_scope {', '.join(map(repr, libraries))}, not "
            f"{scope!r}"
        )
    targets = scope == "mmseg" and finds_targets(cfg)
    spec = spec or (replace(DEFAULT_SPEC, size=TARGET_SIZE) if targets else DEFAULT_SPEC)
    scale = libraries[scope]
    if targets:
        # Beside the shapes, which other demos have drawn at the place itself.
        place = Path(data_root).with_name(f"{Path(data_root).name}_targets")
        root = make_targets(place, TargetsSpec(spec.num_train, spec.num_val, spec.size))
        scale = _scale_targets
    elif tells_saliency(cfg):
        root, scale = make_saliency(data_root, spec), _scale_saliency
    elif scope == "mmseg" and loads_pairs(cfg.train_dataloader.dataset):
        place = Path(data_root).with_name(f"{Path(data_root).name}_pairs")
        root, scale = shape_pairs.make_pairs(place, spec), _scale_pairs
    else:
        make = make_crops if scope == "mmpretrain" else make_shapes
        root = make(data_root, spec)
    _scale_backbone(cfg.model.backbone, spec.size)
    scale(cfg, root, spec)
    for key in ("load_from", "expected", "auto_scale_lr"):
        cfg[key] = None
    # Written for the images of the old data set.
    cfg.pop("tta_pipeline", None)
    # Written for the epochs and the optimizer of the old schedule.
    cfg.pop("custom_hooks", None)
    cfg.randomness = dict(seed=0)
    cfg.default_hooks.logger.interval = 20
    if cfg.default_hooks.get("visualization", {}).get("type") == "DetVisualizationHook":
        cfg.default_hooks.visualization.score_thr = 0.5


def _scale_backbone(backbone: Any, size: int) -> None:
    backbone.init_cfg = None
    # Dropping paths keeps long runs from overfitting; this one is far too short for that.
    if "drop_path_rate" in backbone:
        backbone.drop_path_rate = 0.0
    if "window_size" in backbone:
        backbone.window_size = tuple(max(size // stride, 1) for stride in STRIDES)


def _scale_detection(cfg: Config, root: Path, spec: ShapesSpec) -> None:
    model = cfg.model
    # None where a config without masks stands on one with them.
    with_mask = bool(model.get("roi_head", {}).get("mask_head") or model.get("mask_head"))
    for name, part in model.items():
        if name != "backbone":
            _scale_heads(part)
    if "rpn_head" in model:
        # Half of the usual size, for objects of small images.
        model.rpn_head.anchor_generator.scales = [4]
        model.train_cfg.rpn_proposal.update(nms_pre=400, max_per_img=200)
        model.test_cfg.rpn.update(nms_pre=400, max_per_img=100)
        for stage in _as_list(model.train_cfg.rcnn):
            stage.sampler.num = 64
        for head in _as_list(model.roi_head.get("mask_head") or []):
            head.num_convs = 2
    _replace_detection_data(cfg, root, spec.size, with_mask)
    _replace_optimizer(cfg, EPOCHS * _batches(spec))
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=EPOCHS, val_interval=EPOCHS)
    cfg.default_hooks.checkpoint.update(interval=EPOCHS, max_keep_ckpts=1, save_best=None)


def finds_targets(cfg: Config) -> bool:
    """Whether a segmentor has one channel, target or not."""
    return any(head.get("out_channels") == 1 for head in _as_list(cfg.model.decode_head))


def _scale_segmentation(cfg: Config, root: Path, spec: ShapesSpec) -> None:
    _scale_segmentation_heads(cfg, len(SEG_CLASSES))

    def dataset(split: str) -> dict:
        return dict(
            type="BaseSegDataset",
            data_prefix=dict(img_path=split, seg_map_path=f"labels/{split}"),
            img_suffix=".png",
            metainfo=dict(classes=SEG_CLASSES, palette=SEG_PALETTE),
        )

    _replace_segmentation_data(cfg, root, spec, dataset)
    cfg.val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
    cfg.test_evaluator = cfg.val_evaluator


def _scale_segmentation_heads(cfg: Config, classes: int) -> None:
    for part in ("decode_head", "auxiliary_head"):
        for head in _as_list(cfg.model.get(part, [])):
            head.num_classes = classes
            # Heads whose config does not say it have widths of their own.
            if "channels" in head:
                head.channels = SEG_HEAD_WIDTH


def _scale_pairs(cfg: Config, root: Path, spec: ShapesSpec) -> None:
    _scale_segmentation_heads(cfg, len(shape_pairs.CLASSES))

    def dataset(split: str) -> dict:
        folders = {key: f"{name}/{split}" for key, name in shape_pairs.FOLDERS.items()}
        return dict(
            type="PairedSegDataset",
            data_prefix=folders,
            img_suffix=".png",
            metainfo=dict(classes=shape_pairs.CLASSES, palette=shape_pairs.PALETTE),
        )

    # Those of the config's second images may be in any units.
    preprocessor = cfg.model.data_preprocessor
    second = len(preprocessor.mean) - 3
    preprocessor.mean = [*preprocessor.mean[:3], *[SECOND_MEAN] * second]
    preprocessor.std = [*preprocessor.std[:3], *[SECOND_STD] * second]
    load = dict(type="LoadPairedImage", second_channels=second)
    _replace_segmentation_data(cfg, root, spec, dataset, load)
    cfg.val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
    cfg.test_evaluator = cfg.val_evaluator


def _scale_targets(cfg: Config, root: Path, spec: ShapesSpec) -> None:
    """Segmentors of small targets keep their heads and their metrics: both fit the drawn set."""

    def dataset(split: str) -> dict:
        return dict(
            type="SmallTargetDataset",
            ann_file=f"{split}.txt",
            data_prefix=dict(img_path="images", seg_map_path="masks"),
        )

    _replace_segmentation_data(cfg, root, spec, dataset)


def _replace_segmentation_data(
    cfg: Config,
    root: Path,
    spec: ShapesSpec,
    dataset: Callable[[str], dict],
    load: dict | None = None,
) -> None:
    """The data of both splits, and a schedule for so many images.

    Args:
        load: what reads images; a file each if None.
    """
    cfg.model.data_preprocessor.size = (spec.size, spec.size)
    iterations = EPOCHS * _batches(spec)

    def loader(split: str, sampler: dict, pipeline: list) -> dict:
        return dict(
            batch_size=BATCH_SIZE,
            num_workers=0,
            sampler=sampler,
            dataset=dict(data_root=str(root), pipeline=pipeline, **dataset(split)),
        )

    read = [load or dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
    pack = dict(type="PackSegInputs")
    cfg.train_dataloader = loader(
        "train", dict(type="InfiniteSampler", shuffle=True), [*read, FLIPS, pack]
    )
    cfg.val_dataloader = loader("val", dict(type="DefaultSampler", shuffle=False), [*read, pack])
    cfg.test_dataloader = cfg.val_dataloader
    _replace_optimizer(cfg, iterations)
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=iterations)
    cfg.default_hooks.checkpoint.update(
        interval=iterations, by_epoch=False, max_keep_ckpts=1, save_best=None
    )
    # Recipes that count epochs say so in three places.
    cfg.default_hooks.logger.log_metric_by_epoch = False
    cfg.log_processor = dict(by_epoch=False)


def _scale_classification(cfg: Config, root: Path, spec: ShapesSpec) -> None:
    classes, model = len(CLASSES), cfg.model
    # A student learns by itself, from images that are not mixed.
    for key in ("teacher", "distillation", "train_cfg"):
        model.pop(key, None)
    model.type = "ImageClassifier"
    for part in (model.backbone, model.head, model.get("data_preprocessor") or {}):
        if "num_classes" in part:
            part.num_classes = classes
    model.head.topk = (1,)
    load = [
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale=(spec.size, spec.size)),
    ]
    pack = dict(type="PackInputs")
    batch = CROPS * BATCH_SIZE

    def loader(split: str, pipeline: list) -> dict:
        return dict(
            batch_size=batch,
            num_workers=0,
            persistent_workers=False,
            sampler=dict(type="DefaultSampler", shuffle=split == "train"),
            collate_fn=dict(type="default_collate"),
            dataset=dict(
                type="CustomDataset",
                data_root=str(root),
                data_prefix=split,
                metainfo=dict(classes=CLASSES, palette=PALETTE),
                pipeline=pipeline,
            ),
        )

    cfg.train_dataloader = loader("train", [*load, FLIPS, pack])
    cfg.val_dataloader = loader("val", [*load, pack])
    cfg.test_dataloader = cfg.val_dataloader
    cfg.val_evaluator = [dict(type="Accuracy"), dict(type="SingleLabelMetric", items=("recall",))]
    cfg.test_evaluator = cfg.val_evaluator
    crops = sum(1 for _ in (root / "train").glob("*/*.png"))
    _replace_optimizer(cfg, EPOCHS * math.ceil(crops / batch))
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=EPOCHS, val_interval=EPOCHS)
    cfg.default_hooks.checkpoint.update(interval=EPOCHS, max_keep_ckpts=1, save_best=None)


def _scale_saliency(cfg: Config, root: Path, spec: ShapesSpec) -> None:
    scale_saliency(cfg, root, BATCH_SIZE)
    _replace_optimizer(cfg, EPOCHS * _batches(spec))
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=EPOCHS, val_interval=EPOCHS)
    cfg.default_hooks.checkpoint.update(interval=EPOCHS, max_keep_ckpts=1, save_best=None)


def _batches(spec: ShapesSpec) -> int:
    """Batches of an epoch, the last of which may be smaller."""
    return math.ceil(spec.num_train / BATCH_SIZE)


def _as_list(value: Any) -> list:
    """Cascades list what others have one of."""
    return value if isinstance(value, list) else [value]


def _scale_heads(node: Any) -> None:
    """Fewer classes and narrower layers, wherever they stand."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "num_classes":
                node[key] = len(CLASSES)
            # A list of channels is that of the backbone's maps, which keep their widths.
            elif key in HEAD_KEYS and isinstance(value, int):
                node[key] = HEAD_WIDTHS.get(value, value)
            else:
                _scale_heads(value)
    elif isinstance(node, list):
        for value in node:
            _scale_heads(value)


def _replace_detection_data(cfg: Config, root: Path, size: int, with_mask: bool) -> None:
    load = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=with_mask),
        dict(type="Resize", scale=(size, size), keep_ratio=True),
    ]
    pack = dict(
        type="PackDetInputs",
        meta_keys=(
            "img_id",
            "img_path",
            "ori_shape",
            "img_shape",
            "scale_factor",
            "flip",
            "flip_direction",
        ),
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

    # Assigned whole: merging would leave the sampler and the filter of the old data set in place.
    cfg.train_dataloader = loader("train", pipeline=[*load, FLIPS, pack])
    cfg.val_dataloader = loader("val", pipeline=[*load, pack], test_mode=True)
    cfg.test_dataloader = cfg.val_dataloader
    cfg.val_evaluator = dict(
        type="CocoMetric",
        ann_file=str(root / "annotations" / "instances_val.json"),
        metric=["bbox", "segm"] if with_mask else ["bbox"],
    )
    cfg.test_evaluator = cfg.val_evaluator


def _replace_optimizer(cfg: Config, iterations: int) -> None:
    warm = max(round(WARMUP * iterations), 1)
    cfg.optim_wrapper = dict(
        type="OptimWrapper",
        optimizer=dict(type="AdamW", lr=LEARNING_RATE, weight_decay=0.05),
        clip_grad=dict(max_norm=5.0),
    )
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=warm),
        dict(type="CosineAnnealingLR", by_epoch=False, begin=warm, end=iterations, eta_min=1e-6),
    ]
