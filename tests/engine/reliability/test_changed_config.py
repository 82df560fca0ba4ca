"""A run that is resumed with another config says what differs, and whose value is taken."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmmamba.config.find import find_config
from mmmamba.config.text import read_text
from mmmamba.engine.reliability.interrupt import EXIT_SAVED
from mmmamba.engine.reliability.resume.changed import changes

from ..tiny_models import toy
from ..tiny_runs import Witness, kill, train

OLD = dict(
    model=dict(type="A", width=8, head=dict(type="H", n=1)),
    train_dataloader=dict(
        batch_size=2, dataset=dict(pipeline=[dict(type="Load"), dict(type="Flip", prob=0.5)])
    ),
    optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.1), clip_grad=dict(max_norm=1)),
    param_scheduler=[dict(type="LinearLR", end=5)],
    randomness=dict(seed=1),
    variable=3,
    work_dir="a",
)
CHANGES = {
    "model.width=16": "model.width is 16, in the run 8",
    "model.head.m=2": "model.head.m is 2, in the run not set",
    "optim_wrapper.optimizer.lr=1.0": "optim_wrapper.optimizer.lr is 1.0, in the run 0.1",
    "optim_wrapper.clip_grad=None": "optim_wrapper.clip_grad is None, in the run dict(max_norm)",
    "param_scheduler.0.end=7": "param_scheduler.0.end is 7, in the run 5",
    "randomness.seed=2": "randomness.seed is 2, in the run 1",
    "train_dataloader.dataset.pipeline.1.prob=0.1": (
        "train_dataloader.dataset.pipeline.1.prob is 0.1, in the run 0.5"
    ),
    "variable=4": None,
    "work_dir='b'": None,
}
OF_THE_RUN = {"optim_wrapper.optimizer.lr", "param_scheduler.0.end", "randomness.seed"}


@pytest.mark.parametrize("change", CHANGES)
def test_what_differs_is_named(change: str) -> None:
    key, _, value = change.partition("=")
    new = Config(OLD)
    new.merge_from_dict({key: eval(value)})
    found = changes(new.pretty_text, Config(OLD).pretty_text)
    assert [str(one) for one in found] == [CHANGES[change]] * (CHANGES[change] is not None)
    assert not found or found[0].of_the_checkpoint == (key in OF_THE_RUN)


def test_another_pipeline_is_one_change() -> None:
    new = Config(OLD)
    new.train_dataloader.dataset.pipeline.insert(1, dict(type="Crop"))
    [found] = changes(new.pretty_text, Config(OLD).pretty_text)
    assert (
        str(found)
        == "train_dataloader.dataset.pipeline is [Load, Crop, Flip], in the run [Load, Flip]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a = __import__('os').mkdir('x')",
        "a = [",
        "a = dict(b=1",
        "import os",
        "a = [1] 2",
        "a",
        "a =",
        "a = " + "[" * 5000,
        "a = " + "dict(a=" * 5000,
        "a = {1: 2",
        "a = (1, 2]",
        "a = [1 2, dict(]",
        "\x00",
        3,
        "a=1\n" * 10**6,
    ],
    ids=range(15),
)
def test_what_is_no_printed_config(
    text: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is run, and it takes no time."""
    monkeypatch.chdir(tmp_path)
    start = time.process_time()
    with pytest.raises((TypeError, ValueError)):
        read_text(text)
    assert time.process_time() - start < 5 and not list(tmp_path.iterdir())


def test_long_chains_of_operators_are_values(tmp_path: Path) -> None:
    """Python's own parser goes down a level for each."""
    assert read_text(f"a = {'-' * 50_000}1\nb = 2")["b"] == "2"


def test_a_printed_config_is_read_as_it_is() -> None:
    cfg = Config.fromfile(find_config("mask_rcnn/vmamba_t_1x_coco"))
    tree = read_text(cfg.pretty_text)
    assert tree["model"]["neck"]["in_channels"] == [
        str(width) for width in cfg.model.neck.in_channels
    ]
    assert tree["optim_wrapper"]["optimizer"]["lr"] == str(cfg.optim_wrapper.optimizer.lr)
    assert [step["type"] for step in tree["train_pipeline"]] == [
        repr(step.type) for step in cfg.train_pipeline
    ]


