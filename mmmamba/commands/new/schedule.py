"""How long a shipped recipe should run on a data set of another size, and with which learning
rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

ITERATIONS = 4_000
"""Least number of steps of two images from published weights, of larger batches fewer by the root;
from scratch three times as many."""
LEAST_EPOCHS, MOST_EPOCHS = 12, 300
PASSES = 100
"""Over the images, of a segmentor: it sees crops."""
LOG_INTERVAL = 50
VALIDATIONS = 10
WARMUP_SHARE = 0.1
NOMINAL_BATCH = 64
"""Of Mamba YOLO's program, which keeps its rate from here on and accumulates smaller batches up to
it."""


@dataclass(frozen=True)
class Schedule:
    """Length in `unit`s ("epochs" or "iters"), the schedulers for it, and the optimizer's learning
    rate."""

    unit: str
    length: int
    val_interval: int
    log_interval: int
    """Steps. MMEngine writes nothing in an epoch that is shorter."""
    schedulers: list[dict]
    optimizer: dict[str, float]
    why_rate: str


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
    pretrained = (base.model.backbone.get("init_cfg") or {}).get("checkpoint")
    wanted = math.ceil((1 if pretrained else 3) * ITERATIONS / math.sqrt(max(batch / 2, 1)))
    if length is None and unit == "epochs":
        length = min(max(math.ceil(wanted / steps), LEAST_EPOCHS), MOST_EPOCHS)
    elif length is None:
        length = min(max(wanted, PASSES * steps), published)
    total = length * steps if unit == "epochs" else length
    optimizer, why = _rate(base, batch)
    schedulers = _stretch(base, unit, published, length, total)
    for entry in schedulers:
        if entry.get("eta_min"):
            entry["eta_min"] = float(
                f"{entry['eta_min'] * optimizer['lr'] / base.optim_wrapper.optimizer.lr:.2g}"
            )
    log_interval = min(LOG_INTERVAL, max(steps // 2, 1)) if unit == "epochs" else LOG_INTERVAL
    return Schedule(
        unit, length, max(length // VALIDATIONS, 1), log_interval, schedulers, optimizer, why
    )


def _rate(base: Config, batch: int) -> tuple[dict[str, float], str]:
    """The learning rate for a batch.

    Of Adam's kind by the root of the ratio (Malladi et al. 2022, arXiv 2205.10287), of SGD's by the
    ratio.
    """
    optimizer = base.optim_wrapper.optimizer
    published = (base.get("auto_scale_lr") or {}).get("base_batch_size", 16)
    if optimizer.type == "SGD":
        # The decay of the shipped recipe was raised with the batch, too.
        factor = NOMINAL_BATCH / published
        rate = dict(
            lr=optimizer.lr * min(batch / NOMINAL_BATCH, 1.0),
            weight_decay=optimizer.weight_decay * factor,
        )
        return _rounded(
            rate
        ), f"{optimizer.lr:g} from {NOMINAL_BATCH} images on, less in proportion for {batch}"
    rate = dict(lr=optimizer.lr * math.sqrt(batch / published))
    return _rounded(
        rate
    ), f"published: {optimizer.lr:g} for {published} images; the root of the ratio for {batch}"


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.2g}") for key, value in values.items()}


def _stretch(base: Config, unit: str, published: int, length: int, total: int) -> list[dict]:
    """The shipped schedulers over another length; warm-up counts steps and takes a tenth of them at
    most."""
    stretched = []
    moved: dict[int, int] = {}
    for entry in base.param_scheduler:
        new: dict[str, Any] = {
            key: list(v) if isinstance(v, (list, tuple)) else v for key, v in entry.items()
        }
        in_steps = not entry.get("by_epoch", True)
        if in_steps and (
            unit == "epochs" or entry.get("end", published) <= WARMUP_SHARE * published
        ):
            new["end"] = max(min(entry["end"], round(WARMUP_SHARE * total)), 1)
            moved[entry["end"]] = new["end"]
        else:
            for key in ("begin", "end", "T_max"):
                if key in entry:
                    new[key] = moved.get(entry[key]) or round(entry[key] * length / published)
            if "milestones" in entry:
                new["milestones"] = [round(m * length / published) for m in entry["milestones"]]
        stretched.append(new)
    return stretched
