# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""Kernels of `depthwise_conv` for wide kernels, whose weights and rows no registers hold.

A step makes S rows of a strip at once, column after column of the kernel: each tile of the map is
loaded once for a column, and added to all of these rows that it belongs to. Columns are counted
while the program runs, which keeps it short to compile. Shape suffixes as in `depthwise_conv`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Plans
from .add_parts import add_parts
from .depthwise_conv import SIZES, _empty_map, _place, _plan
from .depthwise_grid import grid_of
from .depthwise_weights import Gradients, by_taps, parted, without_positions

_PLANS = Plans()


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, act: str | None, residual: bool = False
) -> Tensor:
    """`x` `(B, C, H, W)` with its channels side by side in memory."""
    y = _empty_map(x)
    if x.numel():
        _convolve(x, weight, bias, None, y, act == "silu", False, residual)
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

    One kernel passes the gradient through SiLU, for which it computes the convolution again; a
    second convolves what came through with the kernel turned round, and a third sums up the
    parameters' gradients.
    """
    if grad.stride(1) != 1:
        grad = grad.contiguous(memory_format=torch.channels_last)
    if not x.numel():
        return without_positions(x, weight, bias)
    inner = grad
    if act == "silu":
        inner = _empty_map(x)
        _convolve(x, weight, bias, grad, inner, True, False, residual)
    dx = dweight = dbias = None
    if wants_dx:
        dx = _empty_map(x)
        _convolve(inner, weight, None, None, dx, False, True, residual)
    if wants_parameters:
        dweight, dbias = parted(_parameters(x, weight, inner), weight, bias)
    return Gradients(dx, dweight, dbias)


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    grad: Tensor | None,
    y: Tensor,
    silu: bool,
    flip: bool,
    residual: bool,
) -> None:
    """Writes the convolution of x into y, or with `grad` what of that comes back through SiLU."""
    kinds = tuple(None if t is None else t.dtype for t in (x, weight, bias, grad, y))
    g = x if grad is None else grad
    key = (x.shape, x.stride(), g.stride(), weight.shape, x.device, silu, flip, residual, kinds)
    launch = _PLANS.get(key)
    if launch is None:
        constants = dict(SILU=silu, HAS_BIAS=bias is not None, BACK=grad is not None)
        constants |= dict(FLIP=flip, RESIDUAL=residual)
        launch = _PLANS.keep(key, _plan(wide_kernel, x, weight, dict(x=x, g=g), **constants))
    launch(x, by_taps(weight), bias, grad, y)


def _parameters(x: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
    """Gradients of the taps and, behind them, of the bias, `(C, S S + 1)` float32."""
    key = (x.shape, x.stride(), grad.stride(), weight.shape, x.device, x.dtype, grad.dtype)
    launch = _PLANS.get(key)
    if launch is None:
        launch = _PLANS.keep(key, _plan(wide_sums_kernel, x, weight, dict(x=x, g=grad)))
    # Each program's share, added up in one order afterwards.
    numbers = weight.shape[2] * weight.shape[3] + 1
    shape = (grid_of(x, weight).tiles, x.shape[1], numbers)
    parts = torch.empty(shape, device=x.device, dtype=torch.float32)
    launch(x, grad, parts)
    return add_parts(parts, torch.float32)


@triton.jit
def _load(map, h, map_h, map_w, height, width, w, d, C, VECTOR: tl.constexpr):
    """A tile of row h in float32; zeros beyond the map."""
    # In 64 bits: a large batch has more elements than 2**31.
    row = map + h.to(tl.int64) * map_h * VECTOR
    on_W = (w >= 0) & (w < width) & (h >= 0) & (h < height)
    there = on_W[:, None] & (d < C)[None, :]
    found = tl.load(row + (w * map_w)[:, None] * VECTOR + d[None, :], mask=there, other=0.0)
    return found.to(tl.float32)


@triton.jit(do_not_specialize=SIZES)
def wide_kernel(
    x,
    weight,
    bias,
    grad,
    y,
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
    BACK: tl.constexpr,
    FLIP: tl.constexpr,
    RESIDUAL: tl.constexpr,
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    WB: tl.constexpr,
    DB: tl.constexpr,
):
    """The convolution of a strip, its SiLU, or with BACK `grad` times SiLU's slope there."""
    C = vectors * VECTOR
    b, first, end, w, d, _tile = _place(width, strips, rows, height, C, WB, DB)
    bias_D = tl.zeros([DB], tl.float32)
    if HAS_BIAS:
        bias_D = tl.load(bias + d, mask=d < C, other=0.0).to(tl.float32)
    x += b.to(tl.int64) * x_b * VECTOR
    y += b.to(tl.int64) * height * width * C
    if BACK:
        grad += b.to(tl.int64) * g_b * VECTOR
    on_WD = (w < width)[:, None] & (d < C)[None, :]
    for step in range(0, end - first, S):
        top = first + step
        sums = ()
        for _ in tl.static_range(S):
            sums = sums + (tl.zeros([WB, DB], tl.float32) + bias_D[None, :],)
        for s in range(0, S):
            taps = ()
            for i in tl.static_range(S):
                tap = i * S + s
                if FLIP:
                    tap = S * S - 1 - tap
                tap_D = tl.load(weight + tap * C + d, mask=d < C, other=0.0).to(tl.float32)
                if RESIDUAL:
                    # One more in the middle, which adds the map.
                    tap_D += tl.where(tap == S * S // 2, 1.0, 0.0)
                taps = taps + (tap_D[None, :],)
            for r in tl.static_range(2 * S - 1):
                h, column = top + (r - S // 2), w + (s - S // 2)
                x_WD = _load(x, h, x_h, x_w, height, width, column, d, C, VECTOR)
                # Row i of the step meets this row of the map with row r - i of the kernel.
                more = ()
                for i in tl.static_range(S):
                    if r >= i and r - i < S:
                        more = more + (sums[i] + x_WD * taps[r - i],)
                    else:
                        more = more + (sums[i],)
                sums = more
        for i in tl.static_range(S):
            y_WD = sums[i]
            if BACK:
                g_WD = _load(grad, top + i, g_h, g_w, end, width, w, d, C, VECTOR)
                sigmoid = 1.0 / (1.0 + tl.exp(-y_WD))
                y_WD = g_WD * (sigmoid * (1.0 + y_WD * (1.0 - sigmoid)))
            elif SILU:
                y_WD = y_WD / (1.0 + tl.exp(-y_WD))
            row = y + (top + i).to(tl.int64) * width * C
            tl.store(
                row + w[:, None] * C + d[None, :],
                y_WD.to(y.dtype.element_ty),
                mask=on_WD & (top + i < end),
            )


@triton.jit(do_not_specialize=SIZES)
def wide_sums_kernel(
    x,
    grad,
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
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    WB: tl.constexpr,
    DB: tl.constexpr,
):
    """A strip's share of the gradients of the taps and of the bias, column by column of the taps.

    The first-level cache holds the strip from one column to the next.
    """
    C = vectors * VECTOR
    b, first, end, w, d, tile = _place(width, strips, rows, height, C, WB, DB)
    x += b.to(tl.int64) * x_b * VECTOR
    grad += b.to(tl.int64) * g_b * VECTOR
    NUMBERS: tl.constexpr = S * S + 1
    part_D = parts + (tile.to(tl.int64) * C + d) * NUMBERS
    for s in range(0, S):
        # Of each column of the tile, added up once, behind the last row.
        sums = ()
        for _ in tl.static_range(S):
            sums = sums + (tl.zeros([WB, DB], tl.float32),)
        bias_WD = tl.zeros([WB, DB], tl.float32)
        for step in range(0, end - first, S):
            top = first + step
            grads = ()
            for i in tl.static_range(S):
                # Rows behind the last of the strip count as zeros: they are another's.
                g_WD = _load(grad, top + i, g_h, g_w, end, width, w, d, C, VECTOR)
                grads = grads + (g_WD,)
                bias_WD += g_WD
            for r in tl.static_range(2 * S - 1):
                h, column = top + (r - S // 2), w + (s - S // 2)
                x_WD = _load(x, h, x_h, x_w, height, width, column, d, C, VECTOR)
                more = ()
                for i in tl.static_range(S):
                    if r >= i and r - i < S:
                        more = more + (sums[i] + x_WD * grads[r - i],)
                    else:
                        more = more + (sums[i],)
                sums = more
        for i in tl.static_range(S):
            tl.store(part_D + (i * S + s), tl.sum(sums[i], 0), mask=d < C)
        # The same for each column of the kernel.
        tl.store(part_D + S * S, tl.sum(bias_WD, 0), mask=d < C)
