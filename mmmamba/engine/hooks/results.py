"""The numbers of a run as a table, on the main process: `work_dir/results.csv`."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...errors import UsageError
from ..reliability import write_whole

FILE = "results.csv"
TRAINING = "train/"
"""Before the names of what a step gives, in MMEngine's hub."""
TIMES = {"time", "data_time"}

Row = dict[str, str]


class ResultsHook(Hook):
    """Writes a row for each epoch, or for each validation of a run that counts iterations.

    A row has the mean of each loss since the row before, the learning rate, and what a validation
    gave. Rows behind the checkpoint that a run goes on from are done again and replaced.
    """

    # Behind the hooks that give numbers to the log.
    priority = "LOWEST"

    def before_train(self, runner: Runner) -> None:
        self.path = Path(runner.work_dir, FILE)
        self.by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        # A run that begins keeps none: its numbers would stand among those of another.
        self.rows = [row for row in read_rows(self.path) if int(row["iter"]) <= runner.iter]
        behind = runner.iter - self._last_iter()
        # Steps between the last row and the checkpoint were timed by the start that did them.
        times = runner.message_hub.log_scalars.get(f"{TRAINING}time")
        before = float(self.rows[-1]["seconds"]) if self.rows else 0.0
        if times is not None and behind:
            before += times.mean(behind) * behind
        self.began = time.monotonic() - before

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch:
            self._add(runner, runner.epoch + 1, {})

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._add(runner, runner.epoch, metrics or {})

    def after_train(self, runner: Runner) -> None:
        if self._last_iter() != runner.iter:
            self._add(runner, runner.epoch, {})

    def _last_iter(self) -> int:
        return int(self.rows[-1]["iter"]) if self.rows else 0

    def _add(self, runner: Runner, epoch: int, metrics: Mapping[str, Any]) -> None:
        """A row for what was trained since the last, or more in that if nothing was."""
        if not is_main_process():
            return
        steps = runner.iter - self._last_iter()
        if self.by_epoch:
            # More where a run goes on that had no table: it is as long as that run was.
            steps = min(steps, len(runner.train_dataloader))
        row = {"epoch": str(epoch)} if self.by_epoch else {}
        row |= {"iter": str(runner.iter), "seconds": f"{time.monotonic() - self.began:.1f}"}
        if steps:
            row |= _trained(runner.message_hub.log_scalars, steps)
        elif self.rows:
            row = self.rows.pop() | row
        for name, value in metrics.items():
            if isinstance(value, Real):
                row[name] = f"{float(value):.6g}"
        self.rows.append(row)
        try:
            write_rows(self.path, self.rows)
        except (OSError, UsageError) as error:
            # A full disk costs a row, not the run.
            runner.logger.warning(f"{self.path} not written: {error}")


def _trained(buffers: Mapping[str, HistoryBuffer], steps: int) -> Row:
    """Learning rates as they are, of everything else the mean over the last steps."""
    rates, means = {}, {}
    for key, buffer in buffers.items():
        name = key.removeprefix(TRAINING)
        if name == key or name in TIMES:
            continue
        if name.endswith("lr"):
            rates[name] = f"{buffer.current():.6g}"
        else:
            means[name] = f"{buffer.mean(steps):.6g}"
    return rates | means


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a table, without the cells that are empty; none if there is no file."""
    if not Path(path).is_file():
        return []
    rows = []
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.append({name: cell for name, cell in row.items() if cell})
    return rows


def write_rows(path: str | Path, rows: list[Row]) -> None:
    """Write a table with a column for every name that a row has.

    Raises:
        UsageError: there is no room for it.
        OSError: the file cannot be written.
    """
    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
