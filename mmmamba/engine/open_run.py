"""From a config's name and the flags of a command to the Config of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from ..config.changes import Changes, apply_flags, set_tiles
from ..config.changes import scale_learning_rate as scale_in
from ..config.open import check_config, open_config
from ..datasets.counting import count_images
from ..structures.tiles import asked_tiling
from .demo import apply_demo
from .device import count_processes, use_device
from .naming import default_work_dir, named_work_dir
from .preflight import check_data

CHANGED = "changed_by_flags"
"""Where a config keeps what the flags of a command have changed in it."""


def open_run(
    config: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    work_dir: str | None = None,
    launcher: str = "none",
    demo: bool = False,
    amp: bool = False,
    device: str | None = None,
    name: str | None = None,
    epochs: int | None = None,
    iters: int | None = None,
    batch: int | None = None,
    imgsz: int | str | tuple[int, int] | None = None,
    lr: float | None = None,
    workers: int | None = None,
    patience: int | None = None,
    tile: int | None = None,
    overlap: float | None = None,
) -> Config:
    """The config of a run, every key and number of it checked.

    Args:
        config: path of a config, or name of one that comes with mmmamba.
        options: values by dotted keys, which replace the config's.
        work_dir: folder of the run; the config's own, or `work_dirs/NAME`, if None.
        launcher: what started the processes.
        demo: train on shapes that are drawn into the work dir, within minutes.
        amp: train with mixed precision.
        device: that the run is on, as `use_device` takes it.
        name: of the work dir below `work_dirs`.
        epochs, iters: length of training, which schedules, stages and intervals follow.
        batch: images of a step on one GPU, which the learning rate follows.
        imgsz: side of images, or height and width, in training and tests.
        lr: learning rate.
        workers: processes that read data, for each data loader.
        patience: validations without a better one that end training; 0 is never early.
        tile: train and test a detector on tiles of this many pixels a side of larger images, whose
            finds are joined before they are scored.
        overlap: of neighbouring tiles, as a share of their side (0.25).

    Raises:
        UsageError: the file is not there or cannot be read, a key of it or an option leads nowhere,
            or a value is no number of the kind that is wanted.
    """
    use_device(device, launcher)
    if name is not None:
        work_dir = named_work_dir(name, work_dir or (options or {}).get("work_dir"))

    def adapt(cfg: Config) -> None:
        cfg.launcher = launcher
        if work_dir is not None:
            cfg.work_dir = work_dir
        elif cfg.get("work_dir") is None:
            cfg.work_dir = str(default_work_dir(cfg, demo))
        if demo:
            apply_demo(cfg, Path(cfg.work_dir) / "shapes")

    cfg = open_config(config, options, adapt)
    # Before the keys are looked at: the other wrapper takes more of them.
    if amp and "optim_wrapper" in cfg:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        cfg.optim_wrapper.setdefault("loss_scale", "dynamic")
    check_config(cfg, options or {})
    lines = apply_flags(
        cfg,
        epochs=epochs,
        iters=iters,
        batch=batch,
        imgsz=imgsz,
        lr=lr,
        workers=workers,
        patience=patience,
        options=options,
        gpus=count_processes(launcher),
        images=cache(partial(_count_images, cfg, tile, overlap)),
    )
    # Behind the options, whose keys are those of the config that is named.
    lines += _use_tiles(cfg, tile, overlap)
    # Those of an earlier run whose config this is.
    cfg.pop(CHANGED, None)
    keep_changes(cfg, lines)
    return cfg


def scale_learning_rate(cfg: Config) -> None:
    """Let the learning rate follow the images of a step, over all processes.

    Raises:
        UsageError: the config does not say which batch its rate was chosen for.
    """
    keep_changes(cfg, scale_in(cfg, count_processes(cfg.launcher)))


def keep_changes(cfg: Config, lines: list[str]) -> None:
    """Keep lines for the log of the run, which does not exist yet, and for its config."""
    if lines:
        cfg[CHANGED] = [*cfg.get(CHANGED, []), *lines]


def tell_changes(runner: Runner) -> None:
    """Write what flags have changed into the log of a run."""
    for line in runner.cfg.get(CHANGED, []):
        # What an option has left as it was is no change, but something to see to.
        to_see_to = line.startswith("--cfg-options")
        runner.logger.log(logging.WARNING if to_see_to else logging.INFO, line)


def _use_tiles(cfg: Config, tile: int | None, overlap: float | None) -> list[str]:
    """What `--tile` and `--overlap` change, a line each."""
    tiling = asked_tiling(tile, overlap)
    if tiling is None:
        return []
    changes = Changes()
    set_tiles(cfg, *tiling, changes)
    import_modules_from_strings(**cfg.custom_imports)
    return changes.lines()


def _count_images(cfg: Config, tile: int | None, overlap: float | None) -> int:
    # What is not there is told in full by the check that all runs make.
    check_data(cfg, ("train",))
    if tile is not None:
        # Tiles are what a step has so many of.
        cfg = deepcopy(cfg)
        _use_tiles(cfg, tile, overlap)
    return count_images(cfg)
