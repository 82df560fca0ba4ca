"""What is measured: backbones of ours and of timm, whole detectors, segmentors, classifiers."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from ...acceleration.graphs import graph_model
from ...config.modules import need_mmpretrain
from ...engine.kept_casts import KeptCasts
from ...engine.predicting import full_precision_results
from ...engine.preflight import check_fit
from ...errors import UsageError
from ...inference.opening import model_settings
from ...models.backbones import create_backbone
from ...models.image_channels import image_channels
from ...suggest import did_you_mean
from ..untrained import build_untrained
from .task import Task

OBJECTS = 10
"""Made-up objects in each image."""


class RunBy(NamedTuple):
    """What runs an exported file, and how large that is."""

    runtime: str
    precision: str
    mib: float
    threads: int


@dataclass(frozen=True)
class Subject:
    """A model with the call to time."""

    name: str
    model: nn.Module
    call: Callable[[], Any]
    """Forward in evaluation; forward of the loss in training."""
    run_by: RunBy | None = None
    """None where PyTorch does."""


def backbone_subject(name: str, task: Task) -> Subject:
    """One of our backbones, with its maps."""
    return _of_images(name, _graphed(create_backbone(name), task), task)


def check_timm(name: str) -> None:
    """Make sure that timm has a model.

    Raises:
        UsageError: timm is not installed or has no such model.
    """
    try:
        import timm
    except ImportError as error:
        raise UsageError("to measure a model of timm: pip install timm") from error
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}.{did_you_mean(name, timm.list_models(), 3)}")


def timm_subject(name: str, task: Task) -> Subject:
    """A backbone of timm, with its maps.

    Raises:
        UsageError: timm is not installed, has no such model, or cannot give its maps.
    """
    check_timm(name)
    import timm

    # Swin's windows are laid out for one size of image; convolutions take any.
    size = dict(img_size=task.padded, strict_img_size=False) if name.startswith("swin") else {}
    try:
        model = timm.create_model(name, features_only=True, **size)
    except (RuntimeError, TypeError, AssertionError) as error:
        shape = "x".join(map(str, task.padded))
        raise UsageError(
            f"timm's {name} gives no feature maps of {shape} images: {error}"
        ) from error
    return _of_images(f"{name} (timm)", model, task)


def config_subject(name: str, cfg: Config, task: Task) -> Subject:
    """The whole detector, segmentor or classifier of a config."""
    # Below, the config is changed for the measurement.
    scope, cfg = cfg.default_scope, deepcopy(cfg)
    preprocessor = model_settings(cfg, name).get("data_preprocessor")
    if preprocessor is not None:
        # These change the size of what is measured.
        preprocessor.pop("batch_augments", None)
        if scope == "mmseg":
            preprocessor.size = task.padded
    model = build_untrained(cfg, task.device).train(task.train)
    check_fit(model)
    casts = None
    if not task.train:
        # As `test` and `infer` have it.
        full_precision_results(model, task.device)
        casts = KeptCasts(model, task.device.type)
    model = _graphed(model, task)
    with DefaultScope.overwrite_default_scope(scope):
        batch = BATCHES[scope](model, task)
        held = model.data_preprocessor(batch, task.train)

    def call() -> Any:
        # Some losses write into the samples they are given.
        samples = deepcopy(held["data_samples"])
        with DefaultScope.overwrite_default_scope(scope):
            if casts is not None:
                with casts.within(task.precision.dtype):
                    return model.predict(held["inputs"], samples)
            return model.parse_losses(model.loss(held["inputs"], samples))[0]

    return Subject(name, model, call)


def config_backbone(cfg: Config, task: Task) -> Subject:
    """The backbone of a config alone."""
    kind = cfg.model.backbone.get("arch")
    kind = kind if isinstance(kind, str) else cfg.model.backbone.type
    backbone = _graphed(build_untrained(cfg, task.device).backbone, task)
    return _of_images(f"{kind}, the backbone alone", backbone, task)


def check_model(path: Path, cfg: Config) -> None:
    """Make sure that a config describes a detector, segmentor or classifier with a backbone.

    Raises:
        UsageError: it does not.
    """
    scope = cfg.get("default_scope")
    if cfg.get("model") is None or "backbone" not in cfg.model or scope not in BATCHES:
        raise UsageError(
            f"{path} describes no detector, segmentor or classifier of mmdet, mmseg or mmpretrain "
            f"(default_scope is {scope!r})"
        )
    if scope == "mmpretrain":
        need_mmpretrain()


def _graphed(model: nn.Module, task: Task) -> nn.Module:
    """The model with CUDA graphs, where there is a GPU."""
    if task.device.type != "cuda":
        return model
    return graph_model(model.to(task.device), task.graphs)


def _of_images(name: str, model: nn.Module, task: Task) -> Subject:
    """A model that takes nothing but images."""
    model = model.to(task.device).train(task.train)
    images = torch.randn(task.batch, image_channels(model) or 3, *task.padded, device=task.device)
    return Subject(name, model, lambda: model(images))


def _detection_batch(model: nn.Module, task: Task) -> dict:
    """Made-up images with objects, as mmdet's data sets give them."""
    from mmdet.testing import demo_mm_inputs

    with_mask = getattr(model, "with_mask", False)
    shapes, objects = (
        [(image_channels(model) or 3, *task.padded)] * task.batch,
        [OBJECTS] * task.batch,
    )
    batch = demo_mm_inputs(
        task.batch, shapes, objects, 2, with_mask=with_mask, device=str(task.device)
    )
    for sample in batch["data_samples"]:
        # The one class that every detector has; masks as data sets give them.
        sample.gt_instances.labels.zero_()
        if with_mask:
            sample.gt_instances.masks.masks = sample.gt_instances.masks.masks.astype("uint8")
    return batch


def _segmentation_batch(model: nn.Module, task: Task) -> dict:
    """Made-up images with label maps, as mmseg's data sets give them."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    # Cascades have several heads, the last of which predicts.
    heads = model.decode_head
    head = heads[-1] if isinstance(heads, nn.ModuleList) else heads
    meta = dict.fromkeys(("img_shape", "ori_shape", "pad_shape"), task.padded)
    meta["padding_size"] = [0] * 4
    labels = torch.randint(head.num_classes, (task.batch, 1, *task.padded))
    samples = [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=label)) for label in labels]
    images = torch.randint(
        256, (task.batch, image_channels(model) or 3, *task.padded), dtype=torch.uint8
    )
    return dict(inputs=list(images), data_samples=samples)


def _classification_batch(model: nn.Module, task: Task) -> dict:
    """Made-up images with classes, as mmpretrain's data sets give them."""
    from mmpretrain.structures import DataSample

    # The one class that every classifier has.
    samples = [DataSample().set_gt_label(0) for _ in range(task.batch)]
    images = torch.randint(
        256, (task.batch, image_channels(model) or 3, *task.padded), dtype=torch.uint8
    )
    return dict(inputs=list(images), data_samples=samples)


BATCHES: dict[str, Callable[[nn.Module, Task], dict]] = dict(
    mmdet=_detection_batch, mmseg=_segmentation_batch, mmpretrain=_classification_batch
)
"""What makes images with annotations, by the library that a model is of."""
