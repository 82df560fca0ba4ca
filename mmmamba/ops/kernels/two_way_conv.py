# mypy: disable-error-code="assignment, var-annotated"
# Triton's language adds to tuples while it unrolls a loop, which Python's types cannot follow.
"""Kernels of `two_way_conv_silu`: tiles of steps by channels, neighbours from the cache."""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div, multiprocessors

STEPS, CHANNELS = 16, 128

PROGRAMS, BACKWARD_STEPS = 8, 4
"""For each multiprocessor in the backward pass, and the steps of a tile there."""

_PLANS, _BACKWARD = Plans(), Plans()


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
    kinds = [None if x is None else x.dtype for x in tensors]
    key = (x_BLD.shape, x_BLD.stride(), x_BLD.device, back.shape, *kinds)
    launch = _PLANS.get(key) or _PLANS.keep(key, _plan(x_BLD, back, back_bias is not None))
    launch(*tensors)
    return y_BLKD


def _plan(x_BLD: Tensor, back: Tensor, has_bias: bool) -> Launch:
    batch, length, channels = x_BLD.shape
    return Launch(
        two_way_conv_kernel,
        x_BLD.device,
        batch * ceil_div(length, STEPS) * ceil_div(channels, CHANNELS),
        dict(x_b=x_BLD.stride(0), x_l=x_BLD.stride(1), length=length, channels=channels),
        W=back.shape[-1],
        HAS_BIAS=has_bias,
        TB=STEPS,
        DB=CHANNELS,
        num_warps=4,
    )


class Gradients(NamedTuple):
    """As `forward` takes what they belong to."""

    x: Tensor
    back: Tensor
    ahead: Tensor
    back_bias: Tensor | None
    ahead_bias: Tensor | None


def backward(
    grad_BLKD: Tensor,
    x_BLD: Tensor,
    back: Tensor,
    ahead: Tensor,
    back_bias: Tensor | None,
    ahead_bias: Tensor | None,
) -> Gradients:
    """Gradients of all.

    One kernel passes the gradient through SiLU, for which it computes the convolutions again, and
    sums up the parameters' gradients; the other convolves what came through the other way round.
    """
    grad_BLKD, back, ahead = grad_BLKD.contiguous(), back.contiguous(), ahead.contiguous()
    given = (grad_BLKD, x_BLD, back, ahead, back_bias, ahead_bias)
    kinds = [None if x is None else x.dtype for x in given]
    key = (x_BLD.shape, x_BLD.stride(), x_BLD.device, back.shape, *kinds)
    plan = _BACKWARD.get(key) or _BACKWARD.keep(key, _plan_back(x_BLD, back, back_bias is not None))
    inner_BLKD = torch.empty_like(grad_BLKD)
    dx_BLD = torch.empty(x_BLD.shape, dtype=x_BLD.dtype, device=x_BLD.device)
    # Without steps there are no programs, and the sums over none of them are zeros.
    parts = torch.empty(plan.parts, dtype=torch.float32, device=x_BLD.device)
    if x_BLD.numel():
        plan.through(*given[1:], grad_BLKD, inner_BLKD, parts)
        plan.across(inner_BLKD, back, ahead, dx_BLD)
    # The taps of both convolutions channel by channel, then both biases.
    taps, channels = back.numel(), back.shape[0]
    dback, dahead, dbias, dahead_bias = parts.sum(0).split((taps, taps, channels, channels))
    return Gradients(
        dx_BLD,
        dback.view(back.shape).to(back.dtype),
        dahead.view(ahead.shape).to(ahead.dtype),
        None if back_bias is None else dbias.to(back_bias.dtype),
        None if ahead_bias is None else dahead_bias.to(ahead_bias.dtype),
    )


class _BackwardPlan(NamedTuple):
    through: Launch
    across: Launch
    parts: tuple[int, int]
    """Programs of a block of channels, and numbers that each of them sums up."""


def _plan_back(x_BLD: Tensor, back: Tensor, has_bias: bool) -> _BackwardPlan:
    batch, length, channels = x_BLD.shape
    W, blocks = back.shape[-1], ceil_div(channels, CHANNELS)
    tiles = batch * ceil_div(length, BACKWARD_STEPS)
    programs = min(tiles, ceil_div(PROGRAMS * multiprocessors(x_BLD.device), blocks))
    sizes = dict(length=length, channels=channels)
    through = Launch(
        through_silu_kernel,
        x_BLD.device,
        programs * blocks,
        dict(x_b=x_BLD.stride(0), x_l=x_BLD.stride(1), **sizes, tiles=tiles, programs=programs),
        W=W,
        HAS_BIAS=has_bias,
        TB=BACKWARD_STEPS,
        DB=CHANNELS,
        num_warps=4,
    )
    across = Launch(
        two_way_transposed_kernel,
        x_BLD.device,
        batch * ceil_div(length, STEPS) * blocks,
        sizes,
        W=W,
        TB=STEPS,
        DB=CHANNELS,
        num_warps=4,
    )
    return _BackwardPlan(through, across, (programs, 2 * channels * (W + 1)))


