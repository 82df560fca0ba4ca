"""FSDP: which blocks are gathered, what is refused, and that runs are DDP's, files anybody's."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmmamba.commands import main
from mmmamba.engine.fsdp import refuse_beside_fsdp, refuse_other_fsdp
from mmmamba.engine.sharding import blocks_of
from mmmamba.errors import UsageError
from mmmamba.models.backbones.vim import Vim
from mmmamba.models.backbones.vmamba import VMamba

from ..torchrun import ROOT, torchrun
from .fsdp_run import SAVED, STEPS
from .tiny_models import toy
from .tiny_runs import differences, last, train

PROGRAM = "tests/engine/fsdp_run.py"
ROUNDING = 1e-4


class Detector(nn.Module):
    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone, self.layers = backbone, nn.ModuleList([nn.Linear(2, 2)])


def test_blocks_are_the_innermost_ones_of_the_backbone() -> None:
    pyramid = blocks_of(Detector(VMamba(**VMamba.TINY)))
    # Not stages, whose steps down are called from outside of them, nor a head's layers.
    assert [*pyramid] == [
        f"layers.{i}.blocks.{j}" for i, j in [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0)]
    ]
    assert [*blocks_of(Vim(**Vim.TINY))] == [f"layers.{i}" for i in range(4)]


def test_a_block_that_has_parameters_in_common_is_no_share_of_its_own() -> None:
    model = VMamba(**VMamba.TINY)
    first, second = model.layers[2].blocks
    second.norm = first.norm
    assert not any(name.startswith("layers.2") for name in blocks_of(model))


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(find_unused_parameters=True), "have to have the same ones"),
        (dict(compile=True), "compile, which is not tried"),
        (dict(activation_checkpointing=["backbone"]), "model.backbone.with_cp=True"),
        (dict(model_wrapper_cfg=dict(type="Own")), "model_wrapper_cfg.type=Own"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        refuse_beside_fsdp(Config(settings))


def test_other_ways_to_fsdp_are_refused() -> None:
    for settings in (
        dict(model_wrapper_cfg=dict(type="MMFullyShardedDataParallel")),
        dict(runner_type="FlexibleRunner", strategy=dict(type="FSDPStrategy")),
        dict(runner_type="FlexibleRunner"),
    ):
        with pytest.raises(UsageError, match="runner_type=FSDPRunner"):
            refuse_other_fsdp(Config(settings))
    refuse_other_fsdp(Config(dict(runner_type="FSDPRunner")))


def test_averaged_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = toy(tmp_path)
    cfg.runner_type = "FSDPRunner"
    assert train(cfg) == 2
    assert "FSDPRunner: the run averages its weights (EMAHook)" in capsys.readouterr().err


def test_one_process_trains_as_without_it(tmp_path: Path) -> None:
    states = []
    for runner in ("Runner", "FSDPRunner"):
        cfg = toy(tmp_path / runner)
        cfg.custom_hooks, cfg.randomness, cfg.runner_type = [], dict(seed=5), runner
        assert train(cfg) == 0
        states.append(last(cfg))
    assert differences(*states) == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of two processes, then of one, each begun or resumed from another's file."""
    folder = tmp_path_factory.mktemp("fsdp")
    of_fsdp, of_one = (folder / name / f"iter_{SAVED}.pth" for name in ("fsdp", "one"))
    torchrun(
        PROGRAM,
        folder,
        "ddp:ddp:Runner",
        "fsdp:fsdp:FSDPRunner",
        f"again:again:FSDPRunner:--resume:{of_fsdp}",
        f"without:without:Runner:--resume:{of_fsdp}",
    )
    of_ddp = folder / "ddp" / of_fsdp.name
    alone(
        folder,
        "one:one:Runner",
        *(f"{f.parent.name}1:{f.parent.name}1:FSDPRunner:--resume:{f}" for f in (of_fsdp, of_ddp)),
    )
    torchrun(
        PROGRAM,
        folder,
        *(f"{way}2:{way}2:{way}:--resume:{of_one}" for way in ("Runner", "FSDPRunner")),
    )
    return folder


