"""Signals save and stop a run; what it leaves can be gone on from, wherever it ends."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from mmmamba.engine.reliability import interrupt
from mmmamba.engine.reliability.interrupt import EXIT_SAVED

from ..tiny_models import toy, validated
from ..tiny_runs import Witness, kill, last, train


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_saves_at_the_end_of_the_step(
    tmp_path: Path, capfd: pytest.CaptureFixture, number: int
) -> None:
    before = [signal.getsignal(one) for one in interrupt.SIGNALS]
    cfg = toy(tmp_path)
    Witness.watch(3, kill(number))
    assert train(cfg) == EXIT_SAVED == 75
    assert last(cfg)["meta"]["iter"] == 3
    printed = capfd.readouterr()
    assert (
        f"{number.name}: saving after this step" in printed.err and "interrupted.pth" in printed.out
    )
    assert [signal.getsignal(one) for one in interrupt.SIGNALS] == before


@pytest.mark.parametrize("first", interrupt.SIGNALS)
def test_ctrl_c_after_a_signal_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(interrupt, "SAME_CTRL_C", 0.0)
    cfg = toy(tmp_path)

    def twice() -> None:
        kill(first)()
        kill(signal.SIGINT)()

    Witness.watch(3, twice)
    with pytest.raises(KeyboardInterrupt):
        train(cfg)
    assert not list(Path(cfg.work_dir).glob("*.pth"))


@pytest.mark.parametrize(
    "at, batch, persistent",
    [
        pytest.param(3, None, False, id="training"),
        pytest.param(5, 1, True, id="validation"),
        pytest.param(3, None, True, id="training, persistent", marks=pytest.mark.slow),
        pytest.param(5, 1, False, id="validation, anew", marks=pytest.mark.slow),
    ],
)
def test_workers_live_through_the_signal_that_the_whole_group_gets(
    tmp_path: Path, at: int, batch: int | None, persistent: bool
) -> None:
    cfg = validated(toy(tmp_path))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=2, persistent_workers=persistent)
    Witness.watch(
        at, lambda: [os.kill(pid, signal.SIGTERM) for pid in (*_children(), os.getpid())], batch
    )
    assert train(cfg) == EXIT_SAVED
    assert last(cfg)["meta"]["iter"] == at
    Witness.watch()
    assert train(cfg, "--resume") == 0


def _children() -> list[int]:
    path = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return [int(word) for word in path.read_text().split()]
