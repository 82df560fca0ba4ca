"""Kernels of `match_boxes`: best overlaps of priors and of ground truths, then who gets what.

Overlaps are computed twice, which is cheaper than to write them down.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

BLOCK = 512
LEAST_UNION = tl.constexpr(1e-6)
_PLANS = Plans()


def match(
    gts_BG4: Tensor, there_BG: Tensor, priors_BP4: Tensor, valid_BP: Tensor, thresholds: tuple
) -> Tensor:
    """Assigned indices `(B, P)` of contiguous tensors; priors may be one set for all images.

    `thresholds` are `match_boxes.Thresholds`.
    """
    images, length = valid_BP.shape
    gt_BP = torch.empty(images, length, dtype=torch.long, device=valid_BP.device)
    if gt_BP.numel() == 0:
        return gt_BP
    # A float that is not negative has the order of its bits; at 0 nothing was found.
    best_BG = torch.zeros(there_BG.shape, dtype=torch.int32, device=valid_BP.device)
    top_BP = torch.empty(images, length, dtype=torch.float32, device=valid_BP.device)
    step = priors_BP4.stride(0)
    key = (there_BG.shape, valid_BP.shape, step, thresholds, valid_BP.device)
    overlap, assign = _PLANS.get(key) or _PLANS.keep(
        key, _plan(there_BG, valid_BP, step, thresholds)
    )
    # Triton takes booleans for single bits.
    there_BG, valid_BP = there_BG.view(torch.int8), valid_BP.view(torch.int8)
    overlap(gts_BG4, there_BG, priors_BP4, valid_BP, best_BG, top_BP, gt_BP)
    assign(gts_BG4, there_BG, priors_BP4, valid_BP, best_BG, top_BP, gt_BP)
    return gt_BP


def _plan(
    there_BG: Tensor, valid_BP: Tensor, step: int, thresholds: tuple
) -> tuple[Launch, Launch]:
    images, length = valid_BP.shape
    sizes = dict(number=there_BG.shape[1], length=length, step=step)
    programs = images * ceil_div(length, BLOCK)
    # Without fused multiplications overlaps are rounded as PyTorch rounds them.
    options = dict(PB=BLOCK, num_warps=4, enable_fp_fusion=False)
    start, end, foreground, nearest = thresholds
    return (
        Launch(overlap_kernel, valid_BP.device, programs, sizes, **options),
        Launch(
            assign_kernel,
            valid_BP.device,
            programs,
            sizes,
            FROM=start,
            TO=end,
            FOREGROUND=foreground,
            HAS_NEAREST=nearest is not None,
            NEAREST=0.0 if nearest is None else nearest,
            **options,
        ),
    )


@triton.jit
def _boxes(boxes, index, there):
    """Corners and areas of boxes; zeros where there are none."""
    x1 = tl.load(boxes + index * 4, mask=there, other=0.0)
    y1 = tl.load(boxes + index * 4 + 1, mask=there, other=0.0)
    x2 = tl.load(boxes + index * 4 + 2, mask=there, other=0.0)
    y2 = tl.load(boxes + index * 4 + 3, mask=there, other=0.0)
    return x1, y1, x2, y2, (x2 - x1) * (y2 - y1)


@triton.jit
def _share(gts, g, px1, py1, px2, py2, area):
    """Intersection over union of one ground truth and each prior."""
    gx1, gy1, gx2, gy2, own = _boxes(gts, g, g >= 0)
    width = tl.maximum(tl.minimum(gx2, px2) - tl.maximum(gx1, px1), 0.0)
    height = tl.maximum(tl.minimum(gy2, py2) - tl.maximum(gy1, py1), 0.0)
    common = width * height
    # Rounded to the nearest: a ground truth's best priors are those of its very best overlap.
    return tl.div_rn(common, tl.maximum(own + area - common, LEAST_UNION))


@triton.jit(do_not_specialize=["number", "length", "step"])
def overlap_kernel(
    gts, there, priors, valid, best, top, gt, number, length, step, PB: tl.constexpr
):
    """Each prior's best overlap and ground truth, from 0, and each ground truth's best overlap."""
    blocks = tl.cdiv(length, PB)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    p = tl.program_id(0) % blocks * PB + tl.arange(0, PB)
    inside = p < length
    counts = tl.load(valid + image * length + p, mask=inside, other=0) != 0
    px1, py1, px2, py2, area = _boxes(priors + image * step, p, inside)
    most = tl.full([PB], -1.0, tl.float32)
    which = tl.zeros([PB], tl.int64)
    for index in range(number):
        g = image * number + index
        share = _share(gts, g, px1, py1, px2, py2, area)
        share = tl.where(counts & (tl.load(there + g) != 0), share, -1.0)
        which = tl.where(share > most, index, which)
        most = tl.where(share > most, share, most)
        tl.atomic_max(best + g, tl.max(share.to(tl.int32, bitcast=True), axis=0))
    tl.store(top + image * length + p, most, mask=inside)
    tl.store(gt + image * length + p, which, mask=inside)


@triton.jit(do_not_specialize=["number", "length", "step"])
def assign_kernel(
    gts,
    there,
    priors,
    valid,
    best,
    top,
    gt,
    number,
    length,
    step,
    FROM: tl.constexpr,
    TO: tl.constexpr,
    FOREGROUND: tl.constexpr,
    HAS_NEAREST: tl.constexpr,
    NEAREST: tl.constexpr,
    PB: tl.constexpr,
):
    blocks = tl.cdiv(length, PB)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    p = tl.program_id(0) % blocks * PB + tl.arange(0, PB)
    inside = p < length
    counts = tl.load(valid + image * length + p, mask=inside, other=0) != 0
    most = tl.load(top + image * length + p, mask=inside, other=-1.0)
    which = tl.load(gt + image * length + p, mask=inside, other=0)
    found = tl.where((most >= FROM) & (most < TO), 0, -1).to(tl.int64)
    found = tl.where(most >= FOREGROUND, which + 1, found)
    px1, py1, px2, py2, area = _boxes(priors + image * step, p, inside)
    any_there = 0
    for index in range(number):
        g = image * number + index
        is_there = tl.load(there + g) != 0
        any_there |= is_there.to(tl.int32)
        if HAS_NEAREST:
            # Raised to the threshold, a best below it is nobody's overlap.
            wanted = tl.maximum(tl.load(best + g).to(tl.float32, bitcast=True), NEAREST)
            share = _share(gts, g, px1, py1, px2, py2, area)
            # Of several ground truths for one prior the last one gets it.
            found = tl.where(counts & is_there & (share == wanted), index + 1, found)
    # Without ground truths all is background.
    found = tl.where(counts & (any_there == 0), 0, found)
    tl.store(gt + image * length + p, found, mask=inside)
