"""What a GPU does in a call: the kernels by torch.profiler, and the calls that launched them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from common import now
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

LAUNCHES = re.compile(r"cu(da)?(Launch|GraphLaunch|Memcpy|Memset)")
"""Calls of the driver and the runtime that give the card work."""


@dataclass
class Work:
    """A call's kernels, copies and fills on the GPU, on average.

    Args:
        milliseconds, counts: by kernel.
        launches: calls that gave the card work, of which a CUDA graph needs one.
    """

    milliseconds: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    launches: float = 0.0

    @property
    def ms(self) -> float:
        return sum(self.milliseconds.values())

    @property
    def kernels(self) -> float:
        return sum(self.counts.values())


def gpu_work(run: Callable[[], object], calls: int = 3) -> Work:
    """What the GPU does in a call that ran before; nothing without a GPU."""
    found = Work()
    if not torch.cuda.is_available():
        return found
    now()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(calls):
            run()
        now()
    for event in profiler.key_averages():
        if event.device_type == DeviceType.CUDA:
            found.milliseconds[event.key] += event.self_device_time_total / 1e3 / calls
            found.counts[event.key] += event.count / calls
        elif LAUNCHES.match(event.key):
            found.launches += event.count / calls
    return found


def short_name(kernel: str, width: int = 60) -> str:
    """A kernel's name without the namespaces that all have, cut."""
    name = re.sub(
        r"^void |at::native::|\(anonymous namespace\)::|<unnamed>::|at::cuda::", "", kernel
    )
    return name if len(name) <= width else name[: width - 1] + "…"
