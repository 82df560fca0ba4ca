"""Statistics of a batch over all processes, for which Python does not wait."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def leave_counts_unread(model: nn.Module) -> list[nn.Module]:
    """Have a model's SyncBatchNorm not read back how many images the other processes have.

    PyTorch leaves out processes without any, and stops the GPU in each layer to know which, but not
    within a capture. Only heads of regions may have a batch of none in one of the processes: those
    stay as they are.

    Returns:
        The layers that were changed; `read_counts` undoes it.
    """
    changed = []
    for name, module in model.named_modules():
        if isinstance(module, nn.SyncBatchNorm) and "roi_head" not in name.split("."):
            module.forward = partial(_as_if_captured, module)  # type: ignore[method-assign]
            changed.append(module)
    return changed


def read_counts(norms: Sequence[nn.Module]) -> None:
    """Undo `leave_counts_unread`."""
    for norm in norms:
        norm.__dict__.pop("forward", None)


def _as_if_captured(norm: nn.Module, *inputs: Any) -> Tensor:
    asked = torch.cuda.is_current_stream_capturing
    torch.cuda.is_current_stream_capturing = lambda: True
    try:
        return type(norm).forward(norm, *inputs)
    finally:
        torch.cuda.is_current_stream_capturing = asked
