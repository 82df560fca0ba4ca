"""LayerNorm's backends against PyTorch's own in float64."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ...ops.launch import DTYPES, HAS_TRITON
from ...ops.layer_norm import layer_norm
from .checks import Check, leaves, run_check, with_gradients

# Rows that fill no block of a kernel; the width is that of many first stages.
ROWS, WIDTH = 37, 96


def check_layer_norm(device: torch.device) -> list[Check]:
    """Output and gradients of every backend that can run on the device."""
    backends = ["triton", "torch"] if HAS_TRITON and device.type == "cuda" else ["torch"]
    generator = torch.Generator().manual_seed(0)
    shapes = dict(x=(ROWS, WIDTH), weight=(WIDTH,), bias=(WIDTH,))
    drawn = {}
    for name, shape in shapes.items():
        drawn[name] = torch.randn(shape, generator=generator, dtype=torch.float64)
    checks = []
    for backend in backends:
        checks += [_check(backend, device, dtype, drawn) for dtype in DTYPES]
    return checks


def _check(
    backend: str, device: torch.device, dtype: torch.dtype, drawn: Mapping[str, Tensor]
) -> Check:
    # Truth and backend get the same rounded numbers: the error is the backend's own.
    inputs = {name: value.to(dtype) for name, value in drawn.items()}
    exact = leaves(inputs, torch.device("cpu"), torch.float64)
    y = F.layer_norm(exact["x"], (WIDTH,), exact["weight"], exact["bias"])
    want = with_gradients(y, exact)

    def got() -> dict[str, Tensor]:
        given = leaves(inputs, device)
        return with_gradients(layer_norm(**given, backend=backend), given)

    return run_check("layer_norm", backend, device, dtype, got, want)
