"""What does not fit is not loaded by any command: weights, averages, optimizer, schedules."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmmamba.checkpoints.last_checkpoint import find_last
from mmmamba.commands import main
from mmmamba.engine.reliability.interrupt import EXIT_SAVED, FILE

from ..tiny_models import detection, toy, validated
from ..tiny_runs import Witness, kill, last, train


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A toy with fused AdamW that was stopped after four iterations."""
    cfg = toy(tmp_path_factory.mktemp("toy"))
    cfg.optim_wrapper.optimizer.fused = True
    Witness.watch(4, kill(signal.SIGTERM))
    assert train(cfg) == EXIT_SAVED
    Witness.watch()
    return cfg


@pytest.fixture
def stopped(first: Config, tmp_path: Path) -> Config:
    """The same in a folder of its own."""
    cfg = first.copy()
    cfg.work_dir = str(tmp_path / "run")
    shutil.copytree(first.work_dir, cfg.work_dir)
    return cfg


def spoil(cfg: Config, change: Callable[[dict], Any]) -> None:
    held = last(cfg)
    change(held)
    torch.save(held, find_last(cfg.work_dir))


def moments(held: dict) -> dict:
    """What AdamW keeps of the convolution's 4 x 3 x 3 x 3 weights."""
    return held["optimizer"]["state"][0]


def replaced(name: str, tensor: Callable[[torch.Tensor], Any]) -> Callable[[dict], None]:
    return lambda held: moments(held).update({name: tensor(moments(held)[name])})


def one_group_more(held: dict) -> None:
    groups = held["optimizer"]["param_groups"]
    groups.append(dict(groups[0], params=groups[0]["params"][2:]))
    groups[0]["params"] = groups[0]["params"][:2]


STATES = {
    "expanded": (
        replaced("exp_avg", lambda m: m[:1, :1, :1, :1].expand_as(m)),
        "exp_avg of conv.weight has the strides",
    ),
    "small": (
        replaced("exp_avg_sq", lambda m: torch.zeros(1)),
        r"exp_avg_sq of conv.weight has the shape \(1,\)",
    ),
    "another order": (
        replaced("exp_avg", lambda m: m.to(memory_format=torch.channels_last)),
        "has the strides",
    ),
    "another type": (
        replaced("exp_avg", lambda m: m.double()),
        "is torch.float64, wanted torch.float32",
    ),
    "a number": (
        replaced("exp_avg", lambda m: 0.0),
        "exp_avg of conv.weight is 0.0, wanted a tensor",
    ),
    "step": (
        replaced("step", lambda m: torch.zeros(3)),
        r"step of conv.weight has the shape \(3,\)",
    ),
    "sparse": (replaced("exp_avg", lambda m: m.to_sparse()), "exp_avg of conv.weight is sparse"),
    "NaN": (
        replaced("exp_avg", lambda m: m * torch.nan),
        "exp_avg of conv.weight holds NaN or infinity",
    ),
    "shared": (
        lambda held: moments(held).update(exp_avg=moments(held)["exp_avg_sq"]),
        "memory in common with",
    ),
    "lacking": (
        lambda held: moments(held).pop("exp_avg"),
        "the state of conv.weight has no exp_avg",
    ),
    "of none": (
        lambda held: held["optimizer"]["state"].update({99: {}}),
        "a state of 99, which none of its groups",
    ),
    "no dictionary": (lambda held: held["optimizer"].update(state=[]), "no dictionary state"),
    "of another model": (
        lambda held: held["optimizer"]["param_groups"][0].update(params=[0, 1]),
        r"2 parameters in 1 group \(2\), here there are 6 parameters in 1 group",
    ),
    "groups": (one_group_more, r"6 parameters in 2 groups \(2, 4\), here"),
    "twice": (
        lambda held: held["optimizer"]["param_groups"][0].update(params=[0] * 6),
        "each parameter once",
    ),
    "no rate": (lambda held: held["optimizer"]["param_groups"][0].pop("lr"), "group 0 has no lr"),
    "text": (
        lambda held: held["optimizer"]["param_groups"][0].update(betas="ab"),
        "group 0.betas is 'ab', wanted",
    ),
    "more moments": (
        lambda held: held["optimizer"]["param_groups"][0].update(amsgrad=True),
        "the state of conv.weight has no max_exp_avg_sq",
    ),
    "no optimizer": (lambda held: held.update(optimizer=None), "it is None, not a dictionary"),
    "schedules": (lambda held: held.update(param_schedulers=[]), "it has 0 of them, this run 1"),
    "no schedules": (lambda held: held.update(param_schedulers=5), "it has 0 of them, this run 1"),
    "schedule": (
        lambda held: held["param_schedulers"][0].update(last_step="x"),
        "last_step is 'x', wanted",
    ),
    "average": (
        lambda held: held["ema_state_dict"].pop("module.conv.bias"),
        r"averaged weights.*module.conv.bias",
    ),
    "average's shape": (
        lambda held: held["ema_state_dict"].update({"module.conv.bias": torch.zeros(5)}),
        r"averaged weights(.|\n)*conv.bias \(5,\) in the file, \(4,\) here",
    ),
    "weight's shape": (
        lambda held: held["state_dict"].update({"conv.bias": torch.zeros(5)}),
        r"conv.bias \(5,\) in the file, \(4,\) here",
    ),
    "NaN weights": (
        lambda held: held["state_dict"]["conv.bias"].fill_(torch.nan),
        "hold NaN or infinity: conv.bias",
    ),
}


