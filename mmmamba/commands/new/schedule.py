"""How long a shipped recipe runs on a data set of another size, and with which learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

ITERATIONS = 4_000
"""Least number of steps of two images from published weights.

Steps of larger batches are fewer by the root; from scratch they are three times as many.
"""
LEAST_EPOCHS, MOST_EPOCHS = 12, 300
PASSES = 100
"""Least number of passes over the images that a segmentor makes: it sees crops."""
LOG_INTERVAL = 50
VALIDATIONS = 10
WARMUP_SHARE = 0.1
NOMINAL_BATCH = 64
"""Batch from which on Mamba YOLO's recipe keeps its rate; smaller ones are accumulated up to it."""


@dataclass(frozen=True)
class Rate:
    """Settings of the optimizer, its learning rate above all, and why they are as they are."""

    settings: dict[str, float]
    why: str


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
    # Schedulers count epochs or steps, so both the length and the number of all steps matter.
    total = length * steps if unit == "epochs" else length
    rate = _rate(base, batch)
    schedulers = _stretch(base, unit, published, length, total)
    for entry in schedulers:
        # Where the rate ends follows from where it begins.
        if entry.get("eta_min"):
            least = entry["eta_min"] * rate.settings["lr"] / base.optim_wrapper.optimizer.lr
            entry["eta_min"] = _rounded(least)
    # An epoch of few steps would end before its first line.
    log_interval = min(LOG_INTERVAL, max(steps // 2, 1)) if unit == "epochs" else LOG_INTERVAL
    val_interval = max(length // VALIDATIONS, 1)
    return Schedule(unit, length, val_interval, log_interval, schedulers, rate)


def _length(base: Config, unit: str, steps: int, batch: int) -> int:
    """Epochs or iterations for a data set of so many steps an epoch."""
    pretrained = (base.model.backbone.get("init_cfg") or {}).get("checkpoint")
    wanted = math.ceil((1 if pretrained else 3) * ITERATIONS / math.sqrt(max(batch / 2, 1)))
    if unit == "epochs":
        return min(max(math.ceil(wanted / steps), LEAST_EPOCHS), MOST_EPOCHS)
    return min(max(wanted, PASSES * steps), base.train_cfg.max_iters)


def _rate(base: Config, batch: int) -> Rate:
    """The learning rate for a batch.

    That of Adam and its kind goes with the root of the batch (Malladi et al. 2022,
    arXiv 2205.10287), that of SGD with the batch.
    """
    optimizer = base.optim_wrapper.optimizer
    published = (base.get("auto_scale_lr") or {}).get("base_batch_size", 16)
    if optimizer.type == "SGD":
        # The decay of the shipped recipe was raised with the batch, too.
        factor = NOMINAL_BATCH / published
        settings = dict(
            lr=optimizer.lr * min(batch / NOMINAL_BATCH, 1.0),
            weight_decay=optimizer.weight_decay * factor,
        )
        why = f"{optimizer.lr:g} from {NOMINAL_BATCH} images on, less in proportion for {batch}"
    else:
        settings = dict(lr=optimizer.lr * math.sqrt(batch / published))
        why = (
            f"published: {optimizer.lr:g} for {published} images; the root of the ratio for {batch}"
        )
    return Rate({key: _rounded(value) for key, value in settings.items()}, why)


def _rounded(value: float) -> float:
    """To two digits, which is what a config shows."""
    return float(f"{value:.2g}")


def _stretch(base: Config, unit: str, published: int, length: int, total: int) -> list[dict]:
    """The shipped schedulers over another length.

    Warm-up counts steps and takes a tenth of them at most.

    Args:
        published, length: the shipped length and the new one, in `unit`s.
        total: steps of the new one.
    """
    stretched = []
    moved: dict[int, int] = {}
    for entry in base.param_scheduler:
        new: dict[str, Any] = {}
        for key, value in entry.items():
            # Not the lists of the shipped config themselves.
            new[key] = list(value) if isinstance(value, (list, tuple)) else value
        # A scheduler that counts steps in a recipe of epochs is a warm-up; in one of iterations all
        # count steps, and the short ones are.
        in_steps = not entry.get("by_epoch", True)
        short = entry.get("end", published) <= WARMUP_SHARE * published
        if in_steps and (unit == "epochs" or short):
            new["end"] = max(min(entry["end"], round(WARMUP_SHARE * total)), 1)
            moved[entry["end"]] = new["end"]
        else:
            for key in ("begin", "end", "T_max"):
                if key in entry:
                    # Where the warm-up ended, the next scheduler goes on.
                    new[key] = moved.get(entry[key]) or round(entry[key] * length / published)
            if "milestones" in entry:
                new["milestones"] = [round(m * length / published) for m in entry["milestones"]]
        stretched.append(new)
    return stretched
