"""The kernel of `two_way_conv_silu`: tiles of steps by channels, neighbours from the cache."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

STEPS, CHANNELS = 16, 128

_PLANS = Plans()


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
