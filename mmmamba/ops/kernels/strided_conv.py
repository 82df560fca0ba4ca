# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""Kernels of `depthwise_conv` with a stride of 2, for kernels of 3 to 7 columns.

Each output reads its own window, all but the first time from the cache: windows overlap by more
than half. Shape suffixes: R positions and D channels of a tile; S is the kernel's side. Positions
are the outputs', `(B, h, w)` with sides of half the map's, rounded up.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .add_parts import add_parts
from .depthwise_weights import Gradients, by_taps, parted

POSITIONS, CHANNELS = 32, 64
SUMMED = 16
"""Positions of a tile where a program keeps sums for every column of the kernel."""
PROGRAMS = 8
"""For each multiprocessor, that share the sums of the parameters' gradients."""

SIZES = ["x_b", "x_h", "x_w", "height", "width", "positions", "vectors", "parts_of_all"]
"""Arguments that no kernel is specialised on."""

_PLANS = Plans()


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """The convolution of `x` `(B, C, H, W)`, or its SiLU; then what went into SiLU, if to keep."""
    batch, channels, height, width = x.shape
    y = _empty_map((batch, channels, ceil_div(height, 2), ceil_div(width, 2)), x)
    before = torch.empty_like(y) if silu and keep else None
    if y.numel():
        tensors = (x, by_taps(weight), bias, y, before)
        _run(conv_kernel, tensors, x, y, weight, SILU=silu, HAS_BIAS=bias is not None)
    return y, before


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    before: Tensor | None,
    wants_dx: bool,
    wants_parameters: bool,
) -> Gradients:
    """Gradients of x, weight and bias; with `before`, what went into SiLU, through that first."""
    if before is not None:
        grad = torch.ops.aten.silu_backward(grad, before)
    # A gradient may come in any strides; here it is read without gaps.
    grad = grad.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    dx = dweight = dbias = None
    if wants_dx:
        dx = _empty_map(tuple(x.shape), x)
        if dx.numel():
            _run(input_kernel, (dx, by_taps(weight), grad), dx, grad, weight)
    if wants_parameters:
        sums = _parameter_sums(grad, x, weight, bias is not None)
        dweight, dbias = parted(sums.t(), weight, bias)
    return Gradients(dx, dweight, dbias)


def _parameter_sums(grad: Tensor, x: Tensor, weight: Tensor, has_bias: bool) -> Tensor:
    """The gradients of the taps, row by row, and behind them the bias's, `(S S + 1, C)`."""
    batch, channels, height, width = grad.shape
    side = weight.shape[2]
    tiles = ceil_div(batch * height * width, SUMMED)
    wanted = PROGRAMS * multiprocessors(x.device)
    count = min(tiles, ceil_div(wanted, side * ceil_div(channels, CHANNELS)))
    numbers = side * side + has_bias
    parts = torch.empty((count, numbers, channels), dtype=torch.float32, device=x.device)
    if not grad.numel():
        return parts.new_zeros(numbers, channels)
    _run(weight_kernel, (x, grad, parts), x, grad, weight, count, HAS_BIAS=has_bias)
    return add_parts(parts, torch.float32)


