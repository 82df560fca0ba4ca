"""Kernels of `depthwise_conv`: a program walks down a strip of columns and keeps the rows that its kernel covers.

Shape suffixes: W columns and D channels of a tile; S is the kernel's side. A row is read once for each column of the
kernel, all but the first time from the cache. A step loads S rows before it stores one, so that the loads overlap.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import launch, multiprocessors, on

TILE = 512
"""Columns times channels of a program."""
EACH = 4
"""Of them for each thread, which keeps weights, rows and sums of its channels in registers; one with larger kernels."""
REGISTERS = 168
"""At most for each thread of the backward kernel: three programs share a multiprocessor then instead of two."""
PROGRAMS = 24
"""For each multiprocessor, wanted before strips become longer."""
ROWS = 9, 33
"""Fewest and most of a strip."""


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    """`x` `(B, C, H, W)` with its channels side by side in memory."""
    weight, y = weight.contiguous(), _empty_map(x)
    if x.numel():
        _launch(
            conv_kernel, (x, weight, bias, y), [x], SILU=silu, HAS_BIAS=bias is not None, FLIP=False
        )
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    silu: bool,
    wants_dx: bool,
    wants_parameters: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of x, weight and bias, None for what is not wanted or not there."""
    grad = grad if grad.stride(1) == 1 else grad.contiguous(memory_format=torch.channels_last)
    weight = weight.contiguous()
    if not x.numel():
        return (
            torch.empty_like(x),
            torch.zeros_like(weight),
            None if bias is None else torch.zeros_like(bias),
        )
    parts = inner = dx = dweight = dbias = None
    if wants_parameters:
        taps = weight[0].numel()
        parts = torch.empty(
            _grid_of(x, weight).tiles,
            x.shape[1],
            taps + (bias is not None),
            device=x.device,
            dtype=torch.float32,
        )
    if wants_dx:
        inner = _empty_map(x) if silu else grad
    if silu or wants_parameters:
        _launch(
            conv_backward_kernel,
            (x, weight, bias, grad, inner, parts),
            [x, grad],
            SILU=silu,
            HAS_BIAS=bias is not None,
            INNER=silu and wants_dx,
            PARTS=wants_parameters,
            maxnreg=min(REGISTERS, 2**16 // (32 * _warps(weight.shape[-1]))),
        )
    if wants_parameters:
        sums = parts.sum(0)
        dweight = sums[:, :taps].reshape(weight.shape).to(weight.dtype)
        dbias = None if bias is None else sums[:, -1].to(bias.dtype)
    if wants_dx:
        dx = _empty_map(x)
        _launch(
            conv_kernel, (inner, weight, None, dx), [inner], SILU=False, HAS_BIAS=False, FLIP=True
        )
    return dx, dweight, dbias


def _empty_map(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _tile(channels: int) -> tuple[int, int]:
    """Columns and channels of a program."""
    block = 32 if channels % 64 else 64
    return TILE // block, block


def _warps(side: int) -> int:
    return TILE // (32 * (EACH if side <= 3 else 1))


class _Grid(NamedTuple):
    strips: int
    """That an image's column tile is cut into."""
    rows: int
    """Of a strip, whole steps of the kernels."""
    tiles: int
    """Programs for each block of channels."""


@lru_cache(1024)
def _grid(shape: torch.Size, side: int, processors: int) -> _Grid:
    batch, channels, height, width = shape
    columns, block = _tile(channels)
    across = batch * -(-width // columns)
    wanted = -(-PROGRAMS * processors // (across * -(-channels // block)))
    strips = max(1, min(max(wanted, -(-height // ROWS[1])), height // ROWS[0]))
    rows = -(-height // (strips * side)) * side
    strips = -(-height // rows)
    return _Grid(strips, rows, across * strips)


def _grid_of(x: Tensor, weight: Tensor) -> _Grid:
    return _grid(x.shape, weight.shape[-1], multiprocessors(x.device))


def _launch(kernel, tensors: tuple[Tensor | None, ...], strided: list[Tensor], **constants) -> None:
    """`tensors`: first a map, then the weight. `strided`: maps in strides of their own; all others are without gaps.

    Strides and channels are counted in vectors of VECTOR channels: the compiler sees where whole vectors begin.
    """
    x, weight = tensors[:2]
    _, channels, height, width = x.shape
    strides = [0 if x.shape[dim] == 1 else x.stride(dim) for x in strided for dim in (0, 2, 3)]
    vector = math.gcd(8, channels, *strides)
    side = weight.shape[-1]
    columns, block = _tile(channels)
    strips, rows, tiles = _grid_of(x, weight)
    with on(x.device):
        launch(
            kernel,
            tiles * -(-channels // block),
            tensors,
            (
                *(stride // vector for stride in strides),
                height,
                width,
                strips,
                rows,
                channels // vector,
            ),
            **constants,
            S=side,
            VECTOR=vector,
            WB=columns,
            DB=block,
            num_warps=_warps(side),
        )


@triton.jit
def _place(width, strips, rows, height, C, WB: tl.constexpr, DB: tl.constexpr):
    """This program's image, first row, end of its rows, columns, channels, and its number among those of the latter."""
    blocks = tl.cdiv(C, DB)
    tile = tl.program_id(0) // blocks
    d = (tl.program_id(0) % blocks) * DB + tl.arange(0, DB)
    across = tl.cdiv(width, WB)
    w = (tile % across) * WB + tl.arange(0, WB)
    first = (tile // across % strips) * rows
    return tile // (across * strips), first, tl.minimum(first + rows, height), w, d, tile


@triton.jit
def _add_row(rows, x, h, x_h, x_w, height, width, w, d, C, S: tl.constexpr, VECTOR: tl.constexpr):
    """`rows` with row h behind them, a tile for each column of the kernel; zeros beyond the map."""
    row = x + h.to(tl.int64) * x_h * VECTOR
    for s in tl.static_range(S):
        column = w + (s - S // 2)
        there = ((column >= 0) & (column < width) & (h >= 0) & (h < height))[:, None] & (d < C)[
            None, :
        ]
        x_WD = tl.load(row + (column * x_w)[:, None] * VECTOR + d[None, :], mask=there, other=0.0)
        rows = rows + (x_WD.to(tl.float32),)
    return rows


@triton.jit
def _taps(weight, d, C, S: tl.constexpr, FLIP: tl.constexpr):
    taps = ()
    for j in tl.static_range(S * S):
        tap_D = tl.load(
            weight + d * (S * S) + (S * S - 1 - j if FLIP else j), mask=d < C, other=0.0
        )
        taps = taps + (tap_D.to(tl.float32)[None, :],)
    return taps


@triton.jit
def _correlate(rows, first: tl.constexpr, taps, start_D):
    """The weighted sum of as many tiles of `rows` as there are taps."""
    y_WD = start_D[None, :] + rows[first] * taps[0]
    for j in tl.static_range(1, len(taps)):
        y_WD += rows[first + j] * taps[j]
    return y_WD


@triton.jit(do_not_specialize=["x_b", "x_h", "x_w", "height", "width", "strips", "rows", "vectors"])
def conv_kernel(
    x,
    weight,
    bias,
    y,
    x_b,
    x_h,
    x_w,
    height,
    width,
    strips,
    rows,
    vectors,
    SILU: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    FLIP: tl.constexpr,
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    WB: tl.constexpr,
    DB: tl.constexpr,
):
    C = vectors * VECTOR
    b, first, end, w, d, _ = _place(width, strips, rows, height, C, WB, DB)
    taps = _taps(weight, d, C, S, FLIP)
    bias_D = tl.zeros([DB], tl.float32)
    if HAS_BIAS:
        bias_D = tl.load(bias + d, mask=d < C, other=0.0).to(tl.float32)
    x += b.to(tl.int64) * x_b * VECTOR
    y += b.to(tl.int64) * height * width * C
    on_WD = (w < width)[:, None] & (d < C)[None, :]
    above = ()
    for s in tl.static_range(S - 1):
        above = _add_row(
            above, x, first + (s - S // 2), x_h, x_w, height, width, w, d, C, S, VECTOR
        )
    for step in range(0, end - first, S):
        h, seen = first + step, above
        for s in tl.static_range(S):
            seen = _add_row(seen, x, h + (s + S // 2), x_h, x_w, height, width, w, d, C, S, VECTOR)
        for s in tl.static_range(S):
            y_WD = _correlate(seen, s * S, taps, bias_D)
            if SILU:
                y_WD = y_WD / (1.0 + tl.exp(-y_WD))
            row = y + (h + s).to(tl.int64) * width * C
            tl.store(
                row + w[:, None] * C + d[None, :],
                y_WD.to(y.dtype.element_ty),
                mask=on_WD & (h + s < end),
            )
        above = seen[S * S :]


@triton.jit(
    do_not_specialize=[
        "x_b",
        "x_h",
        "x_w",
        "g_b",
        "g_h",
        "g_w",
        "height",
        "width",
        "strips",
        "rows",
        "vectors",
    ]
)
def conv_backward_kernel(
    x,
    weight,
    bias,
    grad,
    inner,
    parts,
    x_b,
    x_h,
    x_w,
    g_b,
    g_h,
    g_w,
    height,
    width,
    strips,
    rows,
    vectors,
    SILU: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    INNER: tl.constexpr,
    PARTS: tl.constexpr,
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    WB: tl.constexpr,
    DB: tl.constexpr,
):
    """INNER: the gradient of the convolution's output. PARTS: this program's share of those of weight and bias."""
    C = vectors * VECTOR
    b, first, end, w, d, tile = _place(width, strips, rows, height, C, WB, DB)
    taps = _taps(weight, d, C, S, False)
    bias_D = tl.zeros([DB], tl.float32)
    if HAS_BIAS:
        bias_D = tl.load(bias + d, mask=d < C, other=0.0).to(tl.float32)
    x += b.to(tl.int64) * x_b * VECTOR
    grad += b.to(tl.int64) * g_b * VECTOR
    if INNER:
        inner += b.to(tl.int64) * height * width * C
    on_WD = (w < width)[:, None] & (d < C)[None, :]
    sums = ()
    for _ in tl.static_range(S * S + HAS_BIAS):
        sums = sums + (tl.zeros([WB, DB], tl.float32),)
    above = ()
    for s in tl.static_range(S - 1):
        above = _add_row(
            above, x, first + (s - S // 2), x_h, x_w, height, width, w, d, C, S, VECTOR
        )
    for step in range(0, end - first, S):
        h, seen, grads = first + step, above, ()
        for s in tl.static_range(S):
            seen = _add_row(seen, x, h + (s + S // 2), x_h, x_w, height, width, w, d, C, S, VECTOR)
            grads = _add_row(grads, grad, h + s, g_h, g_w, end, width, w, d, C, 1, VECTOR)
        for s in tl.static_range(S):
            g_WD = grads[s]
            if SILU:
                y_WD = _correlate(seen, s * S, taps, bias_D)
                sigmoid = 1.0 / (1.0 + tl.exp(-y_WD))
                g_WD *= sigmoid * (1.0 + y_WD * (1.0 - sigmoid))
            if INNER:
                row = inner + (h + s).to(tl.int64) * width * C
                tl.store(
                    row + w[:, None] * C + d[None, :],
                    g_WD.to(inner.dtype.element_ty),
                    mask=on_WD & (h + s < end),
                )
            if PARTS:
                more = ()
                for j in tl.static_range(S * S):
                    more = more + (sums[j] + g_WD * seen[s * S + j],)
                sums = more + (sums[S * S] + g_WD,) if HAS_BIAS else more
        above = seen[S * S :]
    if PARTS:
        NUMBERS: tl.constexpr = S * S + HAS_BIAS
        part_D = parts + (tile.to(tl.int64) * C + d) * NUMBERS
        for j in tl.static_range(NUMBERS):
            tl.store(part_D + j, tl.sum(sums[j], 0), mask=d < C)
