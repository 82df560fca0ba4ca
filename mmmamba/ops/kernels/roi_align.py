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

from ..launch import Launch, Plans

MAPS = 4
"""Which the kernel has arguments for: `MAX_LEVELS` of `ops/roi_align.py`."""
CELLS = 4
"""Cells of a row that are read together."""
SIZES = [f"{name}{level}" for level in range(MAPS) for name in "hws"] + ["rows", "columns"]
"""Arguments that no kernel is specialised on."""
_PLANS = Plans()


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
    if pooled.numel() == 0:
        return
    # No region is of a level beyond the last: any map stands for it.
    given = [maps[min(level, len(maps) - 1)] for level in range(MAPS)]
    shapes = tuple(one.shape for one in given)
    dtypes = (given[0].dtype, rois_R5.dtype, level_R.dtype, pooled.dtype)
    key = (shapes, pooled.shape, tuple(scales), add, dtypes, pooled.device)
    launch = _PLANS.get(key) or _PLANS.keep(key, _plan(shapes, pooled, scales, add))
    launch(*given, rois_R5, level_R, pooled)


def _plan(
    shapes: Sequence[torch.Size], pooled: Tensor, scales: Sequence[float], add: bool
) -> Launch:
    regions, channels, height, width = pooled.shape
    sizes: dict[str, int | float] = {}
    for level, shape in enumerate(shapes):
        sizes[f"h{level}"], sizes[f"w{level}"] = shape[2:]
        sizes[f"s{level}"] = float(scales[min(level, len(scales) - 1)])
    block = triton.next_power_of_2(channels)
    return Launch(
        pool_kernel,
        pooled.device,
        regions * height * width,
        sizes | dict(rows=height, columns=width),
        C=channels,
        CB=block,
        XB=CELLS,
        ADD=add,
        num_warps=max(1, min(8, block // 256)),
        # The number of samples is rounded up: fused multiplications would change it where it comes
        # out even.
        enable_fp_fusion=False,
    )


@triton.jit
def _sample(number, start, bin_size, samples):
    """Where a sample of a bin lies along one axis."""
    return start + tl.div_rn((number + 0.5) * bin_size, samples.to(tl.float32))


@triton.jit
def _weights(cell, start, bin_size, samples, length):
    """What each cell adds to the sum of samples along one axis: a hat around each sample."""
    weight = cell * 0.0
    for i in range(samples):
        at = _sample(i, start, bin_size, samples)
        inside = (at >= -1.0) & (at <= length)
        at = tl.minimum(tl.maximum(at, 0.0), length - 1.0)
        weight += tl.where(inside, tl.maximum(1.0 - tl.abs(at - cell), 0.0), 0.0)
    return weight


@triton.jit
def _axis(roi, axis, index, bins, scale, length):
    """Where a bin begins, its size, the number of its samples, the first and last cell of them."""
    begin = tl.load(roi + 1 + axis) * scale - 0.5
    extent = tl.load(roi + 3 + axis) * scale - 0.5 - begin
    bin_size = tl.div_rn(extent, bins.to(tl.float32))
    samples = tl.maximum(tl.ceil(bin_size).to(tl.int32), 0)
    start = begin + index * bin_size
    some = tl.maximum(samples, 1)
    first = tl.floor(_sample(0, start, bin_size, some))
    last = tl.floor(_sample(some - 1, start, bin_size, some)) + 1.0
    first = tl.minimum(tl.maximum(first, 0.0), length - 1.0).to(tl.int32)
    last = tl.minimum(tl.maximum(last, 0.0), length - 1.0).to(tl.int32)
    return start, bin_size, samples, first, last


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
    s0,
    h1,
    w1,
    s1,
    h2,
    w2,
    s2,
    h3,
    w3,
    s3,
    rows,
    columns,
    C: tl.constexpr,
    CB: tl.constexpr,
    XB: tl.constexpr,
    ADD: tl.constexpr,
):
    """Writes bins to `pooled`; with ADD, reads their gradients there and adds to those of maps."""
    bin = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, CB)
    region = bin // (rows * columns)
    number = tl.load(level + region)
    # Each map has its own address, which a kernel cannot look up by number.
    map = map0
    height = h0
    width = w0
    scale = s0
    if number == 1:
        map = map1
        height = h1
        width = w1
        scale = s1
    if number == 2:
        map = map2
        height = h2
        width = w2
        scale = s2
    if number == 3:
        map = map3
        height = h3
        width = w3
        scale = s3
    roi = rois + region * 5
    p = bin // columns % rows
    q = bin % columns
    y_start, y_bin, y_samples, y_first, y_last = _axis(roi, 1, p, rows, scale, height)
    x_start, x_bin, x_samples, x_first, x_last = _axis(roi, 0, q, columns, scale, width)
    count = tl.maximum(y_samples * x_samples, 1).to(tl.float32)
    map += tl.load(roi).to(tl.int64) * height * width * C
    value = tl.zeros([CB], tl.float32)
    if ADD:
        value = tl.load(pooled + bin * C + c, mask=c < C, other=0.0).to(tl.float32)
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
                    share = tl.div_rn(weight, weight * 0.0 + count)
                    tl.atomic_add(at, share[:, None] * value[None, :], mask=there, sem="relaxed")
                else:
                    cells = tl.load(at, mask=there, other=0.0).to(tl.float32)
                    total += tl.sum(weight[:, None] * cells, axis=0)
    if not ADD:
        mean = tl.div_rn(total, total * 0.0 + count)
        tl.store(pooled + bin * C + c, mean.to(pooled.dtype.element_ty), mask=c < C)
