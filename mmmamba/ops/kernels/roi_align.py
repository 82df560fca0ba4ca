"""The kernel of `pyramid_roi_align`: each program pools one bin of one region over all channels.

The average of bilinear samples is a weighted sum of cells, whose weights are a product of one along
each axis; so each cell is read, or its gradient added to, once for a bin and not for each sample.
Shape suffixes: R regions, C channels, X cells in a row.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch, on

MAPS = 4
"""Which the kernel has arguments for: `MAX_LEVELS` of `ops/roi_align.py`."""
CELLS = 4
"""Cells of a row that are read together."""
SIZES = [f"{name}{level}" for level in range(MAPS) for name in ("h", "w")]
"""Arguments that no kernel is specialised on."""


def forward(
    maps: Sequence[Tensor],
    rois_R5: Tensor,
    level_R: Tensor,
    size: tuple[int, int],
    scales: Sequence[float],
) -> Tensor:
    """Pooled regions `(R, C, *size)`, channels last, of maps that lie channels last."""
    shape = (len(rois_R5), maps[0].shape[1], *size)
    pooled = torch.empty(
        shape, dtype=maps[0].dtype, device=rois_R5.device, memory_format=torch.channels_last
    )
    _run(maps, rois_R5, level_R, pooled, scales, add=False)
    return pooled


def backward(
    grad: Tensor,
    shapes: Sequence[torch.Size],
    rois_R5: Tensor,
    level_R: Tensor,
    scales: Sequence[float],
) -> list[Tensor]:
    """Gradients of the maps in float32, channels last, by those of the pooled regions."""
    grads = []
    for batch, channels, height, width in shapes:
        zeros = torch.zeros(batch, height, width, channels, device=grad.device)
        grads.append(zeros.permute(0, 3, 1, 2))
    grad = grad.contiguous(memory_format=torch.channels_last)
    _run(grads, rois_R5, level_R, grad, scales, add=True)
    return grads


def _run(
    maps: Sequence[Tensor],
    rois_R5: Tensor,
    level_R: Tensor,
    pooled: Tensor,
    scales: Sequence[float],
    add: bool,
) -> None:
    regions, channels, height, width = pooled.shape
    if pooled.numel() == 0:
        return
    tensors, sizes, constants = {}, {}, {}
    for level in range(MAPS):
        # No region is of a level beyond the last: any map stands for it.
        present = min(level, len(maps) - 1)
        tensors[f"map{level}"] = maps[present]
        sizes[f"h{level}"], sizes[f"w{level}"] = maps[present].shape[2:]
        constants[f"S{level}"] = float(scales[present])
    block = triton.next_power_of_2(channels)
    with on(pooled.device):
        launch(
            pool_kernel,
            regions * height * width,
            tensors | dict(rois=rois_R5, level=level_R, pooled=pooled),
            sizes,
            **constants,
            C=channels,
            CB=block,
            XB=CELLS,
            PH=height,
            PW=width,
            ADD=add,
            num_warps=max(1, min(8, block // 256)),
            # The number of samples is rounded up: fused multiplications would change it where it
            # comes out even.
            enable_fp_fusion=False,
        )


@triton.jit
def _weights(cell, start, bin_size, samples, length):
    """What each cell adds to the sum of samples along one axis: a hat around each sample."""
    weight = cell * 0.0
    for i in range(samples):
        at = start + tl.div_rn((i + 0.5) * bin_size, samples.to(tl.float32))
        inside = (at >= -1.0) & (at <= length)
        at = tl.minimum(tl.maximum(at, 0.0), length - 1.0)
        weight += tl.where(inside, tl.maximum(1.0 - tl.abs(at - cell), 0.0), 0.0)
    return weight


@triton.jit
def _axis(roi, axis, index, SCALE: tl.constexpr, BINS: tl.constexpr, length):
    """Where the samples of a bin begin, its size, their number, and the cells that they touch."""
    begin = tl.load(roi + 1 + axis) * SCALE - 0.5
    extent = tl.load(roi + 3 + axis) * SCALE - 0.5 - begin
    bin_size = tl.div_rn(extent, BINS * 1.0)
    samples = tl.maximum(tl.ceil(bin_size).to(tl.int32), 0)
    start = begin + index * bin_size
    half = tl.div_rn(0.5 * bin_size, tl.maximum(samples, 1).to(tl.float32))
    first = tl.minimum(tl.maximum(tl.floor(start + half), 0.0), length - 1.0)
    # One more on each side than the samples' own cells: rounding may put one beyond them.
    last = tl.minimum(tl.maximum(tl.floor(start + bin_size - half), 0.0) + 2.0, length - 1.0)
    return start, bin_size, samples, tl.maximum(first.to(tl.int32) - 1, 0), last.to(tl.int32)


@triton.jit
def _pool(
    map,
    height,
    width,
    roi,
    p,
    q,
    value,
    SCALE: tl.constexpr,
    C: tl.constexpr,
    CB: tl.constexpr,
    XB: tl.constexpr,
    PH: tl.constexpr,
    PW: tl.constexpr,
    ADD: tl.constexpr,
):
    """The average of a bin's samples; with ADD, adds gradient `value` of it to the map's."""
    image = tl.load(roi).to(tl.int64)
    c = tl.arange(0, CB)
    y_start, y_bin, y_samples, y_first, y_last = _axis(roi, 1, p, SCALE, PH, height)
    x_start, x_bin, x_samples, x_first, x_last = _axis(roi, 0, q, SCALE, PW, width)
    count = tl.maximum(y_samples * x_samples, 1).to(tl.float32)
    map += image * height * width * C
    total = tl.zeros([CB], tl.float32)
    if y_samples * x_samples > 0:
        for row in range(y_last - y_first + 1):
            # The loop's own variable is a plain number in the interpreter.
            y = y_first + row
            y_weight = _weights(y.to(tl.float32), y_start, y_bin, y_samples, height)
            for x0 in range(x_first, x_last + 1, XB):
                x = x0 + tl.arange(0, XB)
                x_weight = _weights(x.to(tl.float32), x_start, x_bin, x_samples, width)
                weight = y_weight * x_weight
                at = map + (y * width + x)[:, None] * C + c[None, :]
                there = ((x <= x_last) & (weight > 0))[:, None] & (c < C)[None, :]
                if ADD:
                    share = tl.div_rn(weight, count)
                    tl.atomic_add(at, share[:, None] * value[None, :], mask=there, sem="relaxed")
                else:
                    cells = tl.load(at, mask=there, other=0.0).to(tl.float32)
                    total += tl.sum(weight[:, None] * cells, axis=0)
    return tl.div_rn(total, tl.zeros([CB], tl.float32) + count)


@triton.jit(do_not_specialize=SIZES)
def pool_kernel(
    map0,
    map1,
    map2,
    map3,
    rois,
    level,
    pooled,
    h0,
    w0,
    h1,
    w1,
    h2,
    w2,
    h3,
    w3,
    S0: tl.constexpr,
    S1: tl.constexpr,
    S2: tl.constexpr,
    S3: tl.constexpr,
    C: tl.constexpr,
    CB: tl.constexpr,
    XB: tl.constexpr,
    PH: tl.constexpr,
    PW: tl.constexpr,
    ADD: tl.constexpr,
):
    """Writes bins to `pooled`; with ADD, reads their gradients there and adds to those of maps."""
    bin = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, CB)
    value = tl.zeros([CB], tl.float32)
    if ADD:
        value = tl.load(pooled + bin * C + c, mask=c < C, other=0.0).to(tl.float32)
    region = bin // (PH * PW)
    p = bin // PW % PH
    q = bin % PW
    number = tl.load(level + region)
    roi = rois + region * 5
    mean = value
    # Each map has its own address, which a kernel cannot look up by number.
    if number == 0:
        mean = _pool(map0, h0, w0, roi, p, q, value, S0, C, CB, XB, PH, PW, ADD)
    if number == 1:
        mean = _pool(map1, h1, w1, roi, p, q, value, S1, C, CB, XB, PH, PW, ADD)
    if number == 2:
        mean = _pool(map2, h2, w2, roi, p, q, value, S2, C, CB, XB, PH, PW, ADD)
    if number == 3:
        mean = _pool(map3, h3, w3, roi, p, q, value, S3, C, CB, XB, PH, PW, ADD)
    if not ADD:
        tl.store(pooled + bin * C + c, mean.to(pooled.dtype.element_ty), mask=c < C)
