"""LayerNorm's backends against PyTorch's own in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...ops.launch import DTYPES, HAS_TRITON
from ...ops.layer_norm import layer_norm
from .checks import Check, leaves, run_check, with_gradients

ROWS, WIDTH = 37, 96


def check_layer_norm(device: torch.device) -> list[Check]:
    """Output and gradients of every backend that can run on the device."""
    backends = ["triton", "torch"] if HAS_TRITON and device.type == "cuda" else ["torch"]
    generator = torch.Generator().manual_seed(0)
    shapes = dict(x=(ROWS, WIDTH), weight=(WIDTH,), bias=(WIDTH,))
    drawn = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }
    checks = []
    for backend in backends:
        for dtype in DTYPES:
            inputs = {name: value.to(dtype) for name, value in drawn.items()}
            exact = leaves(inputs, torch.device("cpu"), torch.float64)
            want = with_gradients(
                F.layer_norm(exact["x"], (WIDTH,), exact["weight"], exact["bias"]), exact
            )

            def got(inputs=inputs, backend=backend):
                given = leaves(inputs, device)
                return with_gradients(layer_norm(**given, backend=backend), given)

            checks.append(run_check("layer_norm", backend, device, dtype, got, want))
    return checks
