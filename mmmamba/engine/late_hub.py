"""Losses of a step that are read while the next one is at work."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

from ..ops.waiting import Readback


class _Scalar(NamedTuple):
    """What `update_scalar` was given."""

    key: str
    value: Tensor
    count: int
    resumed: bool


class _Step(NamedTuple):
    """Scalars of one dtype and device, and their numbers on the way."""

    scalars: list[_Scalar]
    numbers: Readback


class LateHub(MessageHub):
    """MMEngine's hub, which does not wait for a tensor that it is given.

    MMEngine's reads each loss at once, so that a GPU has nothing to do until Python has come to the
    next step. Whoever asks this hub for a scalar, or for its state, gets what MMEngine's would have
    said.

    A hub becomes one, and is one no longer, by its class (`read_late`, `read_at_once`): MMEngine
    keeps hubs by name, and others hold this one already.
    """

    _now: list[_Scalar]
    _steps: list[_Step]

    def update_scalar(self, key: str, value: Any, count: int = 1, resumed: bool = True) -> None:
        """Add a number, or a tensor of one element, to those of its name."""
        if isinstance(value, Tensor) and value.numel() == 1:
            self._set_resumed_keys(key, resumed)
            # A graph's memory is written over by the next step; the copy is made before that.
            self._now.append(_Scalar(key, value.detach().reshape(()), count, resumed))
        else:
            super().update_scalar(key, value, count, resumed)

    def end_step(self) -> None:
        """Begin to read what this step gave, and wait for the numbers of the one before."""
        before = len(self._steps)
        self._send()
        self._take(before)

    @property
    def log_scalars(self) -> OrderedDict:
        """All buffers by name, with all that was given."""
        self.settle()
        return super().log_scalars

    def get_scalar(self, key: str) -> HistoryBuffer:
        """The buffer of a name. It waits only where numbers of that name are on their way."""
        waiting = [*self._now, *(scalar for step in self._steps for scalar in step.scalars)]
        if key in self._log_scalars and all(scalar.key != key for scalar in waiting):
            return self._log_scalars[key]
        return super().get_scalar(key)

    def state_dict(self) -> dict:
        """What a checkpoint holds."""
        self.settle()
        return super().state_dict()

    def settle(self) -> None:
        """Wait for all numbers."""
        self._send()
        self._take(len(self._steps))

    def _send(self) -> None:
        groups: dict[tuple[torch.dtype, torch.device], list[_Scalar]] = {}
        for scalar in self._now:
            groups.setdefault((scalar.value.dtype, scalar.value.device), []).append(scalar)
        for scalars in groups.values():
            # One copy for all of them, and by launches that are few.
            together = torch.stack([scalar.value for scalar in scalars])
            self._steps.append(_Step(scalars, Readback(together)))
        self._now = []

    def _take(self, count: int) -> None:
        taken, self._steps = self._steps[:count], self._steps[count:]
        for step in taken:
            for scalar, number in zip(step.scalars, step.numbers.tolist()):
                super().update_scalar(scalar.key, number, scalar.count, scalar.resumed)


def read_late(hub: MessageHub) -> LateHub:
    """Turn a hub into one that waits for nobody."""
    if not isinstance(hub, LateHub):
        hub.__class__ = LateHub
        hub._now, hub._steps = [], []
    return hub


def read_at_once(hub: MessageHub) -> None:
    """Undo `read_late`."""
    if isinstance(hub, LateHub):
        hub.settle()
        del hub._now, hub._steps
        hub.__class__ = MessageHub


def newest(hub: MessageHub, key: str) -> float | None:
    """The last number of a name that has arrived; nothing is waited for."""
    buffer = hub._log_scalars.get(key)
    return None if buffer is None else buffer.current()
