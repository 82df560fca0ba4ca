# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""Kernels of `two_way_conv_silu`: tiles of steps by channels, neighbours from the cache.

Shape suffixes: T steps and D channels of a tile; W taps.
"""

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors
from .add_parts import add_parts

TILE = 512
"""Steps times channels of a program, which keeps all that it reads of them in registers."""
PROGRAMS = 8
"""For each multiprocessor, in the backward pass."""
_FORWARD, _BACKWARD = Plans(), Plans()


class _Tile(NamedTuple):
    steps: int
    channels: int


def _tile_of(channels: int) -> _Tile:
    """As many channels as leave few lanes idle, and steps for the rest."""
    block = 32 if channels % 64 else 64
    return _Tile(TILE // block, block)


class _Sizes(NamedTuple):
    vector: int
    """As many channels as divide all of the others, at most the 8 that a load of 16 bytes holds."""
    numbers: dict[str, int]
    """Strides and channels counted in such vectors, and the length.

    So the compiler sees where whole vectors begin, though it knows none of these numbers.
    """


def _sizes(x_BLD: Tensor) -> _Sizes:
    batch, length, channels = x_BLD.shape
    # The stride of an axis of length 1 means nothing and may be any number.
    x_b, x_l = (0 if n == 1 else x_BLD.stride(i) for i, n in enumerate((batch, length)))
    vector = math.gcd(8, channels, x_b, x_l)
    return _Sizes(
        vector,
        dict(x_b=x_b // vector, x_l=x_l // vector, length=length, vectors=channels // vector),
    )


class Gradients(NamedTuple):
    """Those of x and of both convolutions' parameters; None for a bias that is not there."""

    x_BLD: Tensor
    back: Tensor
    ahead: Tensor
    back_bias: Tensor | None
    ahead_bias: Tensor | None


def forward(
    x_BLD: Tensor, back: Tensor, ahead: Tensor, back_bias: Tensor | None, ahead_bias: Tensor | None
) -> Tensor:
    """Both convolutions of `x_BLD`, channels side by side in memory, `(B, L, 2, D)`."""
    batch, length, channels = x_BLD.shape
    y_BLKD = torch.empty(batch, length, 2, channels, dtype=x_BLD.dtype, device=x_BLD.device)
    if not y_BLKD.numel():
        return y_BLKD
    back, ahead = back.contiguous(), ahead.contiguous()
    tensors = (x_BLD, back, ahead, back_bias, ahead_bias, y_BLKD)
    key = _key(*tensors)
    launch = _FORWARD.get(key) or _FORWARD.keep(key, _plan(x_BLD, back, back_bias is not None))
    launch(*tensors)
    return y_BLKD


def _key(x_BLD: Tensor, back: Tensor, *others: Tensor | None) -> tuple:
    """What a plan depends on."""
    dtypes = [None if x is None else x.dtype for x in others]
    sizes = (x_BLD.shape, x_BLD.stride(), x_BLD.device, back.shape)
    return (*sizes, x_BLD.dtype, back.dtype, *dtypes)


def _plan(x_BLD: Tensor, back: Tensor, has_bias: bool) -> Launch:
    batch, length, channels = x_BLD.shape
    tile, sizes = _tile_of(channels), _sizes(x_BLD)
    return Launch(
        two_way_conv_kernel,
        x_BLD.device,
        batch * ceil_div(length, tile.steps) * ceil_div(channels, tile.channels),
        sizes.numbers,
        W=back.shape[-1],
        HAS_BIAS=has_bias,
        VECTOR=sizes.vector,
        TB=tile.steps,
        DB=tile.channels,
        num_warps=4,
    )


def backward(
    grad_BLKD: Tensor,
    x_BLD: Tensor,
    back: Tensor,
    ahead: Tensor,
    back_bias: Tensor | None,
    ahead_bias: Tensor | None,
) -> Gradients:
    """Gradients of all inputs of `forward`, which one kernel computes again as far as it needs."""
    grad_BLKD, back, ahead = grad_BLKD.contiguous(), back.contiguous(), ahead.contiguous()
    dx_BLD = torch.empty(x_BLD.shape, dtype=x_BLD.dtype, device=x_BLD.device)
    tensors = (x_BLD, back, ahead, back_bias, ahead_bias, grad_BLKD, dx_BLD)
    key = _key(*tensors)
    plan = _BACKWARD.get(key) or _BACKWARD.keep(key, _plan_back(x_BLD, back, back_bias is not None))
    # No program adds to another's sum: atomic additions would come in another order each time.
    parts = torch.empty(plan.parts, dtype=torch.float32, device=x_BLD.device)
    if x_BLD.numel():
        plan.launch(*tensors, parts)
    taps = back.shape[-1]
    # Of the one that looks back the taps, of the other the taps, then both biases.
    sums = add_parts(parts, torch.float32)
    dback, dahead = (sums[n : n + taps].t().unsqueeze(1).to(back.dtype) for n in (0, taps))
    if back_bias is None:
        return Gradients(dx_BLD, dback, dahead, None, None)
    dback_bias, dahead_bias = sums[2 * taps :].to(back_bias.dtype)
    return Gradients(dx_BLD, dback, dahead, dback_bias, dahead_bias)


