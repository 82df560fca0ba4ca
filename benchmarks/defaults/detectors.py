"""Detectors as loads: one image to boxes and masks, and whole training steps."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from common import DEVICE, ROOT
from short_runs import shrink
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from yolo_models import (
    MODELS_AND_CONFIGS,
    SPREAD,
    TEST_CFG,
    images,
    prepared,
    set_candidates,
)
from yolo_models import PEERS as MMDET

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import set_random_seed
from mmengine.structures import InstanceData

from mmmamba.acceleration.fusing import fuse
from mmmamba.engine.precision import choose_precision
from mmmamba.engine.predicting import predict_in
from mmmamba.engine.run_ahead import RunAhead

from .loads import Load, weights_of

CONFIGS = {
    **MODELS_AND_CONFIGS,
    "mask_rcnn_vmamba_t": ROOT / "configs/mask_rcnn/vmamba_t_1x_coco.py",
    "mask_rcnn_mambavision_t": ROOT / "configs/mask_rcnn/mambavision_t_1x_coco.py",
    "mask_rcnn_swin_t": MMDET / "swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py",
    "vmamba_t_rtmdet": ROOT / "configs/yolo/vmamba_t_rtmdet_36e_coco.py",
    "vmamba_t_yolox": ROOT / "configs/yolo/vmamba_t_yolox_36e_coco.py",
    "vmamba_t_dfl": ROOT / "configs/yolo/vmamba_t_dfl_36e_coco.py",
}
CANDIDATES = 1000
OBJECTS = 10
"""Boxes of an image that is trained on."""
RESULTS = ("bboxes", "scores", "labels", "masks")


def config_of(name: str, small: bool) -> Config:
    cfg = Config.fromfile(CONFIGS[name])
    init_default_scope("mmdet")
    cfg.model.backbone.init_cfg = None
    # It would draw another size for every ten batches.
    cfg.model.data_preprocessor.pop("batch_augments", None)
    if small:
        if is_ours(name):
            shrink(cfg.model)
        for part in ("train_cfg", "test_cfg"):
            for key in ("rpn", "rpn_proposal"):
                if "max_per_img" in (cfg.model[part] or {}).get(key, {}):
                    cfg.model[part][key].update(nms_pre=20, max_per_img=20)
    return cfg


def build(cfg: Config) -> nn.Module:
    set_random_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    return model.to(DEVICE)


def half(dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(DEVICE, dtype, enabled=DEVICE == "cuda" and dtype != torch.float32)


def is_ours(name: str) -> bool:
    return Path(CONFIGS[name]).is_relative_to(ROOT / "configs")


def found(samples: list[DetDataSample]) -> list[Tensor]:
    """What a prediction says of its images."""
    values = []
    for sample in samples:
        instances = sample.pred_instances
        values += [instances[key] for key in RESULTS if key in instances]
    return values


def prediction(name: str, size: tuple[int, int], dtype: torch.dtype, small: bool) -> Load:
    """From an image on the GPU to boxes, and masks pasted into it, with random weights.

    Ours as the commands and `Predictor` run it, with results in float32; mmdet's under autocast.

    Raises:
        RuntimeError: nothing is found.
    """
    size = (64, 64) if small else size
    cfg = config_of(name, small)
    masks = "roi_head" in cfg.model
    if not masks:
        cfg.model.test_cfg = TEST_CFG
    model = build(cfg).eval()
    data = images(1, *size, DEVICE)
    with torch.no_grad():
        if masks:
            set_detections(model, data, CANDIDATES // (20 if small else 1))
        else:
            fit_batch_norms(model, size)
            candidates = 50 if small else CANDIDATES
            set_candidates(model, data, candidates, partial(half, dtype))

    autocast = partial(half, dtype)
    if is_ours(name):
        asked = str(dtype).removeprefix("torch.") if DEVICE == "cuda" else "float32"
        if dtype != torch.float32:
            model = fuse(model)
        predict_in(model, choose_precision(asked, torch.device(DEVICE)))
        autocast = nullcontext

    def step(n: int) -> list[Tensor]:
        with torch.no_grad(), autocast():
            return found(model.test_step(data))

    boxes = len(step(0)[0])
    if not boxes:
        raise RuntimeError(f"{name} finds nothing: its weights are not those that were wanted")
    return Load(model, step, about=lambda: dict(boxes=boxes))


def fit_batch_norms(model: nn.Module, size: tuple[int, int]) -> None:
    """By one batch of noise."""
    for norm in model.modules():
        # Not `nn.BatchNorm2d`: what was a SyncBN is a class of MMEngine's.
        if isinstance(norm, _BatchNorm):
            norm.momentum = None
    model.train()._forward(prepared(model, images(4, *size, DEVICE)))
    model.eval()


def set_detections(model: nn.Module, data: dict, wanted: int) -> None:
    """Change the class layer so that about `wanted` scores of an image pass the threshold.

    Logits get a standard deviation as a trained head's have, and the background is made as likely
    as it takes; suppression and the limit of an image then leave some hundred boxes.
    """
    layer, threshold = model.roi_head.bbox_head.fc_cls, model.roi_head.test_cfg.score_thr
    caught: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, args, output: caught.append(output.float()))
    model.test_step(data)
    logits_RC = caught.pop()
    # Of random features most is the same in all regions.
    mean_C = logits_RC.mean(0)
    factor = SPREAD / (logits_RC - mean_C).std()
    layer.bias.sub_(mean_C).mul_(factor)
    layer.weight.mul_(factor)
    model.test_step(data)
    hook.remove()
    logits_RC = caught.pop()
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        shifted_RC = logits_RC.clone()
        shifted_RC[:, -1] += middle
        many = int((shifted_RC.softmax(1)[:, :-1] > threshold).sum()) > wanted
        low, high = (middle, high) if many else (low, middle)
    layer.bias[-1] += high


def annotated(data: dict, side: int) -> dict:
    """The same images with boxes of several sizes, on the GPU."""
    generator = torch.Generator().manual_seed(2)
    for sample in data["data_samples"]:
        corner = torch.rand(OBJECTS, 2, generator=generator) * 0.6 * side
        extent = (0.05 + 0.3 * torch.rand(OBJECTS, 2, generator=generator)) * side
        labels = torch.randint(80, (OBJECTS,), generator=generator)
        boxes = torch.cat([corner, corner + extent], 1).to(DEVICE)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels.to(DEVICE))
        none = InstanceData(bboxes=boxes[:0], labels=labels[:0].to(DEVICE))
        sample.ignored_instances = none
    return data


def training(name: str, small: bool) -> Load:
    """The step of mmengine's loop on images that lie on the GPU, every loss read."""
    batch, side = (2, 64) if small else (8, 640)
    cfg = config_of(name, small)
    if DEVICE == "cuda":
        cfg.optim_wrapper.update(type="AmpOptimWrapper", dtype="bfloat16")
    model = build(cfg).train()
    data = annotated(images(batch, side, side, DEVICE), side)
    return Stepping(model, cfg, is_ours(name)).load([data])


