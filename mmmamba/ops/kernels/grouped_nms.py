"""Kernels of `grouped_nms`: overlaps of all pairs as bits, then a walk over each group's boxes.

Bit c of word w in a box's row says that the box overlaps box 32 w + c, which stands behind it, by
too much.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch

BITS = tl.constexpr(32)
ROWS, WORDS = 32, 4


def kept(boxes_GN4: Tensor, threshold: float, count_G: Tensor) -> Tensor:
    """Which boxes are kept, `(G, N)`, of contiguous ones `(G, N, 4)` in float32, best first.

    `count_G` in int32: how many of a group there are.
    """
    groups, length = boxes_GN4.shape[:2]
    keep_GN = torch.empty(groups, length, dtype=torch.int8, device=boxes_GN4.device)
    if keep_GN.numel() == 0:
        return keep_GN.bool()
    words = triton.cdiv(length, BITS.value)
    # Words left of the diagonal are neither written nor read.
    bits_GNW = torch.empty(groups, length, words, dtype=torch.int32, device=boxes_GN4.device)
    block = triton.next_power_of_2(words)
    sizes = dict(length=length, words=words)
    # Without fused multiplications overlaps are rounded as torchvision rounds them on a CPU.
    overlap = Launch(
        overlap_kernel,
        boxes_GN4.device,
        groups * triton.cdiv(length, ROWS) * triton.cdiv(words, WORDS),
        sizes,
        THRESHOLD=threshold,
        RB=ROWS,
        WB=WORDS,
        num_warps=4,
        enable_fp_fusion=False,
    )
    # With one warp, sums over the words need no exchange between warps.
    warps = 1 if block <= 128 else 8
    walk = Launch(walk_kernel, boxes_GN4.device, groups, sizes, WB=block, num_warps=warps)
    overlap(boxes_GN4, count_G, bits_GNW)
    walk(bits_GNW, count_G, keep_GN)
    # Bytes of 0 and 1 are PyTorch's booleans already.
    return keep_GN.view(torch.bool)


@triton.jit(do_not_specialize=["length", "words"])
def overlap_kernel(
    boxes,
    count,
    bits,
    length,
    words,
    THRESHOLD: tl.constexpr,
    RB: tl.constexpr,
    WB: tl.constexpr,
):
    across = tl.cdiv(words, WB)
    down = tl.cdiv(length, RB)
    pid = tl.program_id(0)
    group = (pid // (across * down)).to(tl.int64)
    first_row = pid // across % down * RB
    first_word = pid % across * WB
    there = tl.load(count + group)
    # Only boxes behind this tile's rows could be suppressed by them, and only those that are there.
    if (
        ((first_word + WB) * BITS <= first_row)
        | (first_row >= there)
        | (first_word * BITS >= there)
    ):
        return
    row = first_row + tl.arange(0, RB)
    word = first_word + tl.arange(0, WB)
    bit = tl.arange(0, BITS)
    column = word[:, None] * BITS + bit[None, :]
    boxes += group * length * 4
    ax1, ay1, ax2, ay2, a = _boxes(boxes, row, length)
    bx1, by1, bx2, by2, b = _boxes(boxes, column, length)
    width = tl.minimum(ax2[:, None, None], bx2[None]) - tl.maximum(ax1[:, None, None], bx1[None])
    height = tl.minimum(ay2[:, None, None], by2[None]) - tl.maximum(ay1[:, None, None], by1[None])
    inter = tl.maximum(width, 0.0) * tl.maximum(height, 0.0)
    union = a[:, None, None] + b[None] - inter
    # Two boxes without area do not overlap.
    # Rounded to the nearest, unlike Triton's quick division: a pair whose overlap is the
    # threshold itself has to fall as torchvision's does.
    over = tl.div_rn(inter, tl.where(union > 0, union, 1.0)) > THRESHOLD
    over &= column[None] > row[:, None, None]
    # Each bit is set by one box alone, so that their sum is their union.
    packed = tl.sum(over.to(tl.int32) << bit[None, None, :], axis=2)
    at = (group * length + row)[:, None] * words + word[None, :]
    tl.store(bits + at, packed, mask=(row < length)[:, None] & (word < words)[None, :])


@triton.jit
def _boxes(boxes, index, length):
    """Corners and areas; zeros behind the last box."""
    there = index < length
    x1 = tl.load(boxes + index * 4, mask=there, other=0.0)
    y1 = tl.load(boxes + index * 4 + 1, mask=there, other=0.0)
    x2 = tl.load(boxes + index * 4 + 2, mask=there, other=0.0)
    y2 = tl.load(boxes + index * 4 + 3, mask=there, other=0.0)
    return x1, y1, x2, y2, (x2 - x1) * (y2 - y1)


@triton.jit(do_not_specialize=["length", "words"])
def walk_kernel(bits, count, keep, length, words, WB: tl.constexpr):
    """Walks the boxes of a group from the best on: each that stays removes what it overlaps."""
    group = tl.program_id(0).to(tl.int64)
    number = tl.load(count + group)
    last = tl.cdiv(number, BITS)
    bits += group * length * words
    keep += group * length
    word = tl.arange(0, WB)
    bit = tl.arange(0, BITS)
    removed = tl.zeros([WB], tl.int32)
    for w in range(last):
        # What earlier words removed of this one; its own boxes come on top, one after the other.
        # No load depends on what is removed, so that all of a word's are under way at once.
        gone = tl.sum(tl.where(word == w, removed, 0), axis=0)
        for k in tl.static_range(BITS):
            row = w * BITS + k
            there = row < number
            own = tl.load(bits + row * words + w, mask=there, other=0)
            behind = there & (word > w) & (word < last)
            later = tl.load(bits + row * words + word, mask=behind, other=0)
            stays = (gone >> k) & 1 == 0
            gone |= tl.where(stays, own, 0)
            removed |= tl.where(stays, later, 0)
        row = w * BITS + bit
        stays = (((gone >> bit) & 1) ^ 1) & (row < number).to(tl.int32)
        tl.store(keep + row, stays.to(tl.int8), mask=row < length)
    for w in range(last, words):
        row = w * BITS + bit
        tl.store(keep + row, tl.zeros([BITS], tl.int8), mask=row < length)
