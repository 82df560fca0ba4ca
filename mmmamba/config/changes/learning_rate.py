"""How a learning rate follows the number of images of a step: one rule for every command.

The rate of SGD goes with the batch (Goyal et al. 2017, arXiv 1706.02677), that of Adam and its kind
with the root of the batch (Malladi et al. 2022, arXiv 2205.10287).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from ...errors import UsageError
from ..signatures import class_name
from .record import Changes

LINEAR = ("SGD", "ASGD")
"""Optimizers whose step grows with the gradient; those of all others do not."""


@dataclass(frozen=True)
class Rate:
    """Settings of the optimizer, its learning rate above all, and why they are as they are."""

    settings: dict[str, float]
    why: str


def reference_batch(cfg: Config) -> int | None:
    """The images of a step that the learning rate of a config was chosen for, if it says so."""
    return (cfg.get("auto_scale_lr") or {}).get("base_batch_size")


def rate_for(cfg: Config, batch: int) -> Rate:
    """The learning rate of a config for a batch, to two digits.

    Where the config does not say for which batch its own was chosen, it stays.
    `auto_scale_lr.steady_from` of a config is a batch from which on the rate stays and the weight
    decay grows with the batch, in the place of both. Smaller batches have the decay of that one.

    Args:
        batch: images of a step, over all GPUs.
    """
    optimizer, reference = _optimizer(cfg), reference_batch(cfg)
    lr = optimizer["lr"]
    if reference is None:
        return Rate({"lr": lr}, f"{lr:g} for any batch, as the recipe names none")
    if class_name(optimizer["type"]) not in LINEAR:
        rate = _rounded(lr * math.sqrt(batch / reference))
        return Rate({"lr": rate}, f"{lr:g} for {reference} images, the root of the ratio")
    steady = cfg.auto_scale_lr.get("steady_from")
    if steady is None:
        rate = _rounded(lr * batch / reference)
        return Rate({"lr": rate}, f"{lr:g} for {reference} images, in proportion")
    settings = {"lr": _rounded(lr * min(batch, steady) / min(reference, steady))}
    if optimizer.get("weight_decay"):
        share = max(batch, steady) / max(reference, steady)
        settings["weight_decay"] = _rounded(optimizer["weight_decay"] * share)
    full = lr * steady / min(reference, steady)
    return Rate(settings, f"{full:g} from {steady} images on, in proportion below")


def set_rate_for_batch(cfg: Config, batch: int, flag: str, changes: Changes) -> None:
    """Set the learning rate of a config to that for a batch, which becomes the one it is for.

    Args:
        batch: images of a step, over all GPUs.

    Raises:
        UsageError: the config does not say which batch its own rate was chosen for.
    """
    if reference_batch(cfg) is None:
        raise UsageError(
            f"{flag} needs auto_scale_lr=dict(base_batch_size=...) in the config: the images of a "
            "step that its learning rate was chosen for. Or name a rate with --lr"
        )
    rate = rate_for(cfg, batch)
    why = f"{flag}, {batch} images a step ({rate.why})"
    set_settings(cfg, rate.settings, why, changes)
    cfg.auto_scale_lr.base_batch_size = batch
    # MMEngine would scale it again, by a rule of its own.
    cfg.auto_scale_lr.enable = False


def set_rate(cfg: Config, lr: float, changes: Changes) -> None:
    """Set the learning rate, and where it ends in proportion."""
    if lr <= 0:
        raise UsageError(f"--lr is {lr:g}, wanted more than 0")
    set_settings(cfg, {"lr": lr}, f"--lr {lr:g}", changes)


def set_settings(cfg: Config, settings: dict[str, float], why: str, changes: Changes) -> None:
    """Set the learning rate and what goes with it, and where the rate ends in proportion."""
    optimizer = _optimizer(cfg)
    ratio = settings["lr"] / optimizer["lr"]
    for key, value in settings.items():
        changes.set(why, optimizer, key, value, "optim_wrapper.optimizer")
    for entry, place in schedulers(cfg.get("param_scheduler")):
        for key, value in ends(entry, ratio).items():
            changes.set(why, entry, key, value, place)


def schedulers(node: Any, place: str = "param_scheduler") -> Iterator[tuple[dict, str]]:
    """Every scheduler of a config: one, a list, or lists by the name of an optimizer."""
    if isinstance(node, dict) and "type" in node:
        yield node, place
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from schedulers(value, f"{place}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from schedulers(value, f"{place}.{index}")


def ends(entry: dict, ratio: float) -> dict[str, float]:
    """Where the rate of a scheduler ends, which follows from where it begins.

    Args:
        ratio: of the new rate to the one that the scheduler was written for.
    """
    if not entry.get("eta_min") or class_name(entry["type"]).endswith("Momentum"):
        return {}
    return {"eta_min": _rounded(entry["eta_min"] * ratio)}


def as_list(value: Any) -> list:
    """Configs write one scheduler without a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _optimizer(cfg: Config) -> dict:
    optimizer = (cfg.get("optim_wrapper") or {}).get("optimizer")
    if not isinstance(optimizer, dict) or not isinstance(optimizer.get("lr"), (int, float)):
        raise UsageError(
            "the config has no optim_wrapper.optimizer.lr, the one rate that could be changed; set "
            "its rates by --cfg-options"
        )
    return optimizer


def _rounded(value: float) -> float:
    """To two digits, which is what a config shows."""
    return float(f"{value:.2g}")