class _BackwardPlan(NamedTuple):
    launch: Launch
    parts: tuple[int, int, int]
    """Programs, sums of each (of all taps and both biases), and channels."""


def _plan_back(x_BLD: Tensor, back: Tensor, has_bias: bool) -> _BackwardPlan:
    batch, length, channels = x_BLD.shape
    taps = back.shape[-1]
    tile, sizes = _tile_of(channels), _sizes(x_BLD)
    tiles, blocks = batch * ceil_div(length, tile.steps), ceil_div(channels, tile.channels)
    wanted = ceil_div(PROGRAMS * multiprocessors(x_BLD.device), max(blocks, 1))
    programs = min(tiles, wanted)
    launch = Launch(
        two_way_conv_backward_kernel,
        x_BLD.device,
        programs * blocks,
        sizes.numbers | dict(tiles=tiles, programs=programs),
        W=taps,
        HAS_BIAS=has_bias,
        VECTOR=sizes.vector,
        TB=tile.steps,
        DB=tile.channels,
        num_warps=4,
    )
    return _BackwardPlan(launch, (programs, 2 * taps + 2, channels))


@triton.jit
def _silu(x):
    return x / (1.0 + tl.exp(-x))


@triton.jit
def _taps(weight, d, C, W: tl.constexpr):
    """The weights of each tap, `[1, DB]` each in float32."""
    taps = ()
    for k in tl.static_range(W):
        tap_D = tl.load(weight + d * W + k, mask=d < C, other=0.0)
        taps = taps + (tap_D.to(tl.float32)[None, :],)
    return taps


@triton.jit
def _silu_slope(x):
    sigmoid = 1.0 / (1.0 + tl.exp(-x))
    return sigmoid * (1.0 + x * (1.0 - sigmoid))


@triton.jit
def _seen(x, t, x_l, length, d, d_in, W: tl.constexpr, VECTOR: tl.constexpr):
    """The steps t - W + 1 to t + W - 1 of an image, a tile in float32 for each distance."""
    seen = ()
    for s in tl.static_range(2 * W - 1):
        at = t + (s - (W - 1))
        there = ((at >= 0) & (at < length))[:, None] & d_in[None, :]
        x_TD = tl.load(x + (at * x_l)[:, None] * VECTOR + d[None, :], mask=there, other=0.0)
        seen = seen + (x_TD.to(tl.float32),)
    return seen


@triton.jit
def _start(bias, d, d_in, HAS_BIAS: tl.constexpr):
    """What a sum begins with, `[1, channels]`."""
    start_D = tl.zeros_like(d).to(tl.float32)
    if HAS_BIAS:
        start_D = tl.load(bias + d, mask=d_in, other=0.0).to(tl.float32)
    return start_D[None, :]


