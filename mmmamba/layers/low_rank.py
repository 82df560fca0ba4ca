"""Step sizes from their low-rank projection."""

import torch
from torch import Tensor


def dense_pays(x: Tensor, rank: int) -> bool:
    """Whether one full projection beats two through `rank` channels.

    Tensor cores take widths that are multiples of 8. Through 6 or 12 channels (the first stages of most backbones) the two
    matrix products and their gradients were the largest single cost of a training step on an H200.
    """
    return x.is_cuda and rank % 8 != 0


def compose(up: Tensor, down: Tensor) -> Tensor:
    """The weight of both projections in one, `(…, D, R)` after `(…, R, E)`, in float32 also under autocast."""
    with torch.autocast(up.device.type, enabled=False):
        return up.float() @ down.float() if up.dtype != torch.float64 else up @ down
