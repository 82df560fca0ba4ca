"""What training changes and no `state_dict` holds is in the checkpoints."""

from __future__ import annotations

import signal
from operator import attrgetter
from pathlib import Path

import mmdet.models  # noqa: F401  (registers)
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner

from mmmamba.checkpoints.last_checkpoint import find_last
from mmmamba.engine.reliability import loose_state, make_reliable, rank_buffers
from mmmamba.engine.reliability.interrupt import EXIT_SAVED
from mmmamba.errors import UsageError

from ..tiny_models import Smallness, detection, toy, validated
from ..tiny_runs import Witness, kill, last, train
from .test_resume import compare


def test_sizes_that_serve_several_steps(tmp_path: Path) -> None:
    cfg = detection(tmp_path)
    resize = dict(
        type="BatchSyncRandomResize", random_size_range=(64, 96), interval=4, size_divisor=16
    )
    cfg.model.data_preprocessor.update(batch_augments=[resize], pad_mask=False)
    compare(cfg, stop=6)


def test_thresholds_that_follow_the_training(tmp_path: Path) -> None:
    cfg = detection(tmp_path)
    head = cfg.model.roi_head
    head.type = "DynamicRoIHead"
    head.bbox_head.loss_bbox = dict(type="SmoothL1Loss", beta=1.0)
    cfg.model.train_cfg.rcnn.dynamic_rcnn = dict(
        iou_topk=3, beta_topk=2, update_iter_interval=4, initial_iou=0.1, initial_beta=1.0
    )
    compare(cfg, stop=6)


def early(folder: Path) -> Config:
    """Five validations, of which the first is the best by rule, and then no more."""
    cfg = validated(toy(folder))
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=20, val_interval=2)
    cfg.custom_hooks.append(
        dict(type="EarlyStoppingHook", monitor="small", rule="greater", min_delta=9, patience=4)
    )
    return cfg


@pytest.mark.parametrize("batch", [None, 1])
def test_early_stopping_counts_on(tmp_path: Path, batch: int | None) -> None:
    cfg = early(tmp_path)
    Witness.watch(8, kill(signal.SIGTERM), batch)
    assert train(cfg) == EXIT_SAVED
    Witness.watch()
    assert train(cfg, "--resume") == 0
    assert Witness.seen[-1][0] + 1 == 10


def test_a_run_that_had_stopped_early_needs_more_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = early(tmp_path)
    Witness.watch()
    monkeypatch.setattr(
        Smallness,
        "reached",
        staticmethod(lambda: len(Witness.seen) == 20 and kill(signal.SIGTERM)()),
    )
    assert train(cfg) == EXIT_SAVED
    Witness.watch()
    assert train(cfg, "--resume") == 0 and not Witness.seen
    cfg.custom_hooks[-1]["patience"] = 5
    assert train(cfg, "--resume") == 0
    assert Witness.seen[-1][0] + 1 == 12


@pytest.mark.parametrize("name", loose_state.LOOSE)
def test_each_attribute_is_there(name: str, tmp_path: Path) -> None:
    made = dict(
        BatchSyncRandomResize=dict(random_size_range=(32, 64)),
        DropBlock=dict(drop_prob=0.1, block_size=3, warmup_iters=2),
        EarlyStoppingHook=dict(monitor="small", rule="greater"),
        NanGuardHook={},
    )
    if name == "DynamicRoIHead":
        cfg = detection(tmp_path).model.roi_head
        cfg.update(type=name, train_cfg=detection(tmp_path).model.train_cfg.rcnn)
        cfg.bbox_head.loss_bbox = dict(type="SmoothL1Loss", beta=1.0)
        owner = MODELS.build(dict(cfg, _scope_="mmdet"))
    else:
        registry = HOOKS if name.endswith("Hook") else MODELS
        owner = registry.build(dict(type=name, _scope_="mmdet", **made[name]))
    for attribute in loose_state.LOOSE[name]:
        attrgetter(attribute)(owner)


def stopped(folder: Path) -> tuple[Config, str, dict]:
    """A run after four iterations, and its checkpoint."""
    cfg = toy(folder)
    Witness.watch(4, kill(signal.SIGTERM))
    assert train(cfg) == EXIT_SAVED
    path = find_last(cfg.work_dir)
    return cfg, path, torch.load(path, weights_only=False)


def test_running_statistics_of_other_processes_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    cfg, path, checkpoint = stopped(tmp_path)
    hub = checkpoint["message_hub"]
    hub["runtime_info"][rank_buffers.KEY] = {"model.norm.running_mean": torch.ones(2, 4)}
    hub["resumed_keys"][rank_buffers.KEY] = True
    torch.save(checkpoint, path)
    assert train(cfg, "--resume") == 0
    assert "one of 2 processes, here there are 1" in capfd.readouterr().out
    # Nor are they handed on to the next checkpoint.
    assert not last(cfg)["message_hub"]["runtime_info"][rank_buffers.KEY]


def test_state_without_a_place_is_named(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    cfg, path, checkpoint = stopped(tmp_path)
    checkpoint["message_hub"]["runtime_info"][loose_state.KEY] = ['{"model.gone.iter_cnt": 3}']
    torch.save(checkpoint, path)
    assert train(cfg, "--resume") == 0
    assert "no place here: model.gone.iter_cnt" in capfd.readouterr().out


NO_STATE = [
    (loose_state.KEY, "state", "loose_state cannot be read"),
    (loose_state.KEY, 7, "loose_state cannot be read"),
    (loose_state.KEY, ["{"], "loose_state cannot be read"),
    (loose_state.KEY, ["[" * 100_000], "loose_state cannot be read"),
    (loose_state.KEY, ["[1]"], "loose_state is a list, wanted values by name"),
    (
        loose_state.KEY,
        ['{"NanGuardHook.0.in_a_row": "many"}'],
        "has 'many' for NanGuardHook.0.in_a_row, which is 0",
    ),
    (loose_state.KEY, ['{"NanGuardHook.0.in_a_row": [1]}'], "for NanGuardHook.0.in_a_row"),
    (rank_buffers.KEY, [1], "buffers_of_processes is not a dict of tensors"),
    (
        rank_buffers.KEY,
        {"model.norm.running_mean": "mean"},
        "buffers_of_processes is not a dict of tensors",
    ),
    (
        rank_buffers.KEY,
        {"model.norm.running_mean": torch.ones(1, 3)},
        r"has \(3,\) .* for model.norm.running_mean",
    ),
    (
        rank_buffers.KEY,
        {"model.norm.running_mean": torch.ones(1, 4) * 1j},
        "complex64 for model.norm.running_mean",
    ),
]


def test_state_that_is_none_is_refused(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    cfg.custom_hooks = []
    make_reliable(cfg)
    runner = Runner.from_cfg(cfg)
    for key, held, message in NO_STATE:
        runner.message_hub.update_info(loose_state.KEY, ["{}"])
        runner.message_hub.update_info(rank_buffers.KEY, {})
        runner.message_hub.update_info(key, held)
        with pytest.raises(UsageError, match=f"the checkpoint's .*{message}"):
            loose_state.restore_state(runner)
