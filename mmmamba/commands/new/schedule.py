"""How long a shipped recipe runs on a data set of another size, and with which learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmengine.config import Config

from ...config.changes import (
    Changes,
    Rate,
    Stretch,
    fitting_patience,
    follow_length,
    rate_for,
    set_settings,
    stopping_hook,
)
from ...config.signatures import makes_one_of

ITERATIONS = 4_000
"""Least number of steps of two images from published weights.

Steps of larger batches are fewer by the root; from scratch they are three times as many.
"""
LEAST_EPOCHS, MOST_EPOCHS = 12, 300
PASSES = 100
"""Least number of passes over the images that a segmentor makes: it sees crops."""
AVERAGE = "ExponentialMovingAverage"
AVERAGED, LEAST_AVERAGED = 0.03, 0.1
"""Steps that an average of weights reaches back, as a share: 10,000 of ImageNet's 375,000.

And the largest momentum, which reaches back ten steps.
"""
LOG_INTERVAL = 50
VALIDATIONS = 10


@dataclass(frozen=True)
class Schedule:
    """A length, the schedulers for it, and the optimizer's learning rate."""

    unit: str
    """`epochs` or `iters`."""
    length: int
    val_interval: int
    log_interval: int
    """Steps. MMEngine writes nothing in an epoch that is shorter."""
    schedulers: list[dict]
    rate: Rate
    hooks: list[dict | None]
    """What changes of each hook that the config has, None of one that goes."""
    stopping: dict | None
    """The hook that ends training early, where the metric to watch is known."""


def plan_schedule(base: Config, images: int, batch: int, length: int | None = None) -> Schedule:
    """Scale the schedule of a config to a data set.

    Args:
        images: to train on.
        batch: images of a step, over all GPUs.
        length: in the config's own unit; None chooses it by the number of images.
    """
    unit = "iters" if "max_iters" in base.train_cfg else "epochs"
    published = base.train_cfg[f"max_{unit}"]
    steps = math.ceil(images / batch)
    if length is None:
        length = _length(base, unit, steps, batch)
    cfg, untold = Config(base.to_dict()), Changes()
    stretch = Stretch(unit, published, length, (published * steps, length * steps))
    follow_length(cfg, stretch, "", untold)
    _shorten_averages(cfg, length * (steps if unit == "epochs" else 1))
    rate = rate_for(cfg, batch)
    set_settings(cfg, rate.settings, "", untold)
    # An epoch of few steps would end before its first line.
    log_interval = min(LOG_INTERVAL, max(steps // 2, 1)) if unit == "epochs" else LOG_INTERVAL
    val_interval = max(length // VALIDATIONS, 1)
    stopping = stopping_hook(cfg, fitting_patience(length, val_interval))
    return Schedule(
        unit,
        length,
        val_interval,
        log_interval,
        cfg.to_dict().get("param_scheduler") or [],
        rate,
        _changed_hooks(base, cfg),
        stopping,
    )


def _shorten_averages(cfg: Config, steps: int) -> None:
    """Let an average of weights reach no further back than a share of the training.

    Those of mmdet's kind begin with short ones by themselves.
    """
    for hook in cfg.get("custom_hooks") or []:
        if makes_one_of(hook, "EMAHook") and hook.get("ema_type", AVERAGE) == AVERAGE:
            least = float(f"{1 / max(AVERAGED * steps, 1):.2g}")
            hook.momentum = min(max(hook.get("momentum", 0.0), least), LEAST_AVERAGED)


def _changed_hooks(base: Config, cfg: Config) -> list[dict | None]:
    """What of each hook of a config another length has changed; None of one that is left out."""
    changed: list[dict | None] = []
    for old, new in zip(base.get("custom_hooks") or [], cfg.get("custom_hooks") or []):
        settings = {key: value for key, value in new.items() if old.get(key) != value}
        # There is one for the new length.
        changed.append(None if makes_one_of(new, "EarlyStoppingHook") else settings)
    return changed


def _length(base: Config, unit: str, steps: int, batch: int) -> int:
    """Epochs or iterations for a data set of so many steps an epoch."""
    pretrained = (base.model.backbone.get("init_cfg") or {}).get("checkpoint")
    wanted = math.ceil((1 if pretrained else 3) * ITERATIONS / math.sqrt(max(batch / 2, 1)))
    if unit == "epochs":
        return min(max(math.ceil(wanted / steps), LEAST_EPOCHS), MOST_EPOCHS)
    return min(max(wanted, PASSES * steps), base.train_cfg.max_iters)
