"""A training that is told to stop before its first step ends with the code for "run me again"."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mmmamba.commands import main
from mmmamba.engine.reliability.before_training import REPLACED, SIGNALS
from mmmamba.engine.reliability.interrupt import EXIT_SAVED

from ..tiny_models import toy
from ..tiny_runs import Witness, train


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_the_first_step(
    tmp_path: Path, number: int, capfd: pytest.CaptureFixture
) -> None:
    """The config is a program: this one ends the process that reads it, as a scheduler would."""
    cfg = toy(tmp_path)
    cfg.dump(tmp_path / "config.py")
    with (tmp_path / "config.py").open("a") as file:
        file.write(f"\nimport os\nos.kill(os.getpid(), {int(number)})\ndel os\n")
    child = os.fork()
    if child == 0:
        try:
            main(["train", str(tmp_path / "config.py")])
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == EXIT_SAVED
    assert (
        f"{signal.Signals(number).name} before the first step: there is nothing to save"
        in capfd.readouterr().err
    )
    assert not Path(cfg.work_dir).exists()


def test_handlers_are_as_before_when_training_has_ended(tmp_path: Path) -> None:
    before, within = [signal.getsignal(one) for one in SIGNALS], []
    cfg = toy(tmp_path)
    Witness.watch(1, lambda: within.extend(signal.getsignal(one) for one in SIGNALS))
    assert train(cfg) == 0
    assert [signal.getsignal(one) for one in SIGNALS] == before and not REPLACED
    assert all(one.__name__ == "_note" for one in within)
    assert main(["train", "nowhere.py"]) == 2
    assert [signal.getsignal(one) for one in SIGNALS] == before
