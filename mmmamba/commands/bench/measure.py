"""Speed, memory and size of a model with random weights on made-up images."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from ...engine.preflight import check_fit
from ...errors import UsageError
from ...evaluation.counting import multiply_adds
from ...models.backbones import create_backbone
from ...suggest import did_you_mean
from ..inspect.inspection import build_untrained

DIVISOR = 32
"""Images are padded to multiples of it, as detectors pad them."""
OBJECTS = 10
"""Made-up objects in each image."""
WARM_UP = 2


@dataclass(frozen=True)
class Task:
    """What every model is measured on."""

    height: int
    width: int
    batch: int
    device: torch.device
    dtype: torch.dtype
    train: bool
    seconds: float = 3.0
    """For which calls are repeated."""

    @property
    def padded(self) -> tuple[int, int]:
        return tuple(-(-side // DIVISOR) * DIVISOR for side in (self.height, self.width))

    def autocast(self) -> contextlib.AbstractContextManager:
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


@dataclass(frozen=True)
class Subject:
    """A model with the call to time."""

    name: str
    model: nn.Module
    call: Callable[[], Any]
    """Forward in evaluation; forward of the loss in training."""


@dataclass(frozen=True)
class Result:
    """What was measured; None where it could not be."""

    name: str
    parameters: int
    gflops: float | None
    """Multiply-adds of one image's forward pass, in 10^9."""
    milliseconds: float | None
    """Median of a step; None if it does not fit into memory."""
    images_per_second: float | None
    peak_mib: float | None
    """Of PyTorch's allocations on a GPU."""


def backbone_subject(name: str, task: Task) -> Subject:
    """One of our backbones, with its maps."""
    return _of_images(name, create_backbone(name), task)


def check_timm(name: str) -> None:
    """Raises UsageError if timm is not installed or has no such model."""
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
    """The whole detector or segmentor of a config."""
    scope, cfg = cfg.default_scope, deepcopy(cfg)
    preprocessor = cfg.model.get("data_preprocessor")
    if preprocessor is not None:
        # These change the size of what is measured.
        preprocessor.pop("batch_augments", None)
        if scope == "mmseg":
            preprocessor.size = task.padded
    model = build_untrained(cfg, task.device).train(task.train)
    check_fit(model)
    with DefaultScope.overwrite_default_scope(scope):
        batch = (_detection_batch if scope == "mmdet" else _segmentation_batch)(model, task)
        held = model.data_preprocessor(batch, task.train)

    def call() -> Any:
        # Some losses write into the samples they are given.
        samples = deepcopy(held["data_samples"])
        with DefaultScope.overwrite_default_scope(scope):
            if not task.train:
                return model.predict(held["inputs"], samples)
            return model.parse_losses(model.loss(held["inputs"], samples))[0]

    return Subject(name, model, call)


def config_backbone(cfg: Config, task: Task) -> Subject:
    """The backbone of a config alone."""
    kind = cfg.model.backbone.get("arch")
    kind = kind if isinstance(kind, str) else cfg.model.backbone.type
    return _of_images(
        f"{kind}, the backbone alone", build_untrained(cfg, task.device).backbone, task
    )


def check_model(path: Path, cfg: Config) -> None:
    """Raises UsageError if a config describes no detector or segmentor with a backbone."""
    scope = cfg.get("default_scope")
    if cfg.get("model") is None or "backbone" not in cfg.model or scope not in ("mmdet", "mmseg"):
        raise UsageError(
            f"{path} describes no detector or segmentor of mmdet or mmseg (default_scope is {scope!r})"
        )


def _of_images(name: str, model: nn.Module, task: Task) -> Subject:
    model = model.to(task.device).train(task.train)
    images = torch.randn(task.batch, 3, *task.padded, device=task.device)
    return Subject(name, model, lambda: model(images))


def _detection_batch(model: nn.Module, task: Task) -> dict:
    from mmdet.testing import demo_mm_inputs

    with_mask = getattr(model, "with_mask", False)
    shapes, objects = [(3, *task.padded)] * task.batch, [OBJECTS] * task.batch
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
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    head = model.decode_head if isinstance(model.decode_head, nn.Module) else model.decode_head[-1]
    meta = dict(
        img_shape=task.padded, ori_shape=task.padded, pad_shape=task.padded, padding_size=[0] * 4
    )
    labels = torch.randint(head.num_classes, (task.batch, 1, *task.padded))
    samples = [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=label)) for label in labels]
    images = torch.randint(256, (task.batch, 3, *task.padded), dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


def measure(subject: Subject, task: Task) -> Result:
    """Warm up, then the median of calls; on a GPU each waits for its kernels.

    Raises:
        UsageError: a batch norm sees one value for each channel.
    """
    parameters = sum(p.numel() for p in subject.model.parameters())
    on_gpu = task.device.type == "cuda"
    step = _training_step(subject, task) if task.train else _inference_step(subject, task)
    try:
        for _ in range(WARM_UP):
            step()
        gflops = _gflops(subject, task)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(task.device)
        timer = Timer("step()", globals={"step": step}, num_threads=torch.get_num_threads())
        seconds = timer.blocked_autorange(min_run_time=task.seconds).median
    except torch.OutOfMemoryError:
        return Result(subject.name, parameters, None, None, None, None)
    except ValueError as error:
        if "more than 1 value per channel" in str(error):
            raise UsageError(
                f"{subject.name} has a batch norm that cannot train on one image: --batch 2"
            ) from error
        raise
    finally:
        subject.model.zero_grad(set_to_none=True)
    peak = torch.cuda.max_memory_allocated(task.device) / 2**20 if on_gpu else None
    return Result(subject.name, parameters, gflops, seconds * 1e3, task.batch / seconds, peak)


def measure_each(makers: list[Callable[[], Subject]], task: Task) -> Iterator[Result]:
    """One after another, so that only one model takes memory at a time."""
    for make in makers:
        yield measure(make(), task)
        gc.collect()
        if task.device.type == "cuda":
            torch.cuda.empty_cache()


def _inference_step(subject: Subject, task: Task) -> Callable[[], None]:
    def step() -> None:
        with torch.inference_mode(), task.autocast():
            subject.call()

    return step


def _training_step(subject: Subject, task: Task) -> Callable[[], None]:
    """Forward and backward, without the optimizer."""

    def step() -> None:
        with task.autocast():
            output = subject.call()
            loss = output if isinstance(output, Tensor) else sum(x.float().mean() for x in output)
        loss.backward()
        subject.model.zero_grad(set_to_none=True)

    return step


def _gflops(subject: Subject, task: Task) -> float:
    with torch.no_grad():
        counts = multiply_adds(subject.call)
    return sum(counts.values()) / task.batch
