"""Two processes: one hears the signal, both save and go on as if nothing had been."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmmamba.checkpoints.last_checkpoint import find_last

from ...torchrun import torchrun
from ..tiny_runs import differences


def run(folder: Path, *words: str) -> None:
    program = "tests/engine/reliability/distributed_toy.py"
    torchrun(program, folder, *words, "--launcher", "pytorch")


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop, told, runner",
    [
        ("3", "1", "Runner"),
        ("5:2", "1", "Runner"),
        ("5:4", "0", "Runner"),
        ("3", "1", "FSDPRunner"),
        # Of the validation's batches one process has one more than the other.
        ("5:2", "1", "FSDPRunner"),
    ],
)
def test_both_ranks_save_and_resume_exactly(tmp_path, stop: str, told: str, runner: str) -> None:
    options = "--cfg-options", f"runner_type={runner}"
    run(tmp_path, "through_all", "0", "0", *options)
    run(tmp_path, "stopped_first", stop, told, *options)
    run(tmp_path, "stopped_second", "0", "0", "--resume", *options)
    for rank in (0, 1):
        (whole, rng), (first, _), (second, resumed_rng) = (
            torch.load(tmp_path / f"{name}_rank{rank}.pt", weights_only=False)
            for name in ("through_all", "stopped_first", "stopped_second")
        )
        assert len(first) == 2 * int(stop[0]) and first + second == whole
        assert differences(rng, resumed_rng) == []
    through, stopped = (
        torch.load(find_last(tmp_path / name), weights_only=False)
        for name in ("through", "stopped")
    )
    assert differences(through, stopped) == []