@triton.jit
def _silu(x):
    return x / (1.0 + tl.exp(-x))


@triton.jit(do_not_specialize=["x_b", "x_l", "length", "channels"])
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
    channels,
    W: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TB: tl.constexpr,
    DB: tl.constexpr,
):
    """A tile of both results.

    Tap k meets the step W - 1 - k before for the one and as far after for the other, so that one
    loop serves both.
    """
    blocks, tiles = tl.cdiv(channels, DB), tl.cdiv(length, TB)
    pid = tl.program_id(0)
    d = (pid % blocks) * DB + tl.arange(0, DB)
    t = ((pid // blocks) % tiles) * TB + tl.arange(0, TB)
    batch = (pid // (blocks * tiles)).to(tl.int64)
    d_in, t_in = d < channels, t < length
    x += batch * x_b
    back_TD = tl.zeros([TB, DB], tl.float32)
    ahead_TD = tl.zeros([TB, DB], tl.float32)
    if HAS_BIAS:
        back_TD += tl.load(back_bias + d, mask=d_in, other=0.0).to(tl.float32)[None, :]
        ahead_TD += tl.load(ahead_bias + d, mask=d_in, other=0.0).to(tl.float32)[None, :]
    for k in tl.static_range(W):
        before, after = t - (W - 1) + k, t + (W - 1) - k
        on_before = ((before >= 0) & t_in)[:, None] & d_in[None, :]
        # `after` is never less than t, so that this covers the steps that are not there, too.
        on_after = (after < length)[:, None] & d_in[None, :]
        before_at = x + before.to(tl.int64)[:, None] * x_l + d[None, :]
        before_TD = tl.load(before_at, mask=on_before, other=0.0)
        after_at = x + after.to(tl.int64)[:, None] * x_l + d[None, :]
        after_TD = tl.load(after_at, mask=on_after, other=0.0)
        before_TD = before_TD.to(tl.float32)
        back_D = tl.load(back + d * W + k, mask=d_in, other=0.0).to(tl.float32)
        back_TD += before_TD * back_D[None, :]
        after_TD = after_TD.to(tl.float32)
        ahead_D = tl.load(ahead + d * W + k, mask=d_in, other=0.0).to(tl.float32)
        ahead_TD += after_TD * ahead_D[None, :]
    # y is (B, L, 2, D): at each step the result that looks back, then the one that looks ahead.
    rows = y + (batch * length + t.to(tl.int64))[:, None] * (2 * channels) + d[None, :]
    on_TD = t_in[:, None] & d_in[None, :]
    tl.store(rows, _silu(back_TD).to(y.dtype.element_ty), mask=on_TD)
    tl.store(rows + channels, _silu(ahead_TD).to(y.dtype.element_ty), mask=on_TD)


@triton.jit
def _through_silu(y, grad):
    """The gradient of y from that of its SiLU."""
    sigmoid = 1.0 / (1.0 + tl.exp(-y))
    return grad * sigmoid * (1.0 + y * (1.0 - sigmoid))


@triton.jit(do_not_specialize=["x_b", "x_l", "length", "channels", "tiles", "programs"])
def through_silu_kernel(
    x,
    back,
    ahead,
    back_bias,
    ahead_bias,
    grad,
    inner,
    parts,
    x_b,
    x_l,
    length,
    channels,
    tiles,
    programs,
    W: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TB: tl.constexpr,
    DB: tl.constexpr,
):
    """The gradient of both convolutions' outputs, and this program's part of the parameters'.

    Taps as in `two_way_conv_kernel`. A part holds the taps of both channel by channel, then both
    biases.
    """
    blocks, across = tl.cdiv(channels, DB), tl.cdiv(length, TB)
    pid = tl.program_id(0)
    d = (pid % blocks) * DB + tl.arange(0, DB)
    d_in = d < channels
    bias_D, ahead_bias_D = tl.zeros([DB], tl.float32), tl.zeros([DB], tl.float32)
    if HAS_BIAS:
        bias_D += tl.load(back_bias + d, mask=d_in, other=0.0).to(tl.float32)
        ahead_bias_D += tl.load(ahead_bias + d, mask=d_in, other=0.0).to(tl.float32)
    taps, ahead_taps, sums, ahead_sums = (), (), (), ()
    for k in tl.static_range(W):
        taps += (tl.load(back + d * W + k, mask=d_in, other=0.0).to(tl.float32)[None, :],)
        ahead_taps += (tl.load(ahead + d * W + k, mask=d_in, other=0.0).to(tl.float32)[None, :],)
        sums += (tl.zeros([TB, DB], tl.float32),)
        ahead_sums += (tl.zeros([TB, DB], tl.float32),)
    bias_sum, ahead_bias_sum = tl.zeros([TB, DB], tl.float32), tl.zeros([TB, DB], tl.float32)
    for tile in range(pid // blocks, tiles, programs):
        batch = (tile // across).to(tl.int64)
        t = (tile % across) * TB + tl.arange(0, TB)
        t_in = t < length
        befores, afters = (), ()
        back_TD = tl.zeros([TB, DB], tl.float32) + bias_D[None, :]
        ahead_TD = tl.zeros([TB, DB], tl.float32) + ahead_bias_D[None, :]
        for k in tl.static_range(W):
            before, after = t - (W - 1) + k, t + (W - 1) - k
            on_before = ((before >= 0) & t_in)[:, None] & d_in[None, :]
            on_after = (after < length)[:, None] & d_in[None, :]
            x_1D = x + batch * x_b + d[None, :]
            before_at = x_1D + before.to(tl.int64)[:, None] * x_l
            before_TD = tl.load(before_at, mask=on_before, other=0.0).to(tl.float32)
            after_at = x_1D + after.to(tl.int64)[:, None] * x_l
            after_TD = tl.load(after_at, mask=on_after, other=0.0).to(tl.float32)
            back_TD += before_TD * taps[k]
            ahead_TD += after_TD * ahead_taps[k]
            befores += (before_TD,)
            afters += (after_TD,)
        offset = (batch * length + t.to(tl.int64))[:, None] * (2 * channels) + d[None, :]
        on_TD = t_in[:, None] & d_in[None, :]
        # Zero beyond the sequence, where nothing may be added to the sums.
        grad_TD = tl.load(grad + offset, mask=on_TD, other=0.0).to(tl.float32)
        back_TD = _through_silu(back_TD, grad_TD)
        grad_TD = tl.load(grad + offset + channels, mask=on_TD, other=0.0).to(tl.float32)
        ahead_TD = _through_silu(ahead_TD, grad_TD)
        tl.store(inner + offset, back_TD.to(inner.dtype.element_ty), mask=on_TD)
        tl.store(inner + offset + channels, ahead_TD.to(inner.dtype.element_ty), mask=on_TD)
        more, ahead_more = (), ()
        for k in tl.static_range(W):
            more += (sums[k] + back_TD * befores[k],)
            ahead_more += (ahead_sums[k] + ahead_TD * afters[k],)
        sums, ahead_sums = more, ahead_more
        bias_sum += back_TD
        ahead_bias_sum += ahead_TD
    part = parts + (pid // blocks).to(tl.int64) * (2 * channels * (W + 1))
    for k in tl.static_range(W):
        tl.store(part + d * W + k, tl.sum(sums[k], 0), mask=d_in)
        tl.store(part + (channels + d) * W + k, tl.sum(ahead_sums[k], 0), mask=d_in)
    part += 2 * channels * W
    tl.store(part + d, tl.sum(bias_sum, 0), mask=d_in)
    tl.store(part + channels + d, tl.sum(ahead_bias_sum, 0), mask=d_in)


@triton.jit(do_not_specialize=["length", "channels"])
def two_way_transposed_kernel(
    inner,
    back,
    ahead,
    dx,
    length,
    channels,
    W: tl.constexpr,
    TB: tl.constexpr,
    DB: tl.constexpr,
):
    """The gradient of the sequence from those of both convolutions' outputs.

    A step reached the outputs that stand where each tap sees it from, so both look the other way.
    """
    blocks, tiles = tl.cdiv(channels, DB), tl.cdiv(length, TB)
    pid = tl.program_id(0)
    d = (pid % blocks) * DB + tl.arange(0, DB)
    t = ((pid // blocks) % tiles) * TB + tl.arange(0, TB)
    batch = (pid // (blocks * tiles)).to(tl.int64)
    d_in, t_in = d < channels, t < length
    inner += batch * length * (2 * channels)
    dx_TD = tl.zeros([TB, DB], tl.float32)
    for k in tl.static_range(W):
        after, before = t + (W - 1) - k, t - (W - 1) + k
        on_after = (after < length)[:, None] & d_in[None, :]
        on_before = ((before >= 0) & t_in)[:, None] & d_in[None, :]
        after_at = inner + after.to(tl.int64)[:, None] * (2 * channels) + d[None, :]
        before_at = inner + before.to(tl.int64)[:, None] * (2 * channels) + channels + d[None, :]
        back_D = tl.load(back + d * W + k, mask=d_in, other=0.0).to(tl.float32)
        ahead_D = tl.load(ahead + d * W + k, mask=d_in, other=0.0).to(tl.float32)
        after_TD = tl.load(after_at, mask=on_after, other=0.0).to(tl.float32)
        before_TD = tl.load(before_at, mask=on_before, other=0.0).to(tl.float32)
        dx_TD += after_TD * back_D[None, :] + before_TD * ahead_D[None, :]
    at = dx + (batch * length + t.to(tl.int64))[:, None] * channels + d[None, :]
    tl.store(at, dx_TD.to(dx.dtype.element_ty), mask=t_in[:, None] & d_in[None, :])
