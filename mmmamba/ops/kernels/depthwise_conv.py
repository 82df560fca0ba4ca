# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""Kernels of `depthwise_conv`: a program walks down a strip of columns and keeps the rows it needs.

Those are the rows that the convolution's kernel covers. Shape suffixes: W columns and D channels of
a tile; S is the kernel's side. A row is read once for each column of the kernel, all but the first
time from the cache. A step loads S rows before it stores one, so that the loads overlap.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div
from .add_parts import add_parts
from .depthwise_grid import grid_of, tile_of, warps_of
from .depthwise_weights import Gradients, parted, without_positions
from .gelu import exact_form

REGISTERS = 168
"""At most for each thread of the backward kernel.

Three programs share a multiprocessor then instead of two.
"""
SIZES = ["x_b", "x_h", "x_w", "g_b", "g_h", "g_w", "height", "width", "strips", "rows", "vectors"]
"""Arguments that no kernel is specialised on."""

_PLANS = Plans()


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, act: str | None, residual: bool = False
) -> Tensor:
    """`x` `(B, C, H, W)` with its channels side by side in memory."""
    y = _empty_map(x)
    if x.numel():
        _convolve(x, weight.contiguous(), bias, y, ACT=act, FLIP=False, RESIDUAL=residual)
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    act: str | None,
    wants_dx: bool,
    wants_parameters: bool,
    residual: bool = False,
) -> Gradients:
    """Gradients of x, weight and bias.

    One kernel passes the gradient through the activation, for which it computes the convolution
    again, and sums up the parameters' gradients; the other convolves what came through with the
    kernel turned round.
    """
    # The kernels read channels side by side; a gradient may come channels-first, or expanded from a
    # single number, whose strides are 0.
    if grad.stride(1) != 1:
        grad = grad.contiguous(memory_format=torch.channels_last)
    weight = weight.contiguous()
    if not x.numel():
        return without_positions(x, weight, bias)
    # The gradient of the convolution's output; without activation it is the one that comes in.
    inner = None
    if wants_dx:
        inner = _empty_map(x) if act else grad
    parts = None
    if wants_parameters:
        # Each program's share of the parameters' gradients, added up in one order afterwards.
        numbers = weight.shape[2] * weight.shape[3] + (bias is not None)
        shape = (grid_of(x, weight).tiles, x.shape[1], numbers)
        parts = torch.empty(shape, device=x.device, dtype=torch.float32)
    if act or wants_parameters:
        _pass_back(x, weight, bias, grad, inner if act else None, parts, act, residual)
    dx = dweight = dbias = None
    if parts is not None:
        dweight, dbias = parted(add_parts(parts, torch.float32), weight, bias)
    if inner is not None:
        dx = _empty_map(x)
        _convolve(inner, weight, None, dx, ACT=None, FLIP=True, RESIDUAL=residual)
    return Gradients(dx, dweight, dbias)


def _empty_map(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, y: Tensor, **options: Any) -> None:
    """Writes the convolution of x into y, by the kernel's ACT, FLIP and RESIDUAL."""
    kinds = (x.dtype, weight.dtype, None if bias is None else bias.dtype, y.dtype)
    key = (x.shape, x.stride(), weight.shape, x.device, *options.values(), kinds)
    launch = _PLANS.get(key)
    if launch is None:
        constants = dict(HAS_BIAS=bias is not None, **options)
        launch = _PLANS.keep(key, _plan(conv_kernel, x, weight, dict(x=x), **constants))
    launch(x, weight, bias, y)


