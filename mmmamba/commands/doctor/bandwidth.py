"""Bytes a second: of a copy, and of the scan where every tensor is read or written once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.benchmark import Timer

from ...ops import route_table, selective_scan

ROUTES = ("row", "column", "row_reversed", "column_reversed")
CHANNELS, STATES = 96, 1
"""VMamba-T's first stage."""
MAPS = {"cuda": (2, 200, 336), "cpu": (1, 100, 168)}
"""Batch, height and width: those of an image of 800 x 1333 at stride 4, and a quarter of it."""
COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 27}
DTYPES = {"cuda": torch.bfloat16, "cpu": torch.float32}


@dataclass(frozen=True)
class Rate:
    """What was moved, and how fast."""

    what: str
    device: str
    gigabytes_per_second: float


def measure_rates(device: torch.device, seconds: float = 0.5) -> list[Rate]:
    """A copy, and the scan's forward and whole step, on the backend that the device takes."""
    return [_copy(device, seconds), *_scan(device, seconds)]


def _copy(device: torch.device, seconds: float) -> Rate:
    # Larger than caches, whose speed is not asked for.
    source = torch.ones(COPY_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    # A copy reads and writes each byte.
    return _rate("copy", device, 2 * source.nbytes, lambda: target.copy_(source), seconds)


def _scan(device: torch.device, seconds: float) -> list[Rate]:
    (batch, height, width), dtype = MAPS[device.type], DTYPES[device.type]
    length, routes = height * width, len(ROUTES)
    shapes = dict(u=(CHANNELS,), delta=(routes, CHANNELS), B=(routes, STATES), C=(routes, STATES))
    maps = {
        name: torch.randn(batch, length, *shape, device=device).to(dtype)
        for name, shape in shapes.items()
    }
    parameters = dict(
        # Negative, as in a network: growing states would overflow on so long a map.
        A=-torch.rand(routes, CHANNELS, STATES, device=device) - 0.1,
        D=torch.randn(routes, CHANNELS, device=device),
    )
    given = {name: x.requires_grad_() for name, x in (maps | parameters).items()}
    index, gradient = route_table(ROUTES, height, width, device), torch.randn_like(maps["u"])

    def forward() -> torch.Tensor:
        return selective_scan(**given, index=index, delta_softplus=True)

    def inference() -> None:
        with torch.no_grad():
            forward()

    def step() -> None:
        torch.autograd.grad(forward(), list(given.values()), gradient)

    # Bytes of one number for each position, of all inputs, and of the output.
    column = batch * length * dtype.itemsize
    inputs = column * (CHANNELS + routes * CHANNELS + 2 * routes * STATES)
    output = column * CHANNELS
    once = inputs + output
    # Backward reads the inputs and the output's gradient, and writes a gradient for each input.
    twice = once + inputs + output + inputs
    name = str(dtype).removeprefix("torch.")
    what = f"scan, {batch} x {height}x{width} x {CHANNELS}, {routes} routes, {name}"
    return [
        _rate(f"{what}, forward", device, once, inference, seconds),
        _rate(f"{what}, forward and backward", device, twice, step, seconds),
    ]


def _rate(
    what: str, device: torch.device, moved: int, call: Callable[[], object], seconds: float
) -> Rate:
    """Time a call that moves so many bytes, for at least so many seconds."""
    # Once untimed: the first call may compile a kernel. `Timer` waits for the GPU by itself and
    # would use one thread on the CPU if it were not told.
    call()
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    median = timer.blocked_autorange(min_run_time=seconds).median
    return Rate(what, str(device), moved / median / 1e9)
