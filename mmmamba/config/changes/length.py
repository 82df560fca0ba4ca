"""Another length of training, and what of a config hangs on it: schedules, stages, intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mmengine.config import Config

from ...errors import UsageError
from ..signatures import class_name
from .early_stopping import fit_patience
from .learning_rate import as_list, schedulers
from .record import Changes
from .stretch import WARMUP_SHARE, Stretch, is_left, is_warmup

VALIDATIONS = 10
"""Most of them in a training of iterations that became shorter."""
StepsOfEpoch = Callable[[], tuple[int, int]]
"""Steps of an epoch with the batch before and now: asked only where they matter."""


def change_length(
    cfg: Config, epochs: int | None, iters: int | None, steps: StepsOfEpoch, changes: Changes
) -> None:
    """Make training as long as `--epochs` or `--iters` say, and let everything follow.

    Args:
        steps: of an epoch, with the batch that the config had and with the one that it has.

    Raises:
        UsageError: both were named, or a number below 1, or the config has no length.
    """
    if epochs is not None and iters is not None:
        raise UsageError("--epochs and --iters both say how long to train: name one")
    flag, wanted = ("--epochs", epochs) if iters is None else ("--iters", iters)
    if wanted is None:
        return
    if wanted < 1:
        raise UsageError(f"{flag} is {wanted}, wanted 1 or more")
    flag = f"{flag} {wanted}"
    unit, old = length_of(cfg)
    new = wanted
    if unit == "iters" and epochs is not None:
        new = epochs * steps()[1]
        changes.say(
            f"{flag}: {new} iterations, {steps()[1]} an epoch, as the config counts iterations"
        )
    elif unit == "epochs" and iters is not None:
        new = math.ceil(iters / steps()[1])
        changes.say(f"{flag}: {new} epochs of {steps()[1]} steps, as the config counts epochs")
    follow_length(cfg, _stretch(cfg, unit, old, new, steps), flag, changes)


def follow_batch(cfg: Config, flag: str, steps: StepsOfEpoch, changes: Changes) -> None:
    """Let schedules follow a batch that changes how many steps an epoch has."""
    unit, old = length_of(cfg)
    counted = [entry for entry, _ in schedulers(cfg.get("param_scheduler")) if _in_steps(entry)]
    if unit == "epochs" and not all(map(is_warmup, counted)):
        _follow_schedulers(cfg, _stretch(cfg, unit, old, old, steps), flag, changes)


def length_of(cfg: Config) -> tuple[str, int]:
    """What a config counts, `epochs` or `iters`, and how many of them it trains."""
    loop = cfg.get("train_cfg") or {}
    for unit in ("iters", "epochs"):
        if isinstance(loop.get(f"max_{unit}"), (int, float)):
            return unit, int(loop[f"max_{unit}"])
    raise UsageError(
        "the config has neither train_cfg.max_epochs nor train_cfg.max_iters, which --epochs and "
        "--iters replace"
    )


def follow_length(cfg: Config, stretch: Stretch, flag: str, changes: Changes) -> None:
    """Set the length of a config, and move what hangs on it."""
    key = f"max_{stretch.unit}"
    changes.set(flag, cfg.train_cfg, key, stretch.length.new, "train_cfg")
    # Many configs keep it in a variable, too.
    if cfg.get(key) == stretch.length.old:
        cfg[key] = stretch.length.new
    _follow_schedulers(cfg, stretch, flag, changes)
    _follow_intervals(cfg, stretch, flag, changes)
    for index, hook in enumerate(cfg.get("custom_hooks") or []):
        _follow_hook(hook, f"custom_hooks.{index} ({_name(hook)})", stretch, flag, changes)
    if stretch.unit == "epochs":
        _follow_model(cfg.get("model"), "model", stretch, flag, changes)
    fit_patience(cfg, flag, changes)


def left_behind(cfg: Config) -> list[str]:
    """What of a config does not end where its training ends."""
    unit, length = length_of(cfg)
    counted = []
    for entry, place in schedulers(cfg.get("param_scheduler")):
        if entry.get("by_epoch", True) == (unit == "epochs") and "end" in entry:
            counted.append((entry["end"], f"{place}.end"))
    last, place = max(counted, default=(length, ""))
    left = [f"{place} = {last}"] if last != length else []
    for index, hook in enumerate(cfg.get("custom_hooks") or []):
        if _name(hook) == "PipelineSwitchHook" and hook["switch_epoch"] >= length:
            left.append(f"custom_hooks.{index}.switch_epoch = {hook['switch_epoch']}")
    interval = cfg.train_cfg.get("val_interval", 1)
    # Every epoch is often enough for a run of none, too.
    if interval > max(length, 1):
        left.append(f"train_cfg.val_interval = {interval}")
    return left


def _stretch(cfg: Config, unit: str, old: int, new: int, steps: StepsOfEpoch) -> Stretch:
    """To a length, with its steps where something counts them."""
    counted = [entry for entry, _ in schedulers(cfg.get("param_scheduler")) if _in_steps(entry)]
    hooks = [hook for hook in cfg.get("custom_hooks") or [] if _name(hook) == "YOLOWarmupHook"]
    # A longer training has room for every warm-up.
    matters = new < old or not all(map(is_warmup, counted))
    if unit == "iters" or not matters or not (counted or hooks):
        return Stretch(unit, old, new)
    before, after = steps()
    return Stretch(unit, old, new, (before * old, after * new))


def _in_steps(entry: dict) -> bool:
    return not entry.get("by_epoch", True)


def _follow_schedulers(cfg: Config, stretch: Stretch, flag: str, changes: Changes) -> None:
    given = cfg.get("param_scheduler")
    # One, a list, or lists by the name of an optimizer.
    if isinstance(given, dict) and "type" not in given:
        for name, entries in given.items():
            place = f"param_scheduler.{name}"
            given[name] = _stretched(as_list(entries), place, stretch, flag, changes)
    elif given:
        place = "param_scheduler"
        cfg.param_scheduler = _stretched(as_list(given), place, stretch, flag, changes)


def _stretched(
    entries: list, place: str, stretch: Stretch, flag: str, changes: Changes
) -> list[dict]:
    kept = []
    for index, (entry, moved) in enumerate(zip(entries, stretch.of(entries))):
        here = f"{place}.{index} ({_name(entry)})"
        if not is_left(moved):
            changes.say(f"{flag}: {here} is left out: it would end where it begins")
            continue
        for key, value in moved.items():
            changes.set(flag, entry, key, value, here)
        kept.append(entry)
    return kept


def _follow_intervals(cfg: Config, stretch: Stretch, flag: str, changes: Changes) -> None:
    loop = cfg.train_cfg
    if "val_interval" in loop:
        interval = _interval(loop["val_interval"], stretch)
        changes.set(flag, loop, "val_interval", interval, "train_cfg")
    if loop.get("val_begin", 1) > 1:
        changes.set(flag, loop, "val_begin", stretch.length.share(loop["val_begin"]), "train_cfg")
    if loop.get("dynamic_intervals"):
        moved = [
            (min(stretch.length.point(at), stretch.length.new - 1), stretch.length.share(interval))
            for at, interval in loop["dynamic_intervals"]
        ]
        changes.set(flag, loop, "dynamic_intervals", moved, "train_cfg")
    hooks = cfg.get("default_hooks") or {}
    saving = hooks.get("checkpoint") or {}
    # MMEngine saves by the epoch where nothing is said.
    if saving.get("by_epoch", True) == (stretch.unit == "epochs") and saving.get("interval", 0) > 0:
        place = "default_hooks.checkpoint"
        changes.set(flag, saving, "interval", _interval(saving["interval"], stretch), place)
    logging = hooks.get("logger") or {}
    if stretch.unit == "iters" and logging.get("interval", 0) > stretch.length.new:
        changes.set(
            flag, logging, "interval", max(stretch.length.new // 2, 1), "default_hooks.logger"
        )


def _interval(interval: int, stretch: Stretch) -> int:
    """An interval of validations or checkpoints: as many as before, or ten in few iterations."""
    least = stretch.length.new // VALIDATIONS if stretch.unit == "iters" else 1
    return min(interval, max(stretch.length.share(interval), least))


def _follow_hook(hook: Any, place: str, stretch: Stretch, flag: str, changes: Changes) -> None:
    """The stages of training that hooks begin and end."""
    kind, new = _name(hook), stretch.length.new
    if stretch.unit == "iters":
        if hook.get("begin_iter"):
            changes.set(flag, hook, "begin_iter", stretch.length.point(hook["begin_iter"]), place)
        return
    if kind == "PipelineSwitchHook":
        # Before the last epoch is over, and not in the first while there are two.
        switch = max(min(stretch.length.point(hook["switch_epoch"]), new - 1), min(1, new - 1))
        changes.set(flag, hook, "switch_epoch", switch, place)
    elif kind == "YOLOXModeSwitchHook":
        # It begins one epoch sooner than its number says.
        last = min(stretch.length.point(hook.get("num_last_epochs", 15)), max(new - 2, 0))
        changes.set(flag, hook, "num_last_epochs", last, place)
    elif kind == "YOLOWarmupHook":
        epochs, least = hook.get("epochs", 3), hook.get("min_iters", 100)
        changes.set(flag, hook, "epochs", min(epochs, int(WARMUP_SHARE * new)), place)
        changes.set(flag, hook, "min_iters", stretch.warmup(least), place)
    elif hook.get("begin_epoch"):
        changes.set(flag, hook, "begin_epoch", stretch.length.point(hook["begin_epoch"]), place)


def _follow_model(node: Any, place: str, stretch: Stretch, flag: str, changes: Changes) -> None:
    """Heads that begin with other targets, as TOOD's does."""
    if isinstance(node, dict):
        if isinstance(node.get("initial_epoch"), int):
            at = stretch.length.point(node["initial_epoch"])
            changes.set(flag, node, "initial_epoch", at, place)
        for key, value in node.items():
            _follow_model(value, f"{place}.{key}", stretch, flag, changes)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            _follow_model(value, f"{place}.{index}", stretch, flag, changes)


def _name(entry: Any) -> str:
    return class_name(entry["type"])