def _empty_map(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _run(
    kernel,
    tensors: tuple[Tensor | None, ...],
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    parts: int = 0,
    **constants: int,
) -> None:
    """Launches a kernel over the positions of y, which is without gaps; x may have strides.

    Args:
        parts: programs for each block of channels and row of the kernel; 0 for one a tile.
    """
    dtypes = tuple(None if t is None else t.dtype for t in tensors)
    numbers = (parts, *constants.values())
    key = (id(kernel), x.shape, x.stride(), weight.shape, x.device, dtypes, numbers)
    launch = _PLANS.get(key)
    if launch is None:
        plan = _plan(kernel, x, y, weight.shape[2], parts, constants)
        launch = _PLANS.keep(key, plan)
    launch(*tensors)


def _plan(kernel, x: Tensor, y: Tensor, side: int, parts: int, constants: dict) -> Launch:
    channels, height, width = x.shape[1:]
    strides = {}
    for axis, dim in (("b", 0), ("h", 2), ("w", 3)):
        # The stride of an axis of length 1 means nothing and may be any number.
        strides[f"x_{axis}"] = 0 if x.shape[dim] == 1 else x.stride(dim)
    # All are counted in vectors, so that the compiler sees where these begin. No load is wider than
    # 16 bytes, which hold 8 channels of half precision.
    vector = math.gcd(8, channels, *strides.values())
    sizes = {name: stride // vector for name, stride in strides.items()}
    positions = y.numel() // channels
    sizes |= dict(height=height, width=width, positions=positions, vectors=channels // vector)
    blocks = ceil_div(channels, CHANNELS)
    programs = blocks * (parts * side if parts else ceil_div(positions, POSITIONS))
    if parts:
        sizes["parts_of_all"] = parts
    return Launch(
        kernel,
        x.device,
        programs,
        sizes,
        **constants,
        S=side,
        VECTOR=vector,
        RB=SUMMED if parts else POSITIONS,
        DB=CHANNELS,
        num_warps=4,
    )


@triton.jit
def _place(position, height, width):
    """Image, row and column of positions on a map of half these sides, the image in 64 bits."""
    h, w = (height + 1) // 2, (width + 1) // 2
    return (position // (h * w)).to(tl.int64), position // w % h, position % w


@triton.jit(do_not_specialize=SIZES)
def conv_kernel(
    x,
    taps,
    bias,
    y,
    before,
    x_b,
    x_h,
    x_w,
    height,
    width,
    positions,
    vectors,
    SILU: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    C = vectors * VECTOR
    blocks = tl.cdiv(C, DB)
    position = tl.program_id(0) // blocks * RB + tl.arange(0, RB)
    d = tl.program_id(0) % blocks * DB + tl.arange(0, DB)
    on_RD = (position < positions)[:, None] & (d < C)[None, :]
    image, row, column = _place(position, height, width)
    sum_RD = tl.zeros([RB, DB], tl.float32)
    if HAS_BIAS:
        sum_RD += tl.load(bias + d, mask=d < C, other=0.0).to(tl.float32)[None, :]
    # Not unrolled: code for a row of the kernel is long enough.
    for i in range(S):
        h = 2 * row + i - S // 2
        row_R = image * x_b + h.to(tl.int64) * x_h
        on_row_RD = on_RD & ((h >= 0) & (h < height))[:, None]
        for j in tl.static_range(S):
            w = 2 * column + j - S // 2
            tap_D = tl.load(taps + (i * S + j) * C + d, mask=d < C, other=0.0).to(tl.float32)
            at_RD = x + (row_R + w * x_w)[:, None] * VECTOR + d[None, :]
            there_RD = on_row_RD & ((w >= 0) & (w < width))[:, None]
            sum_RD += tl.load(at_RD, mask=there_RD, other=0.0).to(tl.float32) * tap_D[None, :]
    out_RD = position.to(tl.int64)[:, None] * C + d[None, :]
    if SILU:
        if before is not None:
            tl.store(before + out_RD, sum_RD.to(before.dtype.element_ty), mask=on_RD)
        sum_RD = sum_RD / (1.0 + tl.exp(-sum_RD))
    tl.store(y + out_RD, sum_RD.to(y.dtype.element_ty), mask=on_RD)


@triton.jit(do_not_specialize=SIZES)
def input_kernel(
    dx,
    taps,
    grad,
    x_b,
    x_h,
    x_w,
    height,
    width,
    positions,
    vectors,
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    """The gradient of x, of each position's four cells: even and odd ones are met by other taps."""
    C = vectors * VECTOR
    blocks = tl.cdiv(C, DB)
    position = tl.program_id(0) // blocks * RB + tl.arange(0, RB)
    d = tl.program_id(0) % blocks * DB + tl.arange(0, DB)
    on_RD = (position < positions)[:, None] & (d < C)[None, :]
    image, row, column = _place(position, height, width)
    h, w = (height + 1) // 2, (width + 1) // 2
    for down in tl.static_range(2):
        for across in tl.static_range(2):
            sum_RD = tl.zeros([RB, DB], tl.float32)
            # Tap i of output row r meets the map's row 2 r + i - S // 2.
            for i in tl.static_range((down + S // 2) % 2, S, 2):
                r = row + (down + S // 2 - i) // 2
                on_row_RD = on_RD & ((r >= 0) & (r < h))[:, None]
                row_R = image * h * w + r * w
                for j in tl.static_range((across + S // 2) % 2, S, 2):
                    c = column + (across + S // 2 - j) // 2
                    at_D = taps + (i * S + j) * C + d
                    tap_D = tl.load(at_D, mask=d < C, other=0.0).to(tl.float32)
                    at_RD = grad + (row_R + c)[:, None] * C + d[None, :]
                    there_RD = on_row_RD & ((c >= 0) & (c < w))[:, None]
                    g_RD = tl.load(at_RD, mask=there_RD, other=0.0).to(tl.float32)
                    sum_RD += g_RD * tap_D[None, :]
            y, x = 2 * row + down, 2 * column + across
            there_RD = on_RD & ((y < height) & (x < width))[:, None]
            at_R = image * x_b + y.to(tl.int64) * x_h + x * x_w
            at_RD = dx + at_R[:, None] * VECTOR + d[None, :]
            tl.store(at_RD, sum_RD.to(dx.dtype.element_ty), mask=there_RD)


@triton.jit(do_not_specialize=SIZES)
def weight_kernel(
    x,
    grad,
    parts,
    x_b,
    x_h,
    x_w,
    height,
    width,
    positions,
    vectors,
    parts_of_all,
    HAS_BIAS: tl.constexpr,
    S: tl.constexpr,
    VECTOR: tl.constexpr,
    RB: tl.constexpr,
    DB: tl.constexpr,
):
    """A program's share of the gradients of one row of taps, and of the bias beside the first."""
    C = vectors * VECTOR
    NUMBERS: tl.constexpr = S * S + HAS_BIAS
    # Neighbouring programs take neighbouring rows of the kernel, which read the same cells.
    i = tl.program_id(0) % S
    block, part = tl.program_id(0) // S % tl.cdiv(C, DB), tl.program_id(0) // (S * tl.cdiv(C, DB))
    d = block * DB + tl.arange(0, DB)
    sums = ()
    for _ in tl.static_range(S + 1):
        sums = sums + (tl.zeros([RB, DB], tl.float32),)
    for tile in range(part, tl.cdiv(positions, RB), parts_of_all):
        position = tile * RB + tl.arange(0, RB)
        on_RD = (position < positions)[:, None] & (d < C)[None, :]
        image, row, column = _place(position, height, width)
        at_RD = grad + position.to(tl.int64)[:, None] * C + d[None, :]
        g_RD = tl.load(at_RD, mask=on_RD, other=0.0).to(tl.float32)
        h = 2 * row + i - S // 2
        row_R = image * x_b + h.to(tl.int64) * x_h
        on_row_RD = on_RD & ((h >= 0) & (h < height))[:, None]
        more = ()
        for j in tl.static_range(S):
            w = 2 * column + j - S // 2
            at_RD = x + (row_R + w * x_w)[:, None] * VECTOR + d[None, :]
            there_RD = on_row_RD & ((w >= 0) & (w < width))[:, None]
            x_RD = tl.load(at_RD, mask=there_RD, other=0.0).to(tl.float32)
            more = more + (sums[j] + g_RD * x_RD,)
        sums = more + (sums[S] + g_RD,)
    at_D = parts + part.to(tl.int64) * NUMBERS * C + d
    for j in tl.static_range(S):
        tl.store(at_D + (i * S + j) * C, tl.sum(sums[j], 0), mask=d < C)
    if HAS_BIAS:
        tl.store(at_D + S * S * C, tl.sum(sums[S], 0), mask=(d < C) & (i == 0))
