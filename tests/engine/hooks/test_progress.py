"""A terminal shows one live line; a pipe and the log's file have lines of steps."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

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
        cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=4, val_interval=2)
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
    # The cursor, which a live line hides, is there again.
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_no_live_line_in_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As CI has it, where rich alone would take the pipe for a terminal.
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert train(toy(tmp_path), "--no-pictures") == 0
    shown = capsys.readouterr().out
    assert "(train) " in shown and "images/s" not in shown and "\x1b[?25l" not in shown
