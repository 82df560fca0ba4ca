"""A terminal shows one live line; the log's file has lines of steps."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from mmmamba.engine.hooks.results import read_rows

from ..tiny_models import toy, validated
from ..tiny_runs import train


class Terminal(io.TextIOWrapper):
    """What is printed on it is kept."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        return self.buffer.getvalue().decode()


@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_live_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_epoch: bool) -> None:
    terminal = Terminal()
    for name in ("NO_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    cfg = validated(toy(tmp_path))
    if not by_epoch:
        cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=5, val_interval=2)
    # Looks at each step.
    monkeypatch.setattr("mmmamba.engine.hooks.progress.PAUSE", 1e-6)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert train(cfg, "--no-pictures") == 0
    monkeypatch.undo()
    shown = terminal.text()
    (log,) = Path(cfg.work_dir).glob("*/*.log")
    assert "(train) " in log.read_text() and "(train) " not in shown
    # Results stand above the line.
    assert "(val) " in shown and "this run\n" in shown.replace("\r", "")
    assert "validation" in shown and "images/s" in shown and "lr " in shown
    assert ("epoch 2/2  loss " if by_epoch else "training ") in shown
    # The table has a row for each epoch or each validation, one behind the last step included.
    rows = read_rows(Path(cfg.work_dir, "results.csv"))
    assert [row["iter"] for row in rows] == (["5", "10"] if by_epoch else ["2", "4", "5"])
    assert all("small" in row and "loss" in row for row in rows)
    assert all(("epoch" in row) == by_epoch for row in rows)
    # The cursor, which a live line hides, is there again.
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