def alone(folder: Path, *jobs: str) -> None:
    command = [sys.executable, str(ROOT / PROGRAM), str(folder), *jobs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def losses(folder: Path, name: str, rank: int = 0) -> list[dict[str, float]]:
    seen = torch.load(folder / f"{name}_rank{rank}.pt", weights_only=False)
    return [one[1] for one in seen if isinstance(one[1], dict)]


def apart(one: list[dict[str, float]], two: list[dict[str, float]]) -> float:
    """The largest relative difference of any loss."""
    assert len(one) == len(two) > 0
    pairs = [(a[name], b[name]) for a, b in zip(one, two) for name in b]
    return max(abs(a - b) / max(abs(b), 1e-3) for a, b in pairs)


@pytest.mark.slow
def test_losses_are_those_of_ddp(runs: Path) -> None:
    for rank in (0, 1):
        got, wanted = losses(runs, "fsdp", rank), losses(runs, "ddp", rank)
        assert len(got) == STEPS
        assert apart(got, wanted) < ROUNDING
        # As far as training went meanwhile, it is by far more than that.
        assert apart(got[:1], got[-1:]) > 1e-2


@pytest.mark.slow
def test_files_are_those_of_ddp(runs: Path) -> None:
    got, wanted = (
        torch.load(runs / name / f"iter_{SAVED}.pth", weights_only=False)
        for name in ("fsdp", "ddp")
    )
    for part in ("state_dict", "optimizer"):
        different = dict(tensors(got[part]))
        for name, tensor in tensors(wanted[part]):
            one = different.pop(name)
            assert type(one) is type(tensor) and one.stride() == tensor.stride()
            torch.testing.assert_close(one, tensor, rtol=1e-3, atol=1e-5)
        assert not different
    assert got["optimizer"]["param_groups"] == wanted["optimizer"]["param_groups"]
    assert got["state_dict"]._metadata == wanted["state_dict"]._metadata


def tensors(tree: Any, place: str = "") -> list[tuple[str, torch.Tensor]]:
    if isinstance(tree, torch.Tensor):
        return [(place, tree)]
    found = []
    for key, value in tree.items() if isinstance(tree, dict) else ():
        found += tensors(value, f"{place}.{key}")
    return found


@pytest.mark.slow
def test_a_file_is_gone_on_from_exactly(runs: Path) -> None:
    for rank in (0, 1):
        rest = losses(runs, "fsdp", rank)[SAVED:]
        assert losses(runs, "again", rank) == rest
        assert apart(losses(runs, "without", rank), rest) < ROUNDING


@pytest.mark.slow
def test_one_process_goes_on_from_a_file_of_two_and_two_from_one(runs: Path) -> None:
    assert apart(losses(runs, "fsdp1"), losses(runs, "ddp1")) < ROUNDING
    for rank in (0, 1):
        assert apart(losses(runs, "FSDPRunner2", rank), losses(runs, "Runner2", rank)) < ROUNDING


@pytest.mark.slow
def test_its_file_is_tested(runs: Path) -> None:
    assert main(["test", str(runs / "fsdp")]) == 0


@pytest.mark.slow
def test_a_step_that_overflows_in_one_process_is_left_out_in_all() -> None:
    torchrun("tests/engine/fsdp_scaler_run.py")


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_half_precision_and_statistics_of_all_on_two_gpus(tmp_path: Path) -> None:
    """First steps alone: regions are drawn, and two runs of DDP are soon as far apart."""
    ways = ("Runner", "FSDPRunner")
    file = tmp_path / "FSDPRunner" / f"iter_{SAVED}.pth"
    options = "--amp:--cfg-options:sync_bn=torch:model.neck.norm_cfg.type=BN"
    jobs = [f"{name}:{name}:{name}:{options}" for name in ways]
    jobs.append(f"resumed:resumed:FSDPRunner:--resume:{file}:{options}")
    torchrun(PROGRAM, tmp_path, *jobs, gpus=True, patience=580)
    for rank in (0, 1):
        ddp, fsdp, rest = (losses(tmp_path, name, rank) for name in (*ways, "resumed"))
        assert len(fsdp) == STEPS and all(map(math.isfinite, fsdp[-1].values()))
        assert apart(fsdp[:1], ddp[:1]) < 1e-2
        assert apart(rest[:1], fsdp[SAVED : SAVED + 1]) < 1e-2
