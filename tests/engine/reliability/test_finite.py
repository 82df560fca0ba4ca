"""No checkpoint is written of weights or optimizer state that are not finite."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmmamba.engine.reliability.finite import all_finite

from ..tiny_models import toy, validated
from ..tiny_runs import Witness, kill, train


@HOOKS.register_module()
class SpoilState(Hook):
    """Puts a NaN where a step has left a number, so that no loss and no gradient tells."""

    def __init__(self, what: str, at: int) -> None:
        self.what, self.at = what, at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 != self.at:
            return
        parameter = runner.model.last[1].weight
        spoiled = dict(
            weight=lambda: parameter.data,
            moment=lambda: runner.optim_wrapper.optimizer.state[parameter]["exp_avg_sq"],
            statistics=lambda: runner.model.norm.running_var,
            average=lambda: (
                next(
                    h for h in runner.hooks if hasattr(h, "ema_model")
                ).ema_model.module.conv.bias.data
            ),
        )
        spoiled[self.what]().view(-1)[0] = torch.nan


def spoiled(folder: Path, what: str, at: int) -> Config:
    cfg = toy(folder)
    cfg.custom_hooks.append(dict(type="SpoilState", what=what, at=at, priority="LOW"))
    return cfg


def files(cfg: Config) -> list[str]:
    return sorted(path.name for path in Path(cfg.work_dir).glob("*.pth"))


NAMES = dict(
    weight="last.1.weight",
    moment="optimizer's exp_avg_sq of last.1.weight",
    statistics="norm.running_var",
    average="average 0 conv.bias",
)


@pytest.mark.parametrize("what", NAMES)
def test_a_checkpoint_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, what: str
) -> None:
    cfg = spoiled(tmp_path, what, at=10)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=5, by_epoch=False)
    assert train(cfg) == 1
    message = capsys.readouterr().err
    assert (
        "after iteration 10 the state of the run is not finite" in message
        and f"it: {NAMES[what]}.\n" in message
    )
    assert (
        files(cfg) == ["iter_5.pth"]
        and Path(cfg.work_dir, "last_checkpoint").read_text() == "iter_5.pth"
    )


def test_a_learning_rate_that_no_float_holds(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = toy(tmp_path)
    cfg.optim_wrapper.optimizer.update(lr=1e39, fused=True)
    cfg.param_scheduler = []
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=1)
    assert train(cfg) == 1
    assert files(cfg) == [] and "Lower the learning rate" in capsys.readouterr().err


def test_a_run_that_is_told_to_stop(tmp_path: Path) -> None:
    cfg = spoiled(tmp_path, "moment", at=3)
    Witness.watch(3, kill(signal.SIGTERM))
    assert train(cfg) == 1
    assert files(cfg) == []


def test_the_best_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = validated(spoiled(tmp_path, "average", at=5))
    assert train(cfg) == 1
    assert files(cfg) == [] and "after iteration 5 " in capsys.readouterr().err


def test_large_numbers_are_finite() -> None:
    large = torch.full((4,), 1e38)
    assert all_finite(
        [large, large.double(), large.bfloat16(), torch.tensor(1e300, dtype=torch.float64)]
    )
    assert not all_finite([large, torch.tensor(torch.inf)]) and not all_finite(
        [torch.tensor(torch.nan)]
    )
    assert all_finite([])
