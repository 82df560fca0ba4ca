"""Non-maximum suppression of many groups of boxes at once, without a look at how many are left."""

import torch
from torch import Tensor

from .launch import HAS_TRITON

PAIRS = 2**32
"""Pairs of boxes whose overlap is noted at once, a bit each: half a GiB.

More are left to torchvision, group by group.
"""


@torch.no_grad()
def grouped_nms(boxes_GN4: Tensor, threshold: float) -> Tensor:
    """Which boxes overlap no better kept one of their group by more than `threshold`, `(G, N)`.

    This is what `torchvision.ops.nms` keeps of each group. A box of zeros, as fills up a short
    group, suppresses nothing. On CUDA overlaps are computed in float32.

    Args:
        boxes_GN4: corners x1, y1, x2, y2; each group's best first.
    """
    groups, length, _ = boxes_GN4.shape
    if boxes_GN4.is_cuda and HAS_TRITON and groups * length**2 <= PAIRS:
        from .kernels.grouped_nms import kept

        return kept(boxes_GN4.float().contiguous(), threshold)
    # At least float32: torchvision lacks half precision on a CPU, and scores that fall by one would
    # be tied in it where there are thousands of boxes.
    return _plain(boxes_GN4.to(torch.promote_types(boxes_GN4.dtype, torch.float32)), threshold)


def _plain(boxes_GN4: Tensor, threshold: float) -> Tensor:
    from torchvision.ops import nms

    keep_GN = torch.zeros(boxes_GN4.shape[:2], dtype=torch.bool, device=boxes_GN4.device)
    # Boxes come best first; scores that fall by one keep them so when torchvision sorts them.
    falling_N = torch.arange(
        boxes_GN4.shape[1], 0, -1, dtype=boxes_GN4.dtype, device=boxes_GN4.device
    )
    for keep_N, boxes_N4 in zip(keep_GN, boxes_GN4):
        keep_N[nms(boxes_N4, falling_N, threshold)] = True
    return keep_GN
