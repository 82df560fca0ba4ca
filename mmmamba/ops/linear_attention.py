"""MLLA's linear attention with a rotary position code (arXiv 2405.16605, section 4).

All sums over tokens are float32, and means, so that what comes out is of the inputs' size.

Triton's kernels on CUDA for float32, float16 and bfloat16, which keep the inputs and the states for
the backward pass; else PyTorch's operators in float32: on a CPU, for float64, where somebody
watches.

Shape suffixes: B batch, L = H W tokens in the order of their rows, G heads, C = G P channels,
S positions along a side, J = C / 4 angles.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import full_precision, no_autocast
from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON

EPS = 1e-6
"""Added to a query's product with the mean key."""
WIDEST = 128
"""Channels of a head that a program holds."""


def linear_attention(
    qk_BLX: Tensor, v_BLC: Tensor, local_BLC: Tensor, table_2SJ: Tensor, heads: int, width: int
) -> Tensor:
    """`local + (q~ mean(k~^T v)) / (q mean(k)^T + 1e-6)`, head by head, q and k being ELU + 1.

    `q~` and `k~` are q and k whose channel pairs (2j, 2j + 1) are turned, counted over the whole
    width: the first J by their row's angles, the others by their column's.

    Args:
        qk_BLX: `(B, L, 2 C)`, queries before keys.
        v_BLC: values.
        local_BLC: what is added.
        table_2SJ: float32 cosines and sines, of at least as many positions as the longer side.
        heads: of neighbouring channels.
        width: W.

    Returns:
        `(B, L, C)` in v's dtype.

    Raises:
        ValueError: shapes that do not fit.
    """
    _check(qk_BLX, v_BLC, local_BLC, table_2SJ, heads, width)
    given = qk_BLX, v_BLC, local_BLC, table_2SJ
    if _kernels_take(*given, heads):
        return _Fused.apply(*[x.contiguous() for x in given], heads, width)
    return _plain(*given, heads, width)


def _kernels_take(qk: Tensor, v: Tensor, local: Tensor, table: Tensor, heads: int) -> bool:
    one_dtype = qk.dtype == v.dtype == local.dtype and table.dtype == torch.float32
    # A pair of channels is turned within one head, and an empty map launches nothing.
    P = v.shape[2] // heads
    fits = P % 2 == 0 and P <= WIDEST and v.numel() > 0
    return HAS_TRITON and unwatched(v) and v.dtype in DTYPES and one_dtype and fits


def _check(qk: Tensor, v: Tensor, local: Tensor, table: Tensor, heads: int, width: int) -> None:
    batch, length, channels = v.shape
    fits = qk.shape == (batch, length, 2 * channels) and local.shape == v.shape
    if not fits or channels % heads or channels % 4 or length % width:
        raise ValueError(
            f"linear_attention: qk is {tuple(qk.shape)}, v {tuple(v.shape)} and local "
            f"{tuple(local.shape)} with {heads} heads and rows of {width}, wanted (B, L, 2 C), "
            "(B, L, C) twice, C a multiple of the heads and of 4, L one of the width"
        )
    longer = max(width, length // width)
    if table.shape[0] != 2 or table.shape[1] < longer or table.shape[2] != channels // 4:
        raise ValueError(
            f"linear_attention: the table is {tuple(table.shape)}, wanted (2, {longer} or more, "
            f"{channels // 4})"
        )


def _plain(
    qk_BLX: Tensor, v_BLC: Tensor, local_BLC: Tensor, table_2SJ: Tensor, heads: int, width: int
) -> Tensor:
    L = v_BLC.shape[1]
    with no_autocast(v_BLC):
        q_BLC, k_BLC = (F.elu(full_precision(qk_BLX)) + 1).chunk(2, -1)
        q_BGLP, k_BGLP, v_BGLP = (
            x.unflatten(-1, (heads, -1)).transpose(1, 2)
            for x in (q_BLC, k_BLC, full_precision(v_BLC))
        )
        # Turned over the whole width before the heads are cut: each has its own angles.
        turned_2LE = _angles(table_2SJ, L // width, width)
        turned_q_BGLP, turned_k_BGLP = (
            _turned(x, turned_2LE).unflatten(-1, (heads, -1)).transpose(1, 2)
            for x in (q_BLC, k_BLC)
        )
        # The means and not the turned ones divide, as published.
        scale_BGL1 = 1 / (q_BGLP @ k_BGLP.mean(2).unsqueeze(-1) + EPS)
        state_BGPP = turned_k_BGLP.transpose(2, 3) @ v_BGLP / L
        o_BGLP = scale_BGL1 * (turned_q_BGLP @ state_BGPP)
        o_BLC = o_BGLP.transpose(1, 2).flatten(2) + full_precision(local_BLC)
        return o_BLC.to(v_BLC.dtype)


def _angles(table_2SJ: Tensor, height: int, width: int) -> Tensor:
    """Cosines and sines of each token's pairs, `(2, L, 2 J)`."""
    rows_2HWJ = table_2SJ[:, :height, None].expand(-1, -1, width, -1)
    columns_2HWJ = table_2SJ[:, None, :width].expand(-1, height, -1, -1)
    return torch.cat([rows_2HWJ, columns_2HWJ], -1).flatten(1, 2)


def _turned(x_BLC: Tensor, angles_2LE: Tensor) -> Tensor:
    cos_LE, sin_LE = angles_2LE
    a_BLE, b_BLE = x_BLC.unflatten(-1, (-1, 2)).unbind(-1)
    turned = [a_BLE * cos_LE - b_BLE * sin_LE, b_BLE * cos_LE + a_BLE * sin_LE]
    return torch.stack(turned, -1).flatten(-2)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qk, v, local, table, heads, width):
        from .kernels.linear_attention import Problem, forward

        out, state = forward(Problem(qk, v, table, heads, width, EPS), local)
        ctx.save_for_backward(qk, v, table, state)
        ctx.heads, ctx.width, ctx.local_dtype = heads, width, local.dtype
        return out

    @staticmethod
    def backward(ctx, grad):
        qk, v, table, state = ctx.saved_tensors
        dlocal = grad.to(ctx.local_dtype)
        if differentiated_again(grad):
            # What is added has no part in any other gradient.
            def plain(qk, v):
                return _plain(qk, v, torch.zeros_like(v), table, ctx.heads, ctx.width)

            dqk, dv = gradients(plain, (qk, v), ctx.needs_input_grad[:2], grad)
            return dqk, dv, dlocal, None, None, None
        from .kernels.linear_attention import Problem, backward

        given = Problem(qk, v, table, ctx.heads, ctx.width, EPS)
        return *backward(grad, given, state), dlocal, None, None, None
