"""torchrun starts a run again when a process was killed, and it goes on by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmmamba.engine.reliability.restarts import resumed_after_restart
from mmmamba.engine.runs import NEWEST
from mmmamba.errors import UsageError

from ...torchrun import torchrun
from ..tiny_models import toy
from ..tiny_runs import train


def run(folder: Path, stop: int, restarts: int, runner: str, gpus: bool) -> None:
    program = "tests/engine/reliability/elastic_toy.py"
    torchrun(program, folder, str(stop), runner, restarts=restarts, gpus=gpus)


two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["Runner", "FSDPRunner"])
@pytest.mark.parametrize(
    "gpus", [False, pytest.param(True, marks=[pytest.mark.gpu, two_gpus])], ids=["gloo", "NCCL"]
)
def test_a_killed_process_costs_the_steps_since_the_newest_checkpoint(
    tmp_path: Path, gpus: bool, runner: str
) -> None:
    through, killed = tmp_path / "through", tmp_path / "killed"
    run(through, stop=0, restarts=0, runner=runner, gpus=gpus)
    run(killed, stop=7, restarts=1, runner=runner, gpus=gpus)
    for rank in (0, 1):
        whole, rng = torch.load(through / f"start0_rank{rank}.pt", weights_only=False)
        assert not (killed / f"start0_rank{rank}.pt").exists()
        resumed, resumed_rng = torch.load(killed / f"start1_rank{rank}.pt", weights_only=False)
        # The sixth step was the last that was saved: the rest bit for bit as if nothing had been.
        assert resumed == whole[2 * 6 :] and len(whole) == 2 * 10
        assert torch.equal(rng["torch"], resumed_rng["torch"])


@pytest.mark.parametrize("asked, wanted", [(None, NEWEST), (NEWEST, NEWEST), ("a.pth", "a.pth")])
def test_a_restart_goes_on_from_the_newest(tmp_path, monkeypatch, asked, wanted) -> None:
    cfg = toy(tmp_path)
    cfg.launcher = "pytorch"
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    # What was named serves until the run has saved something itself.
    assert resumed_after_restart(cfg, asked, NEWEST) == wanted
    cfg.launcher = "none"
    assert train(cfg) == 0
    cfg.launcher = "pytorch"
    assert resumed_after_restart(cfg, asked, NEWEST) == NEWEST


def test_checkpoints_of_an_earlier_run_must_not_be_taken_for_its_own(tmp_path, monkeypatch) -> None:
    cfg = toy(tmp_path)
    assert train(cfg) == 0
    cfg.launcher = "pytorch"
    assert resumed_after_restart(cfg, None, NEWEST) is None
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert resumed_after_restart(cfg, NEWEST, NEWEST) == NEWEST
    with pytest.raises(UsageError, match="--resume to go on from them, or name another"):
        resumed_after_restart(cfg, None, NEWEST)
