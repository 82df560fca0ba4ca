"""One training step and one prediction of a shipped config, as it is or with another backbone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmmamba.models.drop_in import changes, compose, drop_in, part_with_backbone

from .cases import CASES, CONTROL, Case, config_path
from .inputs import batch

NO_WIDTHS = ("backbone", "data_preprocessor", "pretrained")


class Fault(Exception):
    """The step went through, and what it left is not right."""


def run_case(name: str, backbone: str, record: dict[str, Any]) -> None:
    """Build the model, train it one step, predict one image.

    Args:
        name: of `CASES`.
        backbone: one of ours, or `CONTROL`.
        record: gets the `stage` that is reached, "reading", "building", "training" or "predicting",
            and what the rules wrote, as `written` has it.

    Raises:
        Fault: a loss or gradient is not finite, or a parameter got no gradient.
        Exception: whatever building, training or predicting raises.
    """
    case = CASES[name]
    torch.manual_seed(0)
    record["stage"] = "reading"
    cfg = Config.fromfile(config_path(f"{name}/{case.config}.py"))
    if backbone != CONTROL:
        record.update(written(cfg, backbone))
        cfg = compose(cfg, backbone)
        # MambaVision's windows are for maps of images at 1333 pixels, which would be filled up.
        part_with_backbone(cfg.model).backbone.pop("window_size", None)
    record["stage"] = "building"
    _without_downloads(cfg.model)
    _small(cfg, case)
    init_default_scope(cfg.get("default_scope") or name.split("/")[0])
    model = _trained_part(cfg, case)
    record["stage"] = "training"
    model.train()
    _begin(model)
    losses = model(**model.data_preprocessor(batch(cfg, case, training=True), True), mode="loss")
    _backward(model, losses)
    torch.optim.SGD(model.parameters(), lr=1e-6).step()
    record["stage"] = "predicting"
    model.eval()
    with torch.no_grad():
        predictions = model.test_step(batch(cfg, case, training=False))
    if len(predictions) != 1:
        raise Fault(f"{len(predictions)} predictions for one image")


def written(cfg: Config, backbone: str) -> dict[str, Any]:
    """What the rules write for a backbone: its `out_indices`, and the lines that hold widths."""
    old, new = part_with_backbone(cfg.model), part_with_backbone(drop_in(cfg, backbone).model)
    widths = [key for key in new if key not in NO_WIDTHS and new[key] != old.get(key)]
    lines = changes({key: old[key] for key in widths}, {key: new[key] for key in widths})
    lines = re.sub(r"(?<=[(\[])\n\s*|,\n\s*(?=[)\]])", "", lines).replace("\n", "")
    inner = re.sub(r",\s+", ", ", lines).removeprefix("dict(").removesuffix(")")
    arguments = {
        key: value for key, value in new["backbone"].items() if key not in ("type", "arch")
    }
    return dict(backbone=arguments, lines=inner)


def _trained_part(cfg: Config, case: Case) -> nn.Module:
    """The model, or the detector of a tracker that is not trained as a whole."""
    config = cfg.model
    if case.kind == "detector" and "tracker" in config:
        config = {"data_preprocessor": config.data_preprocessor, **config.detector}
        if config["data_preprocessor"]["type"] == "TrackDataPreprocessor":
            images = {
                key: value
                for key, value in config["data_preprocessor"].items()
                if key != "use_det_processor"
            }
            config["data_preprocessor"] = dict(images, type="DetDataPreprocessor")
    model = revert_sync_batchnorm(MODELS.build(config))
    if hasattr(model, "init_weights"):
        model.init_weights()
    return model


def _begin(model: nn.Module) -> None:
    """What a runner tells losses that warm up."""
    hub = MessageHub.get_current_instance()
    hub.update_info("iter", 1)
    hub.update_info("epoch", 0)
    for module in model.modules():
        if hasattr(module, "epoch"):
            module.epoch = 0


def _backward(model: nn.Module, losses: dict[str, Any]) -> None:
    total, _ = model.parse_losses(losses)
    if not torch.isfinite(total):
        raise Fault(f"the loss is {total.item()}: {losses}")
    total.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    endless = [
        name for name, p in trained.items() if p.grad is not None and not p.grad.isfinite().all()
    ]
    idle = [name for name, p in trained.items() if p.grad is None]
    if endless:
        raise Fault(f"gradients that are not finite: {_some(endless)}")
    if idle:
        raise Fault(f"parameters without a gradient: {_some(idle)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _dicts(node: Any) -> Iterator[dict]:
    """Every dict in a config."""
    if isinstance(node, dict):
        yield node
    for one in (
        node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
    ):
        yield from _dicts(one)


def _without_downloads(model: dict) -> None:
    """Weights are random, and the teachers' configs are the installed package's."""
    for node in _dicts(model):
        for key in ("pretrained", "teacher_ckpt"):
            if node.get(key):
                node[key] = None
        if isinstance(node.get("init_cfg"), dict) and "checkpoint" in node["init_cfg"]:
            node["init_cfg"] = None
        if isinstance(node.get("teacher_config"), str):
            path = node["teacher_config"].removeprefix("configs/")
            teacher = Config.fromfile(config_path(f"mmdet/{path}"))
            _without_downloads(teacher.model)
            node["teacher_config"] = teacher


def _small(cfg: Config, case: Case) -> None:
    """One process, no padding to the size of the recipe's images, whole images at test time."""
    for node in _dicts(cfg.model):
        if node.get("batch_augments"):
            node["batch_augments"] = None
        if node.get("type") == "MMSyncBN":
            # It asks for a process group when it is made; SyncBN is reverted afterwards.
            node["type"] = "BN"
    if cfg.model.get("backbone", {}).get("type") in ("BEiT", "MAE"):
        # Their tables of positions are for one size.
        cfg.model.backbone.img_size = case.size
    if case.kind == "segmentor":
        cfg.model.data_preprocessor.update(size=case.size, size_divisor=None)
        cfg.model.test_cfg = dict(cfg.model.get("test_cfg") or {}, mode="whole")
    cfg.merge_from_dict({f"model.{key}": value for key, value in case.settings.items()})
