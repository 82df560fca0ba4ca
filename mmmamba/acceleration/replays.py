"""Functions of tensors of fixed shapes, such as a head's way from maps to boxes, replayed."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmmamba.ops.launch import on

from .recording import CudaRecorder, Recorder, size_key

MOST = 16
"""Shapes that are held; one that has not come for the longest time gives way."""
Inputs = Sequence[Tensor | None]
Run = Callable[..., Sequence[Tensor]]

logger = logging.getLogger("mmmamba")


class Replays:
    """Calls functions as they are, and from the second time that shapes come as CUDA graphs.

    A function computes tensors from tensors and constants, launches the same for the same shapes,
    and reads nothing back.
    """

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        self._held: OrderedDict[Hashable, _Recorded | None] = OrderedDict()
        self._off = False

    def __getstate__(self) -> dict[str, Any]:
        # Graphs hold addresses of this process's memory.
        return dict(device=getattr(self.recorder, "device", None))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(CudaRecorder(state["device"]))  # type: ignore[misc]

    def __call__(self, function: Run, inputs: Inputs, *constants: Hashable) -> Sequence[Tensor]:
        """`function(*inputs, *constants)`, in memory of its own.

        Gradients go as far as the function itself takes them: a pass that wants them is not
        replayed.
        """
        there = [x for x in inputs if x is not None]
        if self._off or torch.is_grad_enabled() or not self.recorder.takes(there[0]):
            return function(*inputs, *constants)
        key = (function, constants, *(None if x is None else size_key(x) for x in inputs))
        if key not in self._held:
            self._held[key] = None
            self._let_go()
            return function(*inputs, *constants)
        self._held.move_to_end(key)
        recorded = self._held[key]
        with on(there[0].device):
            if recorded is None:
                recorded = self._record(key, function, inputs, constants)
            return function(*inputs, *constants) if recorded is None else recorded(inputs)

    def _record(
        self, key: Hashable, function: Run, inputs: Inputs, constants: Sequence[Hashable]
    ) -> _Recorded | None:
        try:
            recorded = _Recorded(lambda *x: function(*x, *constants), inputs, self.recorder)
        except RuntimeError as error:
            self.recorder.recover()
            self._held.clear()
            self._off = True
            name = getattr(function, "__name__", "a function")
            reason = str(error).strip().splitlines()[0]
            logger.info("%s cannot be captured (%s): it runs in eager mode", name, reason)
            return None
        self._held[key] = recorded
        return recorded

    def _let_go(self) -> None:
        while len(self._held) > MOST:
            self._held.popitem(last=False)


def give_replays(model: nn.Module, recorder: Recorder) -> None:
    """Let modules with an attribute `replays` replay functions of theirs."""
    for module in model.modules():
        if hasattr(type(module), "replays"):
            module.replays = Replays(recorder)  # type: ignore[assignment]


def take_replays(model: nn.Module) -> None:
    """Undo `give_replays`."""
    for module in model.modules():
        module.__dict__.pop("replays", None)


class _Recorded:
    """A function over inputs of some shapes."""

    def __init__(self, run: Run, inputs: Inputs, recorder: Recorder):
        # Inference tensors could not be written to outside of inference mode.
        with torch.inference_mode(False), torch.no_grad():
            self._inputs = [None if x is None else torch.empty_like(x) for x in inputs]
            self._take(inputs)

            def once() -> None:
                self._outputs = [torch.empty_like(y) for y in run(*self._inputs)]

            def again() -> None:
                for place, y in zip(self._outputs, run(*self._inputs)):
                    place.copy_(y)

            recorder.prepare(once)
            self._replay = recorder.record(again)

    def _take(self, inputs: Inputs) -> None:
        for place, x in zip(self._inputs, inputs):
            if place is not None:
                place.copy_(x)

    def __call__(self, inputs: Inputs) -> Sequence[Tensor]:
        self._take(inputs)
        self._replay()
        return [y.clone() for y in self._outputs]