@triton.jit(do_not_specialize=["x_b", "x_l", "length", "vectors"])
def two_way_conv_kernel(
    x,
    back,
    ahead,
    back_bias,
    ahead_bias,
    y,
    x_b,
    x_l,
    length,
    vectors,
    W: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    VECTOR: tl.constexpr,
    TB: tl.constexpr,
    DB: tl.constexpr,
):
    """A tile of both results.

    Tap k meets the step W - 1 - k before for the one and as far after for the other.
    """
    C = vectors * VECTOR
    blocks, across = tl.cdiv(C, DB), tl.cdiv(length, TB)
    # Neighbouring programs take neighbouring channels, whose memory lies side by side.
    d = (tl.program_id(0) % blocks) * DB + tl.arange(0, DB)
    tile = tl.program_id(0) // blocks
    # In 64 bits, as are all offsets: a large batch has more elements than 2**31.
    image = (tile // across).to(tl.int64)
    t = (tile % across).to(tl.int64) * TB + tl.arange(0, TB)
    d_in = d < C
    back_taps, ahead_taps = _taps(back, d, C, W), _taps(ahead, d, C, W)
    seen = _seen(x + image * x_b * VECTOR, t, x_l, length, d, d_in, W, VECTOR)
    back_TD = _start(back_bias, d, d_in, HAS_BIAS) + back_taps[0] * seen[0]
    ahead_TD = _start(ahead_bias, d, d_in, HAS_BIAS) + ahead_taps[0] * seen[2 * (W - 1)]
    for k in tl.static_range(1, W):
        back_TD += back_taps[k] * seen[k]
        ahead_TD += ahead_taps[k] * seen[2 * (W - 1) - k]
    # y is (B, L, 2, D): at each step the result that looks back, then the one that looks ahead.
    rows = y + ((image * length + t) * 2 * C)[:, None] + d[None, :]
    on_TD = (t < length)[:, None] & d_in[None, :]
    tl.store(rows, _silu(back_TD).to(y.dtype.element_ty), mask=on_TD)
    tl.store(rows + C, _silu(ahead_TD).to(y.dtype.element_ty), mask=on_TD)


@triton.jit(do_not_specialize=["x_b", "x_l", "length", "vectors", "tiles", "programs"])
def two_way_conv_backward_kernel(
    x,
    back,
    ahead,
    back_bias,
    ahead_bias,
    grad,
    dx,
    parts,
    x_b,
    x_l,
    length,
    vectors,
    tiles,
    programs,
    W: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    VECTOR: tl.constexpr,
    TB: tl.constexpr,
    DB: tl.constexpr,
):
    """The gradient of x, and this program's share of those of the weights and biases.

    Step t of x is met by the steps t to t + W - 1 of the result that looks back, and t - W + 1 to t
    of the other. Both are computed again from the same 2 W - 1 steps of x, whose tiles are loaded
    once each: `seen[s]` holds the steps t - W + 1 + s.
    """
    C = vectors * VECTOR
    blocks = tl.cdiv(C, DB)
    # Neighbouring programs take neighbouring channels, whose memory lies side by side.
    d = (tl.program_id(0) % blocks) * DB + tl.arange(0, DB)
    program = tl.program_id(0) // blocks
    d_in = d < C
    back_taps, ahead_taps = _taps(back, d, C, W), _taps(ahead, d, C, W)
    back_start = _start(back_bias, d, d_in, HAS_BIAS)
    ahead_start = _start(ahead_bias, d, d_in, HAS_BIAS)
    # Kept for each step of a tile and added up once, behind the last tile.
    sums = ()
    for _ in tl.static_range(2 * W + 2):
        sums = sums + (tl.zeros([TB, DB], tl.float32),)
    across = tl.cdiv(length, TB)
    for tile in range(program, tiles, programs):
        # In 64 bits, as are all offsets: a large batch has more elements than 2**31.
        image = (tile // across).to(tl.int64)
        t = (tile % across).to(tl.int64) * TB + tl.arange(0, TB)
        # (B, L, 2, D): at each step the result that looks back, then the one that looks ahead.
        grad_image = grad + image * length * 2 * C
        seen = _seen(x + image * x_b * VECTOR, t, x_l, length, d, d_in, W, VECTOR)
        dx_TD = tl.zeros([TB, DB], tl.float32)
        for j in tl.static_range(W):
            # The result that looks back, j steps later, and the one that looks ahead, j before.
            back_TD = back_start + back_taps[0] * seen[j]
            ahead_TD = ahead_start + ahead_taps[0] * seen[2 * (W - 1) - j]
            for k in tl.static_range(1, W):
                back_TD += back_taps[k] * seen[j + k]
                ahead_TD += ahead_taps[k] * seen[2 * (W - 1) - j - k]
            later, before = t + j, t - j
            on_later = (later < length)[:, None] & d_in[None, :]
            on_before = ((before >= 0) & (before < length))[:, None] & d_in[None, :]
            later_at = grad_image + (later * 2 * C)[:, None] + d[None, :]
            before_at = grad_image + (before * 2 * C + C)[:, None] + d[None, :]
            g_back_TD = tl.load(later_at, mask=on_later, other=0.0).to(tl.float32)
            g_ahead_TD = tl.load(before_at, mask=on_before, other=0.0).to(tl.float32)
            g_back_TD *= _silu_slope(back_TD)
            g_ahead_TD *= _silu_slope(ahead_TD)
            # Both meet this step with the same tap.
            dx_TD += g_back_TD * back_taps[W - 1 - j] + g_ahead_TD * ahead_taps[W - 1 - j]
            if j == 0:
                more = ()
                for k in tl.static_range(W):
                    more = more + (sums[k] + g_back_TD * seen[k],)
                for k in tl.static_range(W):
                    more = more + (sums[W + k] + g_ahead_TD * seen[2 * (W - 1) - k],)
                sums = more + (sums[2 * W] + g_back_TD, sums[2 * W + 1] + g_ahead_TD)
        rows = dx + ((image * length + t) * C)[:, None] + d[None, :]
        on_TD = (t < length)[:, None] & d_in[None, :]
        tl.store(rows, dx_TD.to(dx.dtype.element_ty), mask=on_TD)
    part_D = parts + program.to(tl.int64) * (2 * W + 2) * C + d
    for n in tl.static_range(2 * W + 2):
        tl.store(part_D + n * C, tl.sum(sums[n], 0), mask=d_in)
