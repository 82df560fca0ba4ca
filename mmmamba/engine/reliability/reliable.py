"""What any config gets from our tools: our loops and hooks in the place of MMEngine's."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.logging import print_log

from ...config.signatures import class_name

# Registers what is named here.
from . import atomic_save, interrupt, loading_hook, nan_guard, resume  # noqa: F401

LOOPS = {"EpochBasedTrainLoop": "ResumableEpochLoop", "IterBasedTrainLoop": "ResumableIterLoop"}
HOOKS = {"interrupt": "InterruptHook", "nan_guard": "NanGuardHook"}


def make_reliable(cfg: Config, skip_nan: bool = False) -> None:
    """Put our training loops and checkpoint hook in the place of MMEngine's, and add our hooks.

    A hook that the config sets to None stays away; loops and hooks of other types are left as they
    are.

    Args:
        skip_nan: leave steps out whose loss or gradients are not finite.
    """
    _use_resumable_loop(cfg)
    load_strictly(cfg)
    hooks = cfg.default_hooks
    # MMEngine saves each epoch where nothing is said.
    hooks.setdefault("checkpoint", dict(type="CheckpointHook", interval=1))
    for hook in [hooks.checkpoint, *(cfg.get("custom_hooks") or [])]:
        if isinstance(hook, dict):
            _adapt_hook(hook)
    for key, name in HOOKS.items():
        if hooks.setdefault(key, dict(type=name)) is None:
            del hooks[key]
    if skip_nan and "nan_guard" in hooks:
        hooks.nan_guard.skip = True


def load_strictly(cfg: Config) -> None:
    """Add the hook that lets only weights be loaded that fit.

    A config can say what may differ, not do without it.
    """
    if cfg.get("default_hooks") is None:
        cfg.default_hooks = {}
    if cfg.default_hooks.get("loading") is None:
        cfg.default_hooks.loading = dict(type="LoadingHook")


def _use_resumable_loop(cfg: Config) -> None:
    loop = cfg.train_cfg
    # MMEngine's other form: `by_epoch` in the place of a type.
    if "type" not in loop:
        loop.type = "EpochBasedTrainLoop" if loop.pop("by_epoch") else "IterBasedTrainLoop"
    name = class_name(loop.type)
    if name in LOOPS:
        loop.type = LOOPS[name]
    elif name not in LOOPS.values():
        print_log(
            f"resuming is as exact as {name}, which is not one of MMEngine's loops", "current", 30
        )


def _adapt_hook(hook: dict) -> None:
    name = class_name(hook["type"])
    if name == "CheckpointHook":
        hook["type"] = "AtomicCheckpointHook"
    if name == "EarlyStoppingHook":
        # Before the best checkpoint is saved, which is to hold what it counted.
        hook.setdefault("priority", "LOW")