@pytest.mark.parametrize("what", STATES)
def test_a_run_is_not_resumed_from(
    what: str, stopped: Config, capsys: pytest.CaptureFixture
) -> None:
    change, message = STATES[what]
    spoil(stopped, change)
    Witness.watch()
    assert train(stopped, "--resume") == 2
    assert not Witness.seen
    error = capsys.readouterr().err
    error = error[error.index("error: ") :]
    assert FILE in error
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(error)


def test_what_fits_is_resumed(stopped: Config) -> None:
    """Also where a parameter had no gradient yet, and where counts of steps are plain numbers.

    So they were once.
    """
    spoil(stopped, lambda held: held["optimizer"]["state"].pop(5))
    spoil(stopped, replaced("step", lambda step: int(step)))
    assert train(stopped, "--resume", find_last(stopped.work_dir)) == 0


NAMES = {
    "empty": lambda held: held["state_dict"].clear(),
    "renamed": lambda held: held.update(
        state_dict={f"x.{key}": value for key, value in held["state_dict"].items()}
    ),
    "lacking": lambda held: held["state_dict"].pop("last.1.weight"),
}


@pytest.mark.parametrize("what", NAMES)
def test_a_checkpoint_without_the_models_weights_is_not_whole(
    what: str, stopped: Config, capfd: pytest.CaptureFixture
) -> None:
    """It is passed over where there is another, however little that one has done."""
    older = Path(stopped.work_dir, "older.pth")
    held = last(stopped)
    held["meta"]["iter"] = 2
    spoil(stopped, NAMES[what])
    assert train(stopped, "--resume") == 2
    assert f"{FILE}: it lacks " in capfd.readouterr().err
    torch.save(held, older)
    assert train(stopped, "--resume") == 0
    printed = capfd.readouterr().out
    assert "passed over a checkpoint" in printed and f"Load checkpoint from {older}" in printed


