"""The flags that hands type, such as `--epochs 3`, put into a config."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from mmengine.config import Config

from ...errors import UsageError
from ..options import by_number
from .early_stopping import set_patience
from .image_size import set_image_size
from .learning_rate import reference_batch, set_rate, set_rate_for_batch
from .length import change_length, follow_batch, left_behind, length_of
from .loaders import images_of_a_step, set_batch, set_workers
from .record import Changes

OPTIONS = {
    "epochs": "train_cfg.max_epochs",
    "iters": "train_cfg.max_iters",
    "batch": "train_dataloader.batch_size",
    "lr": "optim_wrapper.optimizer.lr",
}
"""What `--cfg-options` call what a flag sets."""


def apply_flags(
    cfg: Config,
    *,
    epochs: int | None = None,
    iters: int | None = None,
    batch: int | None = None,
    imgsz: int | str | tuple[int, int] | None = None,
    lr: float | None = None,
    workers: int | None = None,
    patience: int | None = None,
    options: Mapping[str, Any] | None = None,
    gpus: int = 1,
    images: Callable[[], int] | None = None,
) -> list[str]:
    """Change a config as the flags of a command say, with all that hangs on each.

    Args:
        epochs, iters: length of training; in the unit that the config does not count, it is
            converted.
        batch: images of a step on one GPU; the learning rate follows, unless `lr` is named.
        imgsz: side of images, or height and width, also as `512x1024`: what a detector's images fit
            into, and what a segmentor's are cut to.
        lr: learning rate.
        workers: processes of each data loader.
        patience: validations without a better one that end training; 0 is without end.
        options: values by dotted keys that are in the config already and stay as they are.
        gpus: that train.
        images: counts those that are trained on; asked where steps of an epoch matter.

    Returns:
        What was changed, a line each.

    Raises:
        UsageError: a value cannot be, two of them say the same, or the config has no place for it.
    """
    options = by_number(cfg, options or {})
    given = dict(epochs=epochs, iters=iters, batch=batch, lr=lr)
    for flag, value in given.items():
        if value is not None and OPTIONS[flag] in options:
            raise UsageError(
                f"--{flag} {value} and --cfg-options {OPTIONS[flag]}={options[OPTIONS[flag]]} both "
                "set one thing: name one"
            )
    changes = Changes()
    before = images_of_a_step(cfg, gpus)

    def steps() -> tuple[int, int]:
        count = _count(images)
        return math.ceil(count / before), math.ceil(count / images_of_a_step(cfg, gpus))

    if batch is not None:
        set_batch(cfg, batch, changes)
        if lr is None and OPTIONS["lr"] not in options:
            _follow_rate(cfg, batch, gpus, changes)
        if epochs is None and iters is None:
            follow_batch(cfg, f"--batch {batch}", steps, changes)
    if lr is not None:
        set_rate(cfg, lr, changes)
    if workers is not None:
        set_workers(cfg, workers, changes)
    entries = len(cfg.get("param_scheduler") or ())
    change_length(cfg, epochs, iters, steps, changes)
    numbered = [option for option in options if option.startswith("param_scheduler.")]
    if numbered and len(cfg.get("param_scheduler") or ()) != entries:
        raise UsageError(
            f"--cfg-options {numbered[0]}: so short a training leaves out schedulers, and their "
            "numbers change. Write param_scheduler into the config"
        )
    if imgsz is not None:
        set_image_size(cfg, imgsz, changes)
    if patience is not None:
        set_patience(cfg, patience, changes)
    lines = changes.lines()
    if lines:
        # The options have the last word.
        cfg.merge_from_dict(dict(options))
    return lines + _lengths_without_schedules(cfg, options)


def scale_learning_rate(cfg: Config, gpus: int) -> list[str]:
    """Let the learning rate follow the batch that the config has, as `--auto-scale-lr` asks.

    Raises:
        UsageError: the config does not say which batch its rate was chosen for.
    """
    changes = Changes()
    set_rate_for_batch(cfg, images_of_a_step(cfg, gpus), "--auto-scale-lr", changes)
    return changes.lines()


def _follow_rate(cfg: Config, batch: int, gpus: int, changes: Changes) -> None:
    if reference_batch(cfg) is None:
        changes.say(
            f"--batch {batch}: the learning rate stays, as the config does not say for which batch "
            "it was chosen (auto_scale_lr.base_batch_size); --lr sets it"
        )
        return
    set_rate_for_batch(cfg, images_of_a_step(cfg, gpus), f"--batch {batch}", changes)


def _count(images: Callable[[], int] | None) -> int:
    if images is None:
        raise UsageError("the length cannot be changed without the number of images")
    return images()


def _lengths_without_schedules(cfg: Config, options: Mapping[str, Any]) -> list[str]:
    """A line where an option has set the length, which the rest of the config does not follow."""
    for flag in ("epochs", "iters"):
        if OPTIONS[flag] in options and (left := left_behind(cfg)):
            length = length_of(cfg)[1]
            line = (
                f"--cfg-options {OPTIONS[flag]}={length} leaves {', '.join(left)}: not the recipe "
                f"at another length. --{flag} {length} in its place moves all of that along"
            )
            return [line]
    return []
