"""One training step and one prediction of a shipped config, as it is or with another backbone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmmamba.zoo.drop_in import drop_in

from .cases import CASES, CONTROL, Case, config_path
from .inputs import batch


class Fault(Exception):
    """The step went through, and what it left is not right."""


def run_case(name: str, backbone: str) -> list[str]:
    """Build the model, train it one step, predict one image.

    Args:
        name: of `CASES`.
        backbone: one of ours, or `CONTROL`.

    Returns:
        Names of the parameters outside the backbone that got no gradient.

    Raises:
        Fault: a loss or gradient is not finite, or a parameter of the backbone got none.
        Exception: whatever building, training or predicting raises.
    """
    case = CASES[name]
    torch.manual_seed(0)
    cfg = Config.fromfile(config_path(f"{name.split('/')[0]}/{name.split('/')[1]}/{case.config}.py"))
    if backbone != CONTROL:
        cfg = drop_in(cfg, backbone)
    _without_downloads(cfg.model)
    _small(cfg, case)
    init_default_scope(cfg.get("default_scope") or name.split("/")[0])
    model = _trained_part(cfg, case)
    model.train()
    losses = _losses(model, batch(cfg, case, training=True))
    idle = _backward(model, losses)
    torch.optim.SGD(model.parameters(), lr=1e-6).step()
    model.eval()
    with torch.no_grad():
        predictions = model.test_step(batch(cfg, case, training=False))
    if len(predictions) != 1:
        raise Fault(f"{len(predictions)} predictions for one image")
    return idle


def _trained_part(cfg: Config, case: Case) -> nn.Module:
    """The model, or the detector of a tracker that is not trained as a whole."""
    config = cfg.model
    if case.kind == "detector" and "tracker" in config:
        config = {"data_preprocessor": config.data_preprocessor, **config.detector}
        if config["data_preprocessor"]["type"] == "TrackDataPreprocessor":
            config["data_preprocessor"] = dict(config["data_preprocessor"], type="DetDataPreprocessor")
    model = revert_sync_batchnorm(MODELS.build(config))
    if hasattr(model, "init_weights"):
        model.init_weights()
    return model


def _losses(model: nn.Module, data: dict[str, Any]) -> dict[str, Any]:
    data = model.data_preprocessor(data, True)
    return model(**data, mode="loss")


def _backward(model: nn.Module, losses: dict[str, Any]) -> list[str]:
    total, _ = model.parse_losses(losses)
    if not torch.isfinite(total):
        raise Fault(f"the loss is {total.item()}: {losses}")
    total.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    endless = [name for name, p in trained.items() if p.grad is not None and not p.grad.isfinite().all()]
    idle = [name for name, p in trained.items() if p.grad is None]
    if endless:
        raise Fault(f"gradients that are not finite: {_some(endless)}")
    ours = [name for name in idle if name.startswith(("backbone.", "detector.backbone.", "student.backbone."))]
    if ours:
        raise Fault(f"parameters of the backbone without a gradient: {_some(ours)}")
    return idle


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _dicts(node: Any) -> Iterator[dict]:
    """Every dict in a config."""
    if isinstance(node, dict):
        yield node
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        yield from _dicts(one)


def _without_downloads(model: dict) -> None:
    """Weights are random, and the teachers' configs are the installed package's."""
    for node in _dicts(model):
        for key in ("pretrained", "teacher_ckpt"):
            if node.get(key):
                node[key] = None
        if isinstance(node.get("init_cfg"), dict) and node["init_cfg"].get("type") == "Pretrained":
            node["init_cfg"] = None
        if isinstance(node.get("teacher_config"), str):
            path = node["teacher_config"].removeprefix("configs/")
            teacher = Config.fromfile(config_path(f"mmdet/{path}"))
            _without_downloads(teacher.model)
            node["teacher_config"] = teacher


def _small(cfg: Config, case: Case) -> None:
    """No padding to the size of the recipe's images; whole images at test time."""
    for node in _dicts(cfg.model):
        if node.get("batch_augments"):
            node["batch_augments"] = None
    if case.kind == "segmentor":
        cfg.model.data_preprocessor.update(size=case.size, size_divisor=None)
        cfg.model.test_cfg = dict(cfg.model.get("test_cfg") or {}, mode="whole")
    cfg.merge_from_dict({f"model.{key}": value for key, value in case.settings.items()})

