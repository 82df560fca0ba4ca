"""Calls of a forward and backward pass, operators and kernels of ours, with bytes and times."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from unittest import mock

import torch
from common import DEVICE, now
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmmamba.ops import launch

CALLS = 3
"""Passes whose mean counts."""


def autocast() -> torch.autocast:
    return torch.autocast(DEVICE, torch.bfloat16)


def tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def size_in_bytes(values: Any) -> int:
    """Bytes of the tensors among some values, each once; what is expanded counts as it lies."""
    found = {}
    for x in tensors(values):
        numbers = 1
        for side, stride in zip(x.shape, x.stride()):
            numbers *= side if stride or side == 0 else 1
        place = (x.untyped_storage().data_ptr(), x.storage_offset(), x.shape, x.stride())
        found[place] = numbers * x.element_size()
    return sum(found.values())


@dataclass
class Call:
    """An operator or a launch of a kernel of ours, of one pass."""

    phase: str
    name: str
    size: int
    ms: float = 0.0
    kernels: Counter[str] = field(default_factory=Counter)


class Watch(TorchDispatchMode):
    """Keeps what each call of a pass reads and writes, and marks it for the profiler."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.number = 0
        self.phase = ""
        self.launching = False

    def begin(self, phase: str) -> None:
        """Each pass makes the same calls, which are numbered from the first on."""
        self.phase = phase
        if phase == "forward":
            self.number = 0

    @contextmanager
    def marked(self, name: str) -> Iterator[Call]:
        if self.number == len(self.calls):
            self.calls.append(Call(self.phase, name, 0))
        call = self.calls[self.number]
        if (call.phase, call.name) != (self.phase, name):
            raise RuntimeError(f"a pass calls {name} where the one before called {call.name}")
        mark = record_function(f"call:{self.number}")
        self.number += 1
        with mark:
            yield call

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # Marks are operators, too.
        if func.is_view or func.namespace == "profiler" or self.launching:
            return func(*args, **kwargs)
        with self.marked(str(func.overloadpacket)) as call:
            result = func(*args, **kwargs)
        call.size = size_in_bytes([args, kwargs]) + size_in_bytes(result)
        return result

    def launch(self, planned: launch.Launch, *given: Tensor | None) -> None:
        """In place of the package's; of a kernel's tensors it is not known which it writes."""
        with self.marked(planned.kernel.fn.__name__) as call:
            self.launching = True
            LAUNCH(planned, *given)
            self.launching = False
        call.size = size_in_bytes(given)

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """Watches, unseen by the package, which would run other kernels for whoever looks on.

        Modules with kernels are loaded by a first pass before.
        """
        modules = [m for name, m in sys.modules.items() if name.startswith("mmmamba.")]
        with ExitStack() as stack:

            def run(planned: Any, *given: Tensor | None) -> None:
                self.launch(planned, *given)

            stack.enter_context(mock.patch.object(launch.Launch, "__call__", run))
            for module in modules:
                if "_get_current_dispatch_mode" in vars(module):
                    stack.enter_context(
                        mock.patch.object(module, "_get_current_dispatch_mode", lambda: None)
                    )
            stack.enter_context(self)
            yield


LAUNCH = launch.Launch.__call__


def differentiable(values: Any) -> list[Tensor]:
    return [x for x in tensors(values) if x.requires_grad]


class Watched(NamedTuple):
    """A block's calls, bytes of either pass, and percent of the GPU's time that they explain."""

    calls: list[Call]
    whole: dict[str, int]
    explained: float | None


def watched_passes(block: nn.Module, args: tuple) -> Watched:
    """The calls of a forward and backward pass with their times, and the bytes of either pass."""

    def forward() -> list[Tensor]:
        with autocast():
            return differentiable(block(*args))

    outputs = forward()
    gradients = [torch.randn_like(y) for y in outputs]
    wanted = [*differentiable(args), *block.parameters()]

    def backward(outputs: list[Tensor]) -> tuple:
        # What a block hands on as it was given has its gradient from elsewhere.
        return torch.autograd.grad(outputs, wanted, gradients, allow_unused=True)

    made = backward(outputs)
    whole = dict(
        forward=size_in_bytes([args, list(block.parameters())]) + size_in_bytes(outputs),
        backward=size_in_bytes([args, gradients, list(block.parameters())]) + size_in_bytes(made),
    )
    watch = Watch()
    activities = [ProfilerActivity.CPU]
    if DEVICE == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with watch.everywhere():
        backward(forward())
    watch.calls.clear()
    now()
    with profile(activities=activities) as profiler, watch.everywhere():
        for _ in range(CALLS):
            watch.begin("forward")
            outputs = forward()
            watch.begin("backward")
            backward(outputs)
        now()
    for event in profiler.events():
        # The profiler repeats marks on the GPU's own line.
        if event.name.startswith("call:") and event.device_type == DeviceType.CPU:
            call = watch.calls[int(event.name.removeprefix("call:"))]
            spent = event.device_time_total if DEVICE == "cuda" else event.cpu_time_total
            call.ms += spent / 1e3 / CALLS
            call.kernels.update(kernels_below(event))
    add_launches(watch.calls, profiler.events())
    calls = [call for call in watch.calls if call.ms > 0]
    total = sum(
        event.self_device_time_total / 1e3 / CALLS
        for event in profiler.key_averages()
        if event.device_type == DeviceType.CUDA and not event.key.startswith("call:")
    )
    return Watched(calls, whole, 100 * sum(call.ms for call in calls) / total if total else None)


def add_launches(calls: list[Call], events: Any) -> None:
    """Give launches of ours their kernels, which the profiler does not connect with marks.

    They run in the order of their launches, under the names of their functions.
    """
    ran: dict[str, list[Any]] = {}
    for event in sorted(events, key=lambda event: event.time_range.start):
        if event.device_type == DeviceType.CUDA:
            ran.setdefault(event.name, []).append(event)
    launches: dict[str, list[Call]] = {}
    for call in calls:
        if not call.kernels:
            launches.setdefault(call.name, []).append(call)
    for name, some in launches.items():
        found = ran.get(name, [])
        # Otherwise it is not known whose they are, and less of the GPU's time is explained.
        if len(found) == CALLS * len(some):
            for event, call in zip(found, CALLS * some):
                call.ms += event.time_range.elapsed_us() / 1e3 / CALLS
                call.kernels[name] += 1


def kernels_below(event: Any) -> list[str]:
    names = [kernel.name for kernel in event.kernels]
    for child in event.cpu_children:
        names += kernels_below(child)
    return names
