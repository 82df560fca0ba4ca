"""The scan's backends against the loop in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from ...ops import route_table, selective_scan
from .checks import Check, leaves, run_check, with_gradients

ROUTES = ("row", "column", "row_reversed", "column_reversed")
HEIGHT, WIDTH, CHANNELS, STATES, BATCH = 7, 9, 33, 3, 2
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
WITHOUT_FLOAT64 = ("triton", "mamba_ssm")
"""Kernels that refuse it by design."""


def check_scan(backend: str, device: torch.device) -> list[Check]:
    """Output and all gradients on four routes, in every dtype that the backend takes.

    The map has odd sides, and channels that fill no block of a kernel.
    """
    dtypes = DTYPES[1:] if backend in WITHOUT_FLOAT64 else DTYPES
    return [_check(backend, device, dtype) for dtype in dtypes]


def _check(backend: str, device: torch.device, dtype: torch.dtype) -> Check:
    inputs = {name: x.to(_dtype(name, dtype)) for name, x in _inputs().items()}
    # The truth gets the numbers that were rounded to the dtype, and computes in float64.
    want = _run(inputs, "naive", torch.device("cpu"), torch.float64)

    def got() -> dict[str, Tensor]:
        return _run(inputs, backend, device, None)

    return run_check("selective_scan", backend, device, dtype, got, want)


def _dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """Maps come in the dtype of a network's activations, parameters in float32."""
    return dtype if name in ("u", "delta", "B", "C") or dtype == torch.float64 else torch.float32


def _inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    length, routes = HEIGHT * WIDTH, len(ROUTES)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "u": draw(BATCH, length, CHANNELS),
        "delta": draw(BATCH, length, routes, CHANNELS),
        # Negative for any draw: states decay.
        "A": -draw(routes, CHANNELS, STATES).exp(),
        "B": draw(BATCH, length, routes, STATES),
        "C": draw(BATCH, length, routes, STATES),
        "D": draw(routes, CHANNELS),
        "delta_bias": draw(routes, CHANNELS) - 1,
    }


def _run(
    inputs: dict[str, Tensor], backend: str, device: torch.device, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    given = leaves(inputs, device, dtype)
    index = route_table(ROUTES, HEIGHT, WIDTH, device)
    return with_gradients(
        selective_scan(**given, index=index, delta_softplus=True, backend=backend), given
    )
