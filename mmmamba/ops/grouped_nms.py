"""Non-maximum suppression of many groups of boxes at once, without a look at how many are left."""

import torch
from torch import Tensor

from .launch import HAS_TRITON
from .library import register
from .lowered_nms import lowered_nms
from .lowering import unrolls

PAIRS = 2**32
"""Pairs of boxes whose overlap is noted at once, a bit each: half a GiB.

More are left to torchvision, group by group.
"""

PER_KEPT = 16
"""Boxes that compete at first on a CPU for each that the caller takes."""


@torch.no_grad()
def grouped_nms(
    boxes_GN4: Tensor, threshold: float, count_G: Tensor | None = None, most: int | None = None
) -> Tensor:
    """Which boxes overlap no better kept one of their group by more than `threshold`, `(G, N)`.

    This is what `torchvision.ops.nms` keeps of each group. A box of zeros, as fills up a short
    group, suppresses nothing. On CUDA overlaps are computed in float32.

    Args:
        boxes_GN4: corners x1, y1, x2, y2; each group's best first.
        count_G: how many at the start of each group there are; the others are not looked at, and
            not kept. By default all.
        most: how many of a group the caller takes; which are kept after them is left open. On a
            CPU, and in other programs than ours, much is spared by that.
    """
    if torch.compiler.is_exporting():
        return _suppress_counted(boxes_GN4, threshold, count_G, most)
    groups, length, _ = boxes_GN4.shape
    if boxes_GN4.is_cuda and HAS_TRITON and groups * length**2 <= PAIRS:
        from .kernels.grouped_nms import kept

        if count_G is None:
            count_G = torch.full((groups,), length, dtype=torch.int32, device=boxes_GN4.device)
        return kept(boxes_GN4.float().contiguous(), threshold, count_G.int().contiguous())
    # At least float32: torchvision lacks half precision on a CPU, and scores that fall by one would
    # be tied in it where there are thousands of boxes.
    boxes_GN4 = boxes_GN4.to(torch.promote_types(boxes_GN4.dtype, torch.float32))
    counts = [length] * groups if count_G is None else count_G.tolist()
    return _plain(boxes_GN4, threshold, counts, length if most is None else most)


def _plain(boxes_GN4: Tensor, threshold: float, counts: list[int], most: int) -> Tensor:
    from torchvision.ops import nms

    keep_GN = torch.zeros(boxes_GN4.shape[:2], dtype=torch.bool, device=boxes_GN4.device)
    # Boxes come best first; scores that fall by one keep them so when torchvision sorts them.
    falling_N = torch.arange(
        boxes_GN4.shape[1], 0, -1, dtype=boxes_GN4.dtype, device=boxes_GN4.device
    )
    for group, count in enumerate(counts):
        # What is kept of the best does not depend on the others, of which there may be many.
        compete = min(count, PER_KEPT * most)
        while compete:
            kept_K = nms(boxes_GN4[group, :compete], falling_N[:compete], threshold)
            if compete == count or len(kept_K) >= most:
                keep_GN[group].index_fill_(0, kept_K, True)
                break
            compete = min(count, 4 * compete)
    return keep_GN


def _suppress_counted(
    boxes_GN4: Tensor, threshold: float, count_G: Tensor | None, most: int | None
) -> Tensor:
    """The same as one operator, which knows no counts."""
    suppress = lowered_nms if unrolls() else suppress_op
    if count_G is None:
        return suppress(boxes_GN4, threshold, most)
    there_GN = torch.arange(boxes_GN4.shape[1], device=boxes_GN4.device) < count_G[:, None]
    # A product, which other programs are faster at than at a choice; what is no number then has no
    # part in it either.
    return suppress(boxes_GN4 * there_GN[..., None], threshold, most) & there_GN


def _suppress(boxes: Tensor, threshold: float, most: int | None = None) -> Tensor:
    # What fills groups up at their ends has no part in it, or it would be most of the work.
    solid_GN = (boxes[..., 2:] > boxes[..., :2]).all(-1)
    number_N = torch.arange(1, boxes.shape[1] + 1, device=boxes.device)
    count_G = torch.nn.functional.pad(number_N * solid_GN, (1, 0)).amax(1)
    return grouped_nms(boxes, threshold, count_G, most) | ~solid_GN


suppress_op = register("suppress", _suppress)
"""`grouped_nms` of all boxes as one node of an exported graph; boxes without area are kept."""


@torch.library.register_fake("mmmamba::suppress")
def _fake(boxes, threshold, most=None):
    return boxes.new_empty(boxes.shape[:2], dtype=torch.bool)