class Stepping:
    """Training steps with a config's optimizer, at a learning rate of 0.

    Weights that stay as they are have the same losses again, whatever order kernels add in, and
    never grow; what the optimizer does takes as long as ever.

    Args:
        ours: read losses as `mmmamba train` does, else as MMEngine.
    """

    def __init__(self, model: nn.Module, cfg: Config, ours: bool):
        self.model, self.cfg, self.ours = model, cfg, ours
        self.back = weights_of(model)
        self.reset()

    def reset(self) -> None:
        self.back()
        self.wrapper = build_optim_wrapper(self.model, self.cfg.optim_wrapper)
        for group in self.wrapper.optimizer.param_groups:
            group["lr"] = 0.0
        hub = MessageHub.get_current_instance()
        self.ahead = RunAhead(self.model, self.wrapper, hub) if self.ours else None

    def step(self, batch: dict) -> list[Tensor | float]:
        """The losses."""
        losses = self.model.train_step(batch, self.wrapper)
        if self.ahead is None:
            return [value.item() for value in losses.values()]
        for key, value in losses.items():
            self.ahead.hub.update_scalar(f"train/{key}", value)
        self.ahead.end_step()
        return list(losses.values())

    def left(self) -> list[Tensor]:
        """What the optimizer keeps of gradients, and the statistics of batch norms."""
        states = self.wrapper.optimizer.state.values()
        kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
        return kept + list(self.model.buffers())

    def load(self, batches: list[dict]) -> Load:
        """Over these batches in turn."""

        def step(n: int) -> list[float]:
            return self.step(batches[n % len(batches)])

        return Load(self.model, step, self.reset, self.left, sizes=len(batches))
