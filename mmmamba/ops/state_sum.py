"""VSSD's non-causal state: one sum over all tokens, which every token reads.

Mamba-2's duality without the mask (arXiv 2407.18559, section 3.2). Float16 ends at 65504, which a
sum over the thousands of tokens of a map passes: the state is float32, and so is what a float16
input gives.

Triton's kernels on CUDA for float32, float16 and bfloat16, which keep the inputs and the state for
the backward pass; else PyTorch's operators in float32: on a CPU, for float64, where somebody
watches.

Shape suffixes: B batch, L tokens, G heads, D = G P channels, N states, E = D + 2 N.
"""

import torch
from torch import Tensor

from .autocast import full_precision, no_autocast
from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON

WIDEST = 128
"""States, and channels of a head, that a program holds."""


def state_sum(xBC_BLE: Tensor, weight_BLG: Tensor, D_G: Tensor, d_state: int) -> Tensor:
    """`y[l] = C[l] S + D x[l]` with `S = sum over l of weight[l] B[l]^T x[l]`, head by head.

    Args:
        xBC_BLE: x, of heads of neighbouring channels, then B and then C, which all heads share; in
            one, as a convolution makes them, so that their gradients need not be joined.
        weight_BLG: float32, each token's in each head.
        D_G: float32, what each head adds of its own input.
        d_state: N.

    Returns:
        `(B, L, D)` in x's dtype; in float32 where that is float16.

    Raises:
        ValueError: shapes that do not fit.
    """
    _check(xBC_BLE, weight_BLG, D_G, d_state)
    if _kernels_take(xBC_BLE, weight_BLG, D_G, d_state):
        return _Fused.apply(xBC_BLE.contiguous(), weight_BLG.contiguous(), D_G, d_state)
    return _plain(xBC_BLE, weight_BLG, D_G, d_state)


def _check(xBC: Tensor, weight: Tensor, D: Tensor, d_state: int) -> None:
    channels, heads = xBC.shape[-1] - 2 * d_state, len(D)
    if xBC.dim() != 3 or weight.shape != (*xBC.shape[:2], heads) or channels % heads:
        raise ValueError(
            f"state_sum: xBC is {tuple(xBC.shape)}, weight {tuple(weight.shape)} and D "
            f"{tuple(D.shape)} with d_state={d_state}, wanted (B, L, D + 2 d_state), (B, L, G) and "
            "(G,), D a multiple of G"
        )


def _kernels_take(xBC: Tensor, weight: Tensor, D: Tensor, d_state: int) -> bool:
    known = xBC.dtype in DTYPES and weight.dtype == D.dtype == torch.float32
    channels = (xBC.shape[2] - 2 * d_state) // len(D)
    return HAS_TRITON and unwatched(xBC) and known and max(d_state, channels) <= WIDEST


def output_dtype(dtype: torch.dtype) -> torch.dtype:
    """What `state_sum` returns for an input of some dtype."""
    return torch.float32 if dtype == torch.float16 else dtype


def _plain(xBC_BLE: Tensor, weight_BLG: Tensor, D_G: Tensor, d_state: int) -> Tensor:
    channels = xBC_BLE.shape[2] - 2 * d_state
    P = channels // len(D_G)
    with no_autocast(xBC_BLE):
        wide_BLE = full_precision(xBC_BLE)
        x_BLD, B_BLN, C_BLN = wide_BLE.split((channels, d_state, d_state), -1)
        # As B and C are shared, all heads are one product of N by D: no head axis.
        weighted_BLD = x_BLD * weight_BLG.repeat_interleave(P, -1)
        state_BND = B_BLN.transpose(1, 2) @ weighted_BLD
        y_BLD = torch.baddbmm(x_BLD * D_G.repeat_interleave(P), C_BLN, state_BND)
        return y_BLD.to(output_dtype(xBC_BLE.dtype))


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, xBC, weight, D, d_state):
        from .kernels.state_sum import forward

        y, state = forward(xBC, weight, D, d_state, output_dtype(xBC.dtype))
        ctx.save_for_backward(xBC, weight, D, state)
        ctx.d_state = d_state
        return y

    @staticmethod
    def backward(ctx, grad):
        xBC, weight, D, state = ctx.saved_tensors
        if differentiated_again(grad):
            given, wants = (xBC, weight, D), ctx.needs_input_grad[:3]
            return *gradients(lambda *x: _plain(*x, ctx.d_state), given, wants, grad), None
        from .kernels.state_sum import backward

        return *backward(grad, xBC, weight, D, ctx.d_state, state), None
