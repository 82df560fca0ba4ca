"""`results.csv` has a row for each epoch or validation, however often a run was stopped."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmamba.engine.hooks.results import read_rows
from mmmamba.engine.reliability.interrupt import EXIT_SAVED
from mmmamba.evaluation.scalars import read_scalars

from ...torchrun import torchrun
from ..tiny_models import toy, validated
from ..tiny_runs import Witness, kill, train


def rows(folder: str | Path) -> list[dict[str, str]]:
    found = read_rows(Path(folder, "results.csv"))
    seconds = [float(row.pop("seconds")) for row in found]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    return found


def seeded(folder: Path) -> Config:
    cfg = validated(toy(folder))
    cfg.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    # One of validation, two of none.
    cfg.train_cfg.update(max_epochs=3, val_begin=2, val_interval=2)
    cfg.randomness = dict(seed=3)
    return cfg


@pytest.mark.parametrize("stop, batch", [(3, None), pytest.param(10, 2, marks=pytest.mark.slow)])
def test_an_epoch_is_a_row_over_restarts(tmp_path: Path, stop: int, batch: int | None) -> None:
    cfg = seeded(tmp_path)
    Witness.watch(stop, kill(signal.SIGTERM), batch)
    assert train(cfg, "--no-pictures") == EXIT_SAVED
    Witness.watch()
    assert train(cfg, "--resume", "--no-pictures") == 0
    found = rows(cfg.work_dir)
    assert [(row["epoch"], row["iter"]) for row in found] == [("1", "5"), ("2", "10"), ("3", "15")]
    assert ["small" in row for row in found] == [False, True, True]
    training, validation = read_scalars(cfg.work_dir)
    for index, row in enumerate(found):
        losses = [line["loss"] for line in training[5 * index : 5 * index + 5]]
        # The log gives means over ten steps: within the first epoch its last is the epoch's.
        if index == 0:
            assert float(row["loss"]) == pytest.approx(losses[-1], rel=1e-4)
        assert float(row["lr"]) == pytest.approx(training[5 * index + 4]["lr"], rel=1e-4)
    scores = [float(row["small"]) for row in found[1:]]
    assert scores == pytest.approx([line["small"] for line in validation], rel=1e-4)

    # Another run in the same folder has a table of its own, and was not stopped.
    cfg.train_cfg.max_epochs = 1
    assert train(cfg, "--no-pictures") == 0
    assert rows(cfg.work_dir) == found[:1]


@pytest.mark.slow
def test_two_processes_write_one_table(tmp_path: Path) -> None:
    words = ["0", "0", "--launcher", "pytorch"]
    torchrun("tests/engine/reliability/distributed_toy.py", tmp_path, "two", *words)
    found = rows(tmp_path / "two")
    assert [row["iter"] for row in found] == ["5", "10"] and all("small" in row for row in found)
