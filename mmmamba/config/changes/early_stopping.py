"""Early stopping in a config: offered by a flag, and able to happen within the training."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from ...errors import UsageError
from ..signatures import class_name, makes_one_of
from .record import Changes

HOOK = "EarlyStoppingHook"
OTHERS = {"VOCMetric": ("pascal_voc", "mAP"), "CocoPanopticMetric": ("coco_panoptic", "PQ")}
"""Prefix and name of the first metric."""
SHARE = 2
"""Part of all validations that the best one may be behind: half of them."""


def set_patience(cfg: Config, patience: int, changes: Changes) -> None:
    """End a training that has not become better for so many validations; with 0 never.

    Raises:
        UsageError: a number below 0, or no metric is known that could be watched.
    """
    flag = f"--patience {patience}"
    if patience < 0:
        raise UsageError(f"--patience is {patience}, wanted the number of validations, or 0")
    hooks = list(cfg.get("custom_hooks") or [])
    found = [hook for hook in hooks if makes_one_of(hook, HOOK)]
    if patience == 0:
        cfg.custom_hooks = [hook for hook in hooks if hook not in found]
        changes.say(f"{flag}: training does not end early")
    elif found:
        for hook in found:
            place = f"custom_hooks.{hooks.index(hook)} ({HOOK})"
            changes.set(flag, hook, "patience", patience, place)
    else:
        hook = stopping_hook(cfg, patience)
        if hook is None:
            raise UsageError(
                "--patience watches the metric of a CocoMetric, an IoUMetric, an Accuracy or their "
                "like in val_evaluator, and there is none. Name yours: custom_hooks = "
                "[dict(type='EarlyStoppingHook', monitor='...', rule='greater', patience=...)]"
            )
        cfg.custom_hooks = [*hooks, hook]
        changes.say(
            f"{flag}: training ends where {hook['monitor']} has not risen for {patience} "
            "validations"
        )


def stopping_hook(cfg: Config, patience: int) -> dict[str, Any] | None:
    """The hook that ends a training early, as a config writes it.

    None where the evaluator is none whose metrics are known.
    """
    monitor = _metric(cfg)
    if monitor is None:
        return None
    return dict(type=HOOK, monitor=monitor, rule="greater", min_delta=0.0, patience=patience)


def fitting_patience(length: int, val_interval: int) -> int:
    """A patience that is shorter than the training, in validations."""
    return max(length // max(val_interval, 1) // SHARE, 1)


def fit_patience(cfg: Config, flag: str, changes: Changes) -> None:
    """Shorten the patience of a config that its training would never come to the end of."""
    loop = cfg.train_cfg
    length = loop.get("max_epochs") or loop.get("max_iters")
    validations = length // loop.get("val_interval", 1)
    for index, hook in enumerate(cfg.get("custom_hooks") or []):
        # The first validation is the best so far: one more than the patience ends a training.
        if makes_one_of(hook, HOOK) and hook.get("patience", 5) + 1 >= validations:
            patience = fitting_patience(length, loop.get("val_interval", 1))
            place = f"custom_hooks.{index} ({HOOK})"
            changes.set(flag, hook, "patience", patience, place)


def _metric(cfg: Config) -> str | None:
    """The metric that validation gives first."""
    evaluators = cfg.get("val_evaluator") or []
    for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        kind = class_name(evaluator.get("type", ""))
        prefix = evaluator.get("prefix")
        if kind in ("CocoMetric", "TiledCocoMetric"):
            metric = evaluator.get("metric", "bbox")
            first = metric if isinstance(metric, str) else metric[0]
            return f"{prefix or 'coco'}/{first}_mAP"
        if kind in OTHERS:
            default, metric = OTHERS[kind]
            return f"{prefix or default}/{metric}"
        if kind == "Accuracy":
            topk = evaluator.get("topk", 1)
            first = topk if isinstance(topk, int) else topk[0]
            return f"{prefix or 'accuracy'}/top{first}"
        if kind == "IoUMetric":
            metric = evaluator.get("iou_metrics", "mIoU")
            first = metric if isinstance(metric, str) else metric[0]
            return f"{prefix}/{first}" if prefix else first
        if kind == "SmallTargetMetric":
            return f"{prefix}/IoU" if prefix else "IoU"
    return None
