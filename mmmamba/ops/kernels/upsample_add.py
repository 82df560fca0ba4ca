"""Kernels of `upsample_add`: each reads what it adds up from the cache but once.

Shape suffixes: R positions and D channels of a tile.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

POSITIONS, CHANNELS = 32, 64

SIZES = ["height", "width", "positions", "vectors"]
"""Arguments that no kernel is specialised on."""

_PLANS = Plans()


def forward(fine: Tensor, coarse: Tensor, bilinear: bool) -> Tensor:
    """`fine + resize(coarse)`, `(B, H, W, C)`."""
    fine, coarse = fine.contiguous(), coarse.contiguous()
    y = torch.empty_like(fine)
    _run(upsample_add_kernel, fine, coarse, y, sides=fine.shape, tiled=fine, bilinear=bilinear)
    return y


def backward(grad: Tensor, shape: torch.Size, dtype: torch.dtype, bilinear: bool) -> Tensor:
    """The gradient of the coarse map, of its shape and dtype."""
    grad = grad.contiguous()
    dcoarse = torch.empty(shape, dtype=dtype, device=grad.device)
    _run(gather_kernel, grad, dcoarse, sides=grad.shape, tiled=dcoarse, bilinear=bilinear)
    return dcoarse


def _run(kernel, *maps: Tensor, sides: torch.Size, tiled: Tensor, bilinear: bool) -> None:
    """Launches a kernel over the positions of one of the maps, `tiled`."""
    if not tiled.numel():
        return
    dtypes = tuple(x.dtype for x in maps)
    key = (id(kernel), sides, dtypes, tiled.device, bilinear)
    launch = _PLANS.get(key)
    if launch is None:
        _, height, width, channels = sides
        # So many channels lie side by side at least, which tells where whole vectors begin.
        vector = math.gcd(8, channels)
        positions = tiled.numel() // channels
        launch = _PLANS.keep(
            key,
            Launch(
                kernel,
                tiled.device,
                ceil_div(positions, POSITIONS) * ceil_div(channels, CHANNELS),
                dict(height=height, width=width, positions=positions, vectors=channels // vector),
                BILINEAR=bilinear,
                VECTOR=vector,
                RB=POSITIONS,
                DB=CHANNELS,
                num_warps=4,
            ),
        )
    launch(*maps)


@triton.jit
def _place(height, width, positions, C, RB: tl.constexpr, DB: tl.constexpr):
    """Image, row and column of each position of a map, which there are, and the channels."""
    blocks = tl.cdiv(C, DB)
    pid = tl.program_id(0)
    # In 64 bits, as offsets of large batches need them.
    position = (pid // blocks).to(tl.int64) * RB + tl.arange(0, RB)
    d = pid % blocks * DB + tl.arange(0, DB)
    on_RD = (position < positions)[:, None] & (d < C)[None, :]
    image, row, column = position // (height * width), position // width % height, position % width
    return image, row, column, on_RD, d, position


@triton.jit
def _source(row, fine_side, coarse_side):
    """Where on the coarse side the middle of a fine cell lies; beyond the outermost, on those."""
    scale = coarse_side.to(tl.float32) / fine_side.to(tl.float32)
    source = (row.to(tl.float32) + 0.5) * scale - 0.5
    return tl.minimum(tl.maximum(source, 0.0), (coarse_side - 1).to(tl.float32))


@triton.jit
def _read(x, image, row, column, height, width, C, d, on_RD):
    at_R = (image * height + row) * width + column
    return tl.load(x + at_R[:, None] * C + d[None, :], mask=on_RD, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=SIZES)
def upsample_add_kernel(
    fine,
    coarse,
    y,
    height,
    width,
    positions,
    vectors,
    BILINEAR: tl.constexpr,
    VECTOR: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    C = vectors * VECTOR
    image, row, column, on_RD, d, position = _place(height, width, positions, C, RB, DB)
    h, w = (height + 1) // 2, (width + 1) // 2
    at_RD = position[:, None] * C + d[None, :]
    y_RD = tl.load(fine + at_RD, mask=on_RD, other=0.0).to(tl.float32)
    if BILINEAR:
        down, across = _source(row, height, h), _source(column, width, w)
        top, left = tl.floor(down).to(tl.int64), tl.floor(across).to(tl.int64)
        bottom, right = tl.minimum(top + 1, h - 1), tl.minimum(left + 1, w - 1)
        down = (down - top.to(tl.float32))[:, None]
        across = (across - left.to(tl.float32))[:, None]
        above_RD = (1.0 - across) * _read(coarse, image, top, left, h, w, C, d, on_RD)
        above_RD += across * _read(coarse, image, top, right, h, w, C, d, on_RD)
        below_RD = (1.0 - across) * _read(coarse, image, bottom, left, h, w, C, d, on_RD)
        below_RD += across * _read(coarse, image, bottom, right, h, w, C, d, on_RD)
        y_RD += (1.0 - down) * above_RD + down * below_RD
    else:
        y_RD += _read(coarse, image, row // 2, column // 2, h, w, C, d, on_RD)
    tl.store(y + at_RD, y_RD.to(y.dtype.element_ty), mask=on_RD)


@triton.jit(do_not_specialize=SIZES)
def gather_kernel(
    grad,
    dcoarse,
    height,
    width,
    positions,
    vectors,
    BILINEAR: tl.constexpr,
    VECTOR: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    """The gradient of each coarse cell from the fine cells that read it, in one order."""
    C = vectors * VECTOR
    h, w = (height + 1) // 2, (width + 1) // 2
    image, row, column, on_RD, d, position = _place(h, w, positions, C, RB, DB)
    sum_RD = tl.zeros([RB, DB], tl.float32)
    # Halving reads cells 2 i - 1 … 2 i + 2; of an odd side, whose cells are a little closer to one
    # another, also the one before.
    FIRST: tl.constexpr = -2 if BILINEAR else 0
    END: tl.constexpr = 3 if BILINEAR else 2
    for i in tl.static_range(FIRST, END):
        r = 2 * row + i
        down = tl.where((r >= 0) & (r < height), 1.0, 0.0)
        if BILINEAR:
            far = tl.abs(_source(r, height, h) - row.to(tl.float32))
            down *= tl.maximum(1.0 - far, 0.0)
        for j in tl.static_range(FIRST, END):
            c = 2 * column + j
            weight = tl.where((c >= 0) & (c < width), down, 0.0)
            if BILINEAR:
                far = tl.abs(_source(c, width, w) - column.to(tl.float32))
                weight *= tl.maximum(1.0 - far, 0.0)
            read_RD = on_RD & (weight > 0.0)[:, None]
            sum_RD += weight[:, None] * _read(grad, image, r, c, height, width, C, d, read_RD)
    at_RD = position[:, None] * C + d[None, :]
    tl.store(dcoarse + at_RD, sum_RD.to(dcoarse.dtype.element_ty), mask=on_RD)
