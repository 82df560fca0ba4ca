"""Which ground truth each prior is assigned to, of a batch, in two kernels.

In PyTorch's operators that is some thirty, of which twenty write a number for each pair.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .derivatives import watched
from .launch import HAS_TRITON


class Thresholds(NamedTuple):
    """Overlaps at which a prior is assigned, by the best that it has with a ground truth."""

    background_from: float
    background_to: float
    """Background is what lies below it, from `background_from` on."""
    foreground: float
    nearest: float | None
    """A ground truth's best priors get it from here on, however little they overlap; None: not."""


def matches_boxes(gts_BG4: Tensor, priors_BP4: Tensor) -> bool:
    """Whether `match_boxes` takes these boxes: in float32 on CUDA, and nothing looks on."""
    return (
        HAS_TRITON
        and priors_BP4.is_cuda
        and gts_BG4.dtype == priors_BP4.dtype == torch.float32
        and not watched()
    )


@torch.no_grad()
def match_boxes(
    gts_BG4: Tensor, there_BG: Tensor, priors_BP4: Tensor, valid_BP: Tensor, thresholds: Thresholds
) -> Tensor:
    """Assigned indices `(B, P)`: from 1 on ground truths, 0 background, -1 what is ignored.

    Args:
        gts_BG4: ground truths as corners x1, y1, x2, y2.
        there_BG: False for what only fills an image up.
        valid_BP: False for what is ignored whatever it overlaps.
    """
    from .kernels.match_boxes import match

    if priors_BP4.stride()[1:] != (4, 1):
        priors_BP4 = priors_BP4.contiguous()
    return match(
        gts_BG4.contiguous(), there_BG.contiguous(), priors_BP4, valid_BP.contiguous(), thresholds
    )