def _pass_back(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    grad: Tensor,
    inner: Tensor | None,
    parts: Tensor | None,
    act: str | None,
    residual: bool,
) -> None:
    """Writes what of `grad` comes through into `inner`, and shares of sums into `parts`."""
    kinds = (x.dtype, weight.dtype, None if bias is None else bias.dtype, grad.dtype)
    strides = (x.stride(), grad.stride())
    wants = (act, residual, inner is None, parts is None)
    key = (x.shape, *strides, weight.shape, x.device, *wants, kinds)
    launch = _PLANS.get(key)
    if launch is None:
        launch = _PLANS.keep(
            key,
            _plan(
                conv_backward_kernel,
                x,
                weight,
                dict(x=x, g=grad),
                ACT=act,
                HAS_BIAS=bias is not None,
                RESIDUAL=residual,
                INNER=inner is not None,
                PARTS=parts is not None,
                # A multiprocessor has 2**16 registers; with more threads there are fewer for each.
                maxnreg=min(REGISTERS, 2**16 // (32 * warps_of(weight.shape[-1]))),
            ),
        )
    launch(x, weight, bias, grad, inner, parts)


def _plan(
    kernel, x: Tensor, weight: Tensor, strided: dict[str, Tensor], **constants: Any
) -> Launch:
    """How a kernel is launched over x.

    Args:
        strided: maps in strides of their own, which the kernel calls `x_b`, `x_h` and `x_w` with
            these names; all others are without gaps.

    Strides and channels are counted in vectors of VECTOR channels, as many as divide them all: so
    the compiler sees where whole vectors begin, though it knows none of these numbers.
    """
    _, channels, height, width = x.shape
    strides = {}
    for name, of in strided.items():
        for axis, dim in (("b", 0), ("h", 2), ("w", 3)):
            # The stride of an axis of length 1 means nothing and may be any number: as 0 it does
            # not spoil the common divisor.
            strides[f"{name}_{axis}"] = 0 if of.shape[dim] == 1 else of.stride(dim)
    # No load is wider than 16 bytes, which hold 8 channels of half precision.
    vector = math.gcd(8, channels, *strides.values())
    side = weight.shape[-1]
    tile, grid = tile_of(channels), grid_of(x, weight)
    sizes = {name: stride // vector for name, stride in strides.items()}
    sizes |= dict(height=height, width=width, strips=grid.strips, rows=grid.rows)
    return Launch(
        kernel,
        x.device,
        grid.tiles * ceil_div(channels, tile.channels),
        sizes | dict(vectors=channels // vector),
        **constants,
        S=side,
        VECTOR=vector,
        WB=tile.columns,
        DB=tile.channels,
        num_warps=warps_of(side),
    )


@triton.jit
def _place(width, strips, rows, height, C, WB: tl.constexpr, DB: tl.constexpr):
    """Where this program stands: image, first row, end of its rows, columns, channels, tile.

    The tile is its number among the programs of the same channels. Neighbouring programs take
    neighbouring channels, whose memory lies side by side.
    """
    blocks = tl.cdiv(C, DB)
    tile = tl.program_id(0) // blocks
    d = (tl.program_id(0) % blocks) * DB + tl.arange(0, DB)
    across = tl.cdiv(width, WB)
    w = (tile % across) * WB + tl.arange(0, WB)
    first = (tile // across % strips) * rows
    return tile // (across * strips), first, tl.minimum(first + rows, height), w, d, tile


@triton.jit
def _add_row(rows, x, h, x_h, x_w, height, width, w, d, C, S: tl.constexpr, VECTOR: tl.constexpr):
    """`rows` with row h behind them, a tile for each column of the kernel; zeros beyond the map.

    Each column is loaded anew rather than shifted: lanes hold channels, not columns, and the cache
    answers all but the first.
    """
    # In 64 bits, as are all offsets of rows and images: a large batch has more elements than 2**31.
    row = x + h.to(tl.int64) * x_h * VECTOR
    for s in tl.static_range(S):
        column = w + (s - S // 2)
        on_map_W = (column >= 0) & (column < width) & (h >= 0) & (h < height)
        there = on_map_W[:, None] & (d < C)[None, :]
        x_WD = tl.load(row + (column * x_w)[:, None] * VECTOR + d[None, :], mask=there, other=0.0)
        rows = rows + (x_WD.to(tl.float32),)
    return rows


@triton.jit
def _taps(weight, d, C, S: tl.constexpr, FLIP: tl.constexpr, RESIDUAL: tl.constexpr):
    """The kernel's weights, row by row, `[1, DB]` each in float32.

    RESIDUAL: one more in the middle, which adds the map.
    """
    taps = ()
    for j in tl.static_range(S * S):
        at_D = weight + d * (S * S) + (S * S - 1 - j if FLIP else j)
        tap_D = tl.load(at_D, mask=d < C, other=0.0)
        tap_1D = tap_D.to(tl.float32)[None, :]
        if RESIDUAL and j == S * S // 2:
            tap_1D += 1.0
        taps = taps + (tap_1D,)
    return taps


@triton.jit
def _correlate(rows, first: tl.constexpr, taps, start_D):
    """The weighted sum of as many tiles of `rows` as there are taps."""
    y_WD = start_D[None, :] + rows[first] * taps[0]
    for j in tl.static_range(1, len(taps)):
        y_WD += rows[first + j] * taps[j]
    return y_WD


@triton.jit
def _activated(y, ACT: tl.constexpr):
    """The activation of y and its slope."""
    if ACT == "gelu":
        found, slope = exact_form(y)
    else:
        sigmoid = 1.0 / (1.0 + tl.exp(-y))
        found, slope = y * sigmoid, sigmoid * (1.0 + y * (1.0 - sigmoid))
    return found, slope


@triton.jit(do_not_specialize=SIZES)
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
    ACT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    FLIP: tl.constexpr,
    RESIDUAL: tl.constexpr,
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    WB: tl.constexpr,
    DB: tl.constexpr,
):
    """The convolution of a strip, or its activation. FLIP: with the kernel turned round."""
    C = vectors * VECTOR
    b, first, end, w, d, _ = _place(width, strips, rows, height, C, WB, DB)
    taps = _taps(weight, d, C, S, FLIP, RESIDUAL)
    bias_D = tl.zeros([DB], tl.float32)
    if HAS_BIAS:
        bias_D = tl.load(bias + d, mask=d < C, other=0.0).to(tl.float32)
    x += b.to(tl.int64) * x_b * VECTOR
    y += b.to(tl.int64) * height * width * C
    on_WD = (w < width)[:, None] & (d < C)[None, :]
    # Rows are handed from step to step in registers, so that each is loaded once for a strip.
    above = ()
    for s in tl.static_range(S - 1):
        h = first + (s - S // 2)
        above = _add_row(above, x, h, x_h, x_w, height, width, w, d, C, S, VECTOR)
    for step in range(0, end - first, S):
        h, seen = first + step, above
        for s in tl.static_range(S):
            seen = _add_row(seen, x, h + (s + S // 2), x_h, x_w, height, width, w, d, C, S, VECTOR)
        for s in tl.static_range(S):
            # A row is S tiles of `seen`, one for each column of the kernel: row s begins at tile
            # s * S, and the taps, which lie row by row, meet the S rows from there on.
            y_WD = _correlate(seen, s * S, taps, bias_D)
            if ACT is not None:
                y_WD = _activated(y_WD, ACT)[0]
            row = y + (h + s).to(tl.int64) * width * C
            tl.store(
                row + w[:, None] * C + d[None, :],
                y_WD.to(y.dtype.element_ty),
                mask=on_WD & (h + s < end),
            )
        # The last S - 1 rows are the first that the next step sees.
        above = seen[S * S :]


@triton.jit(do_not_specialize=SIZES)
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
    ACT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    INNER: tl.constexpr,
    PARTS: tl.constexpr,
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    WB: tl.constexpr,
    DB: tl.constexpr,
):
    """What a gradient of the output becomes of it.

    INNER: the gradient of the convolution's output, through the activation. PARTS: this program's
    share of those of weight and bias.
    """
    C = vectors * VECTOR
    b, first, end, w, d, tile = _place(width, strips, rows, height, C, WB, DB)
    taps = _taps(weight, d, C, S, False, RESIDUAL)
    bias_D = tl.zeros([DB], tl.float32)
    if HAS_BIAS:
        bias_D = tl.load(bias + d, mask=d < C, other=0.0).to(tl.float32)
    x += b.to(tl.int64) * x_b * VECTOR
    grad += b.to(tl.int64) * g_b * VECTOR
    if INNER:
        inner += b.to(tl.int64) * height * width * C
    on_WD = (w < width)[:, None] & (d < C)[None, :]
    # Sums are kept for each column of the tile and added up once, behind the last row.
    sums = ()
    for _ in tl.static_range(S * S + HAS_BIAS):
        sums = sums + (tl.zeros([WB, DB], tl.float32),)
    # Rows are handed from step to step in registers, so that each is loaded once for a strip.
    above = ()
    for s in tl.static_range(S - 1):
        h = first + (s - S // 2)
        above = _add_row(above, x, h, x_h, x_w, height, width, w, d, C, S, VECTOR)
    for step in range(0, end - first, S):
        h, seen, grads = first + step, above, ()
        for s in tl.static_range(S):
            seen = _add_row(seen, x, h + (s + S // 2), x_h, x_w, height, width, w, d, C, S, VECTOR)
            # Rows behind the last one count as zeros: the last step may reach beyond the map,
            # where it must add nothing to the sums.
            grads = _add_row(grads, grad, h + s, g_h, g_w, end, width, w, d, C, 1, VECTOR)
        for s in tl.static_range(S):
            g_WD = grads[s]
            if ACT is not None:
                g_WD *= _activated(_correlate(seen, s * S, taps, bias_D), ACT)[1]
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