def test_an_edit_of_the_backbone_between_stop_and_resume(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    cfg = detection(tmp_path)
    cfg.model.backbone.arch.d_state = 4
    cfg.optim_wrapper.optimizer.fused = True
    Witness.watch(1, kill(signal.SIGTERM))
    assert train(cfg) == EXIT_SAVED
    Witness.watch()
    assert train(cfg, "--resume", "--cfg-options", "model.backbone.arch.d_state=8") == 2
    printed = capfd.readouterr()
    assert "model.backbone.arch.d_state is 8, in the run 4" in printed.out
    assert "exp_avg of backbone." in printed.err and not Witness.seen


def test_the_run_that_has_done_most_is_gone_on_from_whatever_the_time(
    stopped: Config, capfd: pytest.CaptureFixture
) -> None:
    held, run = last(stopped), Path(stopped.work_dir)
    for name, iterations, age in (("a.pth", 3, 0), ("b.pth", 6, 9000), ("c.pth", 5, 10)):
        held["meta"]["iter"] = iterations
        torch.save(held, run / name)
        os.utime(run / name, (10**9 - age,) * 2)
    assert train(stopped, "--resume") == 0
    printed = capfd.readouterr().out
    assert (
        "b.pth is at iteration 6, further than any other" in printed
        and "interrupted.pth" in printed
    )


def test_a_copied_run_goes_on_from_its_own_file(
    stopped: Config, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Whatever `last_checkpoint` says, as MMEngine's hook writes whole paths into it."""
    original, copy = Path(stopped.work_dir), tmp_path / "copy"
    shutil.copytree(original, copy)
    assert (copy / "last_checkpoint").read_text() == FILE
    held = last(stopped)
    held["meta"]["iter"] = 8
    torch.save(held, original / "further.pth")
    (copy / "last_checkpoint").write_text(str(original / "further.pth"))
    stopped.work_dir = str(copy)
    assert train(stopped, "--resume") == 0
    printed = capfd.readouterr().out
    assert (
        f"Load checkpoint from {copy / FILE}" in printed
        and f"names {original / 'further.pth'}" in printed
    )

    for path in copy.glob("*.pth"):
        path.unlink()
    (copy / "last_checkpoint").write_text("../run/further.pth")
    assert train(stopped, "--resume") == 2
    assert "names a checkpoint of another folder" in capfd.readouterr().err


def test_weights_to_begin_with_fit_or_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    cfg = detection(tmp_path)
    cfg.train_cfg.max_epochs = 1
    assert train(cfg) == 0
    path = str(tmp_path / "first.pth")
    shutil.copy(find_last(cfg.work_dir), path)
    cfg.work_dir, cfg.load_from = str(tmp_path / "second"), path
    cfg.model.roi_head.bbox_head.num_classes = 2
    cfg.train_dataloader.dataset.metainfo = dict(classes=("circle", "square"))
    # Nothing answers there: weights that others replace are not asked for.
    published = "http://127.0.0.1:9/imagenet.pth"
    cfg.model.backbone = cfg.model.backbone | dict(
        init_cfg=dict(type="Pretrained", checkpoint=published)
    )
    capfd.readouterr()
    assert train(cfg) == 2
    error = capfd.readouterr().err
    names = error[error.index("--may-differ ") :].splitlines()[0].replace(",", "").split()
    assert names[1:] == ["roi_head.bbox_head.fc_cls", "roi_head.bbox_head.fc_reg"]

    assert train(cfg, "--may-differ", "roi_head.bbox_head.fc_clss", "roi_head.bbox_head") == 2
    assert "fc_clss', which neither the model nor" in capfd.readouterr().err
    assert train(cfg, "--may-differ", "backbone.layers.0") == 2
    assert published in capfd.readouterr().err
    # Where there is nothing to resume a run begins with these weights, too.
    Witness.watch(1, kill(signal.SIGTERM))
    assert train(cfg, "--resume", *names) == EXIT_SAVED
    printed = capfd.readouterr().out
    assert f"all weights come from {path}: {published} is not fetched" in printed
    assert (
        "4 tensors are not taken from" in printed
        and "fc_cls.weight, roi_head.bbox_head.fc_cls.bias" in printed
    )
    assert "roi_head.bbox_head.fc_cls.weight (4, 32) in the file, (3, 32) here" in printed
    Witness.watch()
    assert train(cfg, "--resume", *names) == 0


def test_may_differ_needs_weights_to_begin_with(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train(toy(tmp_path), "--may-differ", "last") == 2
    assert "load_from=PATH" in capsys.readouterr().err


TESTED = {
    "no head": (
        lambda held: [held["state_dict"].pop(f"last.1.{name}") for name in ("weight", "bias")],
        "2 of 9 tensors are not in the file: last.1.weight, last.1.bias",
    ),
    "NaN": (
        lambda held: held["state_dict"]["conv.bias"].fill_(torch.nan),
        "hold NaN or infinity: conv.bias",
    ),
    "renamed": (NAMES["renamed"], "have no place: x.conv.weight"),
}


@pytest.mark.parametrize("command", ["test", "load_from"])
@pytest.mark.parametrize("what", TESTED)
def test_weights_that_do_not_fit(
    what: str, command: str, stopped: Config, capsys: pytest.CaptureFixture
) -> None:
    change, message = TESTED[what]
    path, folder = find_last(stopped.work_dir), Path(stopped.work_dir).parent
    spoil(stopped, change)
    cfg = validated(stopped)
    for part in ("dataloader", "cfg", "evaluator"):
        cfg[f"test_{part}"] = cfg[f"val_{part}"]
    cfg.test_cfg.type = "TestLoop"
    cfg.work_dir = str(folder / "other")
    # What may differ when training begins may not when testing.
    cfg.default_hooks.loading = dict(
        type="LoadingHook", may_differ=["last"] if command == "test" else []
    )
    if command == "load_from":
        assert train(cfg, "--cfg-options", f"load_from={path}") == 2
    else:
        cfg.dump(folder / "tested.py")
        assert main(["test", str(folder / "tested.py"), path]) == 2
    assert message in capsys.readouterr().err


def test_whole_weights_are_tested(stopped: Config) -> None:
    path, folder = find_last(stopped.work_dir), Path(stopped.work_dir).parent
    cfg = validated(stopped)
    for part in ("dataloader", "cfg", "evaluator"):
        cfg[f"test_{part}"] = cfg[f"val_{part}"]
    cfg.test_cfg.type, cfg.work_dir = "TestLoop", str(folder / "other")
    cfg.dump(folder / "tested.py")
    assert main(["test", str(folder / "tested.py"), path]) == 0


def test_a_copied_run_leaves_the_originals_best_checkpoint_alone(tmp_path: Path) -> None:
    cfg = validated(toy(tmp_path))
    Witness.watch(7, kill(signal.SIGTERM))
    assert train(cfg) == EXIT_SAVED
    original, copy = Path(cfg.work_dir), tmp_path / "copy"
    spoil(cfg, lambda held: held["message_hub"]["runtime_info"].update(best_score=-1e9))
    shutil.copytree(original, copy)
    [best] = original.glob("best_*.pth")
    cfg.work_dir = str(copy)
    Witness.watch()
    assert train(cfg, "--resume") == 0
    assert (
        best.is_file() and not (copy / best.name).exists() and len([*copy.glob("best_*.pth")]) == 1
    )
