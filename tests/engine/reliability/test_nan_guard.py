"""No step is taken with a value that is not finite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmmamba.engine.reliability.nan_guard import SKIPPED_KEY
from mmmamba.engine.reliability.nan_report import FILE

from ...torchrun import torchrun
from ..tiny_models import detection, toy
from ..tiny_runs import last, train


@HOOKS.register_module()
class Poison(Hook):
    """Puts a NaN into the batch, a weight or a gradient of one iteration or of several.

    "large" is 1e25 times it.
    """

    def __init__(self, what: str, at: tuple[int, ...]) -> None:
        self.what, self.at = what, at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        now = runner.iter + 1 in self.at
        model = runner.model
        if now and self.what == "image":
            data_batch["inputs"][0].view(-1)[0] = torch.nan
        elif now and self.what == "weight":
            next(model.parameters()).data.view(-1)[0] = torch.nan
        elif now:
            factor = dict(gradient=torch.nan, large=1e25)[self.what]
            model.last[1].weight.register_hook(lambda grad: grad * factor)


def poisoned(folder: Path, what: str, *at: int):
    cfg = toy(folder)
    # Without EMAHook, which saves its averages in the place of the weights.
    cfg.custom_hooks = [dict(type="Poison", what=what, at=at, priority="VERY_LOW")]
    return cfg


@pytest.mark.parametrize(
    "what, found",
    [
        ("image", ["not finite in the batch: inputs", "first module with a bad output: conv and "]),
        (
            "weight",
            ["not finite before the step: parameter or buffer conv.weight", "loss: loss nan"],
        ),
        ("gradient", ["bad gradient of parameter last.1.weight"]),
    ],
)
def test_training_stops_before_the_step_and_the_step_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture, what: str, found: list[str]
) -> None:
    cfg = poisoned(tmp_path, what, 7)
    cfg.default_hooks.checkpoint.interval = 6
    assert train(cfg) == 1
    folder = Path(cfg.work_dir) / "nan_7"
    message = capsys.readouterr().err
    assert "iteration 7: the loss is" in message and f"--replay {folder}" in message
    assert [line for line in found if line not in message] == [], message

    saved = torch.load(folder / FILE, weights_only=False)
    before = last(cfg)["state_dict"]
    differ = [
        name for name, value in saved["state_dict"].items() if not torch.equal(value, before[name])
    ]
    assert not [
        name
        for name in differ
        if "norm" not in name and not (what == "weight" and name == "conv.weight")
    ]

    assert train(cfg, "--replay", str(folder)) == (0 if what == "gradient" else 1)
    printed = capsys.readouterr().out
    assert (
        ("everything is finite" in printed)
        if what == "gradient"
        else all(line in printed for line in found)
    )


def test_bad_steps_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = poisoned(tmp_path, "image", 3, 4, 7)
    assert train(cfg, "--skip-nan") == 0
    printed = capsys.readouterr().out
    assert (
        "iteration 4: the loss is nan, not finite; step left out (2 in a row, 2 in all)" in printed
    )
    checkpoint = last(cfg)
    assert checkpoint["message_hub"]["runtime_info"][SKIPPED_KEY] == 3
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert {int(state["step"]) for state in checkpoint["optimizer"]["state"].values()} == {10 - 3}


def test_large_gradients_are_finite(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    cfg.custom_hooks = [dict(type="Poison", what="large", at=(2,), priority="VERY_LOW")]
    # Their squares, which the optimizer would keep, are not.
    cfg.optim_wrapper.clip_grad = dict(max_norm=1.0)
    assert train(cfg) == 0


def test_too_many_bad_steps_in_a_row_stop(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = poisoned(tmp_path, "image", 3, 4, 5)
    cfg.default_hooks.nan_guard = dict(type="NanGuardHook", skip=True, max_skips=2)
    assert train(cfg) == 1
    assert "iteration 5" in capsys.readouterr().err


def test_accumulated_gradients_go_with_the_bad_step(tmp_path: Path) -> None:
    cfg = poisoned(tmp_path, "image", 2)
    cfg.optim_wrapper.accumulative_counts = 2
    assert train(cfg, "--skip-nan") == 0
    assert {int(state["step"]) for state in last(cfg)["optimizer"]["state"].values()} == {4}


@pytest.mark.gpu
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("at, code", [((), 0), ((5,), 1)])
def test_a_grad_scaler_may_skip_but_a_bad_loss_stops(
    tmp_path: Path, at: tuple[int, ...], code: int, fused: bool
) -> None:
    cfg = poisoned(tmp_path, "image", *at)
    cfg.optim_wrapper.update(type="AmpOptimWrapper", loss_scale=dict(init_scale=2.0**22))
    cfg.optim_wrapper.optimizer.fused = fused
    assert train(cfg) == code
    if not at:
        assert {int(state["step"]) for state in last(cfg)["optimizer"]["state"].values()} < {
            *range(1, 10)
        }


@pytest.mark.gpu
def test_a_bad_loss_that_is_read_late_has_changed_no_weight(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = poisoned(tmp_path, "image", 7)
    cfg.optim_wrapper.update(type="AmpOptimWrapper", loss_scale="dynamic")
    cfg.optim_wrapper.optimizer.fused = True
    cfg.default_hooks.checkpoint.interval = 6
    assert train(cfg) == 1
    assert "iteration 7: the loss is" in capsys.readouterr().err
    saved = torch.load(Path(cfg.work_dir) / "nan_7" / FILE, weights_only=False)["state_dict"]
    before = last(cfg)["state_dict"]
    differ = [name for name, value in saved.items() if not torch.equal(value.cpu(), before[name])]
    # Running means of the forward pass.
    assert not [name for name in differ if "norm" not in name]


def test_a_detector_names_the_module_and_its_batch_is_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = detection(tmp_path)
    cfg.custom_hooks.append(dict(type="BadLateral", priority="VERY_LOW"))
    assert train(cfg) == 1
    assert (
        "first module with a bad output: neck.lateral_convs.1.conv and" in capsys.readouterr().err
    )
    cfg.custom_hooks = []
    assert train(cfg, "--replay", str(tmp_path / "run" / "nan_2")) == 1
    assert (
        "first module with a bad output: neck.lateral_convs.1.conv and" in capsys.readouterr().out
    )


@HOOKS.register_module()
class BadLateral(Hook):
    """Iteration 2 finds infinity in a bias of the neck."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            runner.model.neck.lateral_convs[1].conv.bias.data[0] = torch.inf


@pytest.mark.slow
def test_a_checkpoint_waits_for_no_process_that_waits_in_a_layer(tmp_path: Path) -> None:
    torchrun("tests/engine/reliability/agreeing_toy.py", tmp_path, patience=120)
    assert (tmp_path / "run" / "iter_10.pth").is_file()
