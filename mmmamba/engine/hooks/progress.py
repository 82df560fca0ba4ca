"""How far a training is, as one live line of a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import EpochBasedTrainLoop, Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ..late_hub import newest

PAUSE = 0.25
"""Seconds between two looks at the numbers."""
SMOOTHED = 0.7
"""Share of the last images per second in the next."""


class ProgressHook(Hook):
    """Shows where a run is, its loss, learning rate, speed, memory and the time that is left.

    The log's lines of steps are not shown beside it; its file has them.

    Args:
        console: a terminal.
    """

    # Behind the hooks that give losses and times to the log.
    priority = "LOWEST"

    def __init__(self, console: Console) -> None:
        # It goes away at the end, where the lines of epochs have said the same.
        self.progress = Progress(
            *_columns(), console=console, expand=True, transient=True, refresh_per_second=1 / PAUSE
        )
        self.line = self.progress.add_task("begins", total=None, state="")
        self.validated = False
        self.looked, self.images, self.speed = time.monotonic(), 0, 0.0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # The time of a validation is none of training.
        if self.validated:
            self.validated, self.looked, self.images = False, time.monotonic(), 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        self.images += _images(data_batch) * get_world_size()
        now, loop = time.monotonic(), runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        last = batch_idx + 1 == len(runner.train_dataloader) if by_epoch else False
        if now - self.looked < PAUSE and not last:
            return
        speed = self.images / max(now - self.looked, 1e-6)
        self.speed = SMOOTHED * self.speed + (1 - SMOOTHED) * speed if self.speed else speed
        self.looked, self.images = now, 0
        name = f"epoch {loop.epoch + 1}/{loop.max_epochs}" if by_epoch else "training"
        done = batch_idx + 1 if by_epoch else runner.iter + 1
        total = len(runner.train_dataloader) if by_epoch else loop.max_iters
        self.progress.update(
            self.line,
            description=name,
            completed=done,
            total=total,
            state=self._state(runner),
        )

    def after_train_epoch(self, runner: Runner) -> None:
        # What stays when the line goes on to the next epoch.
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self.progress.console.print(
                f"epoch {runner.epoch + 1}/{runner.max_epochs}  {self._state(runner)}",
                highlight=False,
            )

    def before_val_epoch(self, runner: Runner) -> None:
        self.validated = True
        total = len(runner.val_dataloader)
        self.progress.reset(self.line, description="validation", total=total, state="")

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        self.progress.update(self.line, completed=batch_idx + 1)

    def _state(self, runner: Runner) -> str:
        hub = runner.message_hub
        parts = []
        for key, form in (("loss", ".4g"), ("lr", ".2e")):
            value = newest(hub, f"train/{key}")
            if value is not None:
                parts.append(f"{key} {value:{form}}")
        if self.speed:
            parts.append(f"{self.speed:.3g} images/s")
        memory = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
        # None where the run is on the CPU of a machine with a GPU.
        if memory:
            parts.append(f"{memory / 2**30:.1f} GiB")
        if "eta" in hub.runtime_info:
            parts.append(f"eta {timedelta(seconds=int(hub.get_info('eta')))}")
        return "  ".join(parts)


@contextmanager
def live_line(runner: Runner) -> Iterator[None]:
    """Within it the run shows one live line where its output is a terminal."""
    console = Console()
    # `is_terminal` alone is also true where colours are forced into a pipe.
    if not (is_main_process() and sys.stdout.isatty() and console.is_terminal):
        yield
        return
    if console.is_dumb_terminal:
        yield
        return
    hook = ProgressHook(console)
    runner.register_hook(hook)
    with hook.progress, _above(runner.logger):
        yield


@contextmanager
def _above(logger: MMLogger) -> Iterator[None]:
    """Within it a log's lines stand above the live line, but for those of steps."""
    screens = [one for one in logger.handlers if type(one) is logging.StreamHandler]
    # Rich has put itself in the place of standard output, which the log took before.
    before = [one.setStream(sys.stdout) for one in screens]
    for one in screens:
        one.addFilter(_is_no_step)
    try:
        yield
    finally:
        for one, stream in zip(screens, before):
            one.removeFilter(_is_no_step)
            one.setStream(stream)


def _is_no_step(record: logging.LogRecord) -> bool:
    """Whether it is not one of MMEngine's `LoggerHook` behind a step."""
    steps = {"after_train_iter", "after_val_iter"}
    return not (record.module == "logger_hook" and record.funcName in steps)


def _columns() -> list:
    one_line = {"no_wrap": True}
    return [
        TextColumn("{task.description}", table_column=Column(**one_line)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        TextColumn("{task.completed}/{task.total}", table_column=Column(**one_line)),
        TextColumn("{task.fields[state]}", table_column=Column(**one_line)),
    ]


def _images(batch: Any) -> int:
    """How many images are in a batch of mmdet's or mmseg's loaders; 0 where that is not seen."""
    inputs = batch.get("inputs") if isinstance(batch, dict) else None
    return len(inputs) if inputs is not None and hasattr(inputs, "__len__") else 0
