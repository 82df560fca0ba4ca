"""Python that goes ahead of the GPU changes no number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.registry import HOOKS
from torch.utils._python_dispatch import TorchDispatchMode

from mmmamba.engine.late_hub import LateHub, read_at_once, read_late

from ..tiny_models import toy
from ..tiny_runs import train

STEPS = 5


def told(hub: MessageHub, late: bool) -> MessageHub:
    """A hub that was given what a training gives."""
    if late:
        read_late(hub)
    for n in range(STEPS):
        hub.update_scalar("train/lr", 0.1 * n)
        hub.update_scalar("train/loss", torch.tensor(1.5 + n, requires_grad=True))
        hub.update_scalar("train/acc", torch.tensor([n]), count=2)
        hub.update_scalar("train/norm", torch.tensor(0.1 * n, dtype=torch.float64), resumed=False)
        if isinstance(hub, LateHub):
            hub.end_step()
    return hub


def histories(hub: MessageHub) -> dict:
    return {key: [list(part) for part in value.data] for key, value in hub.log_scalars.items()}


def test_a_late_hub_says_what_mmengines_says() -> None:
    late, plain = told(MessageHub("late"), True), told(MessageHub("plain"), False)
    assert histories(late) == histories(plain)
    states = [hub.state_dict() for hub in (late, plain)]
    assert states[0]["resumed_keys"] == states[1]["resumed_keys"]
    assert set(states[0]["log_scalars"]) == set(states[1]["log_scalars"])
    read_at_once(late)
    assert type(late) is MessageHub
    assert histories(late) == histories(plain)


def test_numbers_come_one_step_later_unless_somebody_asks() -> None:
    hub = told(MessageHub("asked"), True)
    assert len(hub._log_scalars["train/loss"].data[0]) == STEPS - 1
    # What has no numbers on their way is there, and does not wait for others.
    assert len(hub.get_scalar("train/lr").data[0]) == STEPS
    assert len(hub._log_scalars["train/loss"].data[0]) == STEPS - 1
    assert hub.get_scalar("train/loss").current() == 0.5 + STEPS
    with pytest.raises(KeyError, match="train/other"):
        hub.get_scalar("train/other")


def test_what_was_given_may_be_written_over() -> None:
    hub = read_late(MessageHub("written over"))
    loss = torch.tensor(1.0)
    hub.update_scalar("loss", loss)
    hub.end_step()
    loss.fill_(2.0)
    assert hub.get_scalar("loss").current() == 1.0


class CountReads(TorchDispatchMode):
    reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@HOOKS.register_module()
class ReadsOfSteps(Hook):
    """Counts what a training step reads back, hooks included."""

    counts: list[int] = []
    priority = "HIGHEST"

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.mode = CountReads()
        self.mode.__enter__()


@HOOKS.register_module()
class EndOfStep(Hook):
    """Behind all others but the log."""

    priority = "NORMAL"

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        (counting,) = (hook for hook in runner.hooks if isinstance(hook, ReadsOfSteps))
        counting.mode.__exit__(None, None, None)
        ReadsOfSteps.counts.append(counting.mode.reads)


def test_a_step_is_waited_for_once(tmp_path: Path) -> None:
    """By the guard, which a grad scaler on a GPU spares too."""
    ReadsOfSteps.counts = []
    cfg = toy(tmp_path)
    # AdamW on a CPU reads its count of steps.
    cfg.optim_wrapper.optimizer = dict(type="SGD", lr=1e-3)
    cfg.optim_wrapper.clip_grad = dict(max_norm=1.0)
    cfg.custom_hooks = [dict(type="ReadsOfSteps"), dict(type="EndOfStep")]
    assert train(cfg) == 0
    assert set(ReadsOfSteps.counts) == {1}, ReadsOfSteps.counts