@HOOKS.register_module()
class SeenRate(Hook):
    """The learning rate that the first step of a run begins with, and its schedule's end."""

    seen: tuple = ()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if not SeenRate.seen:
            SeenRate.seen = (
                runner.optim_wrapper.optimizer.param_groups[0]["initial_lr"],
                runner.param_schedulers[0].end,
                runner.seed,
            )


@pytest.fixture
def interrupted(tmp_path: Path) -> Config:
    """A run that was stopped after three of ten steps."""
    cfg = toy(tmp_path)
    cfg.randomness = dict(seed=1)
    Witness.watch(3, kill(15))
    assert train(cfg) == EXIT_SAVED
    Witness.watch()
    return cfg


def lines(cfg: Config) -> list[str]:
    newest = max(Path(cfg.work_dir).glob("*/*.log"), key=lambda path: path.stat().st_mtime_ns)
    return [line for line in newest.read_text().splitlines() if " - WARNING - " in line]


def test_what_is_said_is_what_happens(interrupted: Config) -> None:
    cfg = interrupted
    cfg.optim_wrapper.optimizer.lr = 0.5
    cfg.param_scheduler[0].end = 6
    cfg.randomness.seed = 2
    cfg.train_dataloader.num_workers = 1
    cfg.custom_hooks.append(dict(type="SeenRate"))
    SeenRate.seen = ()
    assert train(cfg, "--resume") == 0
    assert SeenRate.seen == (0.01, 8, 1)
    told = [
        line.partition("that of the run: ")[2] for line in lines(cfg) if "that of the run: " in line
    ]
    of_run, of_config = "Taken: the run's, which the checkpoint holds", "Taken: the config's"
    assert sorted(told) == sorted(
        [
            f"optim_wrapper.optimizer.lr is 0.5, in the run 0.01. {of_run}",
            f"param_scheduler.0.end is 6, in the run 8. {of_run}",
            f"randomness.seed is 2, in the run 1. {of_run}",
            f"train_dataloader.num_workers is 1, in the run 0. {of_config}",
            (
                "custom_hooks is [EMAHook, Witness, SeenRate, RunAheadHook], in the run [EMAHook, "
                f"Witness, RunAheadHook]. {of_config}"
            ),
        ]
    )


def test_the_same_config_is_no_change(interrupted: Config) -> None:
    assert train(interrupted, "--resume") == 0
    assert not [
        line
        for line in lines(interrupted)
        if "that of the run" in line or "nothing is left" in line
    ]
    # Done already.
    assert train(interrupted, "--resume") == 0
    assert any(
        "nothing is left to train: epochs that are done: 2, train_cfg.max_epochs: 2" in line
        for line in lines(interrupted)
    )


def test_fewer_epochs_than_are_done(interrupted: Config) -> None:
    assert train(interrupted, "--resume") == 0
    interrupted.train_cfg.max_epochs = 1
    seen = len(Witness.seen)
    assert train(interrupted, "--resume") == 0
    told = "\n".join(lines(interrupted))
    assert "nothing is left to train: epochs that are done: 2, train_cfg.max_epochs: 1" in told
    assert "train_cfg.max_epochs is 1, in the run 2. Taken: the config's" in told
    assert len(Witness.seen) == seen


@pytest.mark.parametrize(
    "change",
    [
        {"optim_wrapper.optimizer.type": "Adam"},
        {"param_scheduler.0.type": "ConstantLR", "param_scheduler.0.factor": 0.1},
        {"param_scheduler": []},
    ],
)
def test_state_of_another_kind_of_optimizer_or_schedule(
    interrupted: Config, change: dict, capsys
) -> None:
    interrupted.merge_from_dict(change)
    if "param_scheduler.0.type" in change:
        interrupted.param_scheduler[0].pop("start_factor")
    assert train(interrupted, "--resume") == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ") and next(iter(change)).split(".")[0] in message
