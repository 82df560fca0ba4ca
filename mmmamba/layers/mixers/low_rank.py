"""Step sizes from their low-rank projection."""

import torch
from torch import Tensor

from mmmamba.ops.recompute import unwatched

WIDEST = 768
"""Above this width the larger product costs more than the two skinny ones, whose gradients sum over all positions."""


def dense_pays(x: Tensor, rank: int) -> bool:
    """Whether one full projection beats two through `rank` channels, on a GPU.

    The gradients of the skinny products reduce over all positions into a few columns, which no matrix kernel does well,
    and not at all on tensor cores where the rank is no multiple of 8: they were the largest cost of a training step.
    """
    return x.is_cuda and (rank % 8 != 0 or x.shape[-1] <= WIDEST)


def scan_projects(x: Tensor, rank: int) -> bool:
    """Whether the scan makes its step sizes itself (`projected_scan`), in training once more in the backward pass."""
    return dense_pays(x, rank) and unwatched(x)


def compose(up: Tensor, down: Tensor) -> Tensor:
    """The weight of both projections in one, `(…, D, R)` after `(…, R, E)`, in float32 also under autocast."""
    with torch.autocast(up.device.type, enabled=False):
        return up.float() @ down.float() if up.dtype != torch.float64 else up @ down
