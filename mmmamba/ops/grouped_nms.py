"""Non-maximum suppression of many groups of boxes at once, without a look at how many are left."""

import torch
from torch import Tensor

from .launch import HAS_TRITON
from .library import register

PAIRS = 2**32
"""Pairs of boxes whose overlap is noted at once, a bit each: half a GiB.

More are left to torchvision, group by group.
"""


@torch.no_grad()
def grouped_nms(boxes_GN4: Tensor, threshold: float, count_G: Tensor | None = None) -> Tensor:
    """Which boxes overlap no better kept one of their group by more than `threshold`, `(G, N)`.

    This is what `torchvision.ops.nms` keeps of each group. A box of zeros, as fills up a short
    group, suppresses nothing. On CUDA overlaps are computed in float32.

    Args:
        boxes_GN4: corners x1, y1, x2, y2; each group's best first.
        count_G: how many at the start of each group there are; the others are not looked at, and
            not kept. By default all.
    """
    if torch.compiler.is_exporting():
        return _suppress_counted(boxes_GN4, threshold, count_G)
    groups, length, _ = boxes_GN4.shape
    if boxes_GN4.is_cuda and HAS_TRITON and groups * length**2 <= PAIRS:
        from .kernels.grouped_nms import kept

        if count_G is None:
            count_G = torch.full((groups,), length, dtype=torch.int32, device=boxes_GN4.device)
        return kept(boxes_GN4.float().contiguous(), threshold, count_G.int().contiguous())
    # At least float32: torchvision lacks half precision on a CPU, and scores that fall by one would
    # be tied in it where there are thousands of boxes.
    boxes_GN4 = boxes_GN4.to(torch.promote_types(boxes_GN4.dtype, torch.float32))
    return _plain(boxes_GN4, threshold, [length] * groups if count_G is None else count_G.tolist())


def _plain(boxes_GN4: Tensor, threshold: float, counts: list[int]) -> Tensor:
    from torchvision.ops import nms

    keep_GN = torch.zeros(boxes_GN4.shape[:2], dtype=torch.bool, device=boxes_GN4.device)
    # Boxes come best first; scores that fall by one keep them so when torchvision sorts them.
    falling_N = torch.arange(
        boxes_GN4.shape[1], 0, -1, dtype=boxes_GN4.dtype, device=boxes_GN4.device
    )
    for group, count in enumerate(counts):
        if count:
            kept_K = nms(boxes_GN4[group, :count], falling_N[:count], threshold)
            keep_GN[group].index_fill_(0, kept_K, True)
    return keep_GN


def _suppress_counted(boxes_GN4: Tensor, threshold: float, count_G: Tensor | None) -> Tensor:
    """The same as one operator, which knows no counts."""
    if count_G is None:
        return suppress_op(boxes_GN4, threshold)
    there_GN = torch.arange(boxes_GN4.shape[1], device=boxes_GN4.device) < count_G[:, None]
    return suppress_op(boxes_GN4.where(there_GN[..., None], 0), threshold) & there_GN


def _suppress(boxes: Tensor, threshold: float) -> Tensor:
    return grouped_nms(boxes, threshold)


suppress_op = register("suppress", _suppress)
"""`grouped_nms` of all boxes as one node of an exported graph."""


@torch.library.register_fake("mmmamba::suppress")
def _fake(boxes, threshold):
    return boxes.new_empty(boxes.shape[:2], dtype=torch.bool)
