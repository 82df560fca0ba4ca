"""VSSD's non-causal state: one sum over all tokens, which every token reads.

Mamba-2's duality without the mask (arXiv 2407.18559, section 3.2). Float16 ends at 65504, which a
sum over the thousands of tokens of a map passes: the state is float32, and so is what a float16
input gives.

Shape suffixes: B batch, L tokens, G heads, D = G P channels, N states.
"""

import torch
from torch import Tensor

from .autocast import full_precision, no_autocast


def state_sum(
    x_BLD: Tensor, weight_BLG: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_G: Tensor
) -> Tensor:
    """`y[l] = C[l] S + D x[l]` with `S = sum over l of weight[l] B[l]^T x[l]`, head by head.

    Args:
        x_BLD: heads of neighbouring channels.
        weight_BLG: float32, each token's in each head.
        B_BLN, C_BLN: shared by the heads, of x's dtype.
        D_G: float32, what each head adds of its own input.

    Returns:
        `(B, L, D)` in x's dtype; in float32 where that is float16.

    Raises:
        ValueError: shapes that do not fit.
    """
    _check(x_BLD, weight_BLG, B_BLN, C_BLN, D_G)
    return _plain(x_BLD, weight_BLG, B_BLN, C_BLN, D_G)


def _check(x: Tensor, weight: Tensor, B: Tensor, C: Tensor, D: Tensor) -> None:
    tokens, heads = x.shape[:2], D.shape[0]
    fits = weight.shape == (*tokens, heads) and x.shape[2] % heads == 0
    if not fits or B.shape != C.shape or B.shape[:2] != tokens:
        raise ValueError(
            f"state_sum: x is {tuple(x.shape)}, weight {tuple(weight.shape)}, B {tuple(B.shape)}, "
            f"C {tuple(C.shape)} and D {tuple(D.shape)}, wanted (B, L, D), (B, L, G), (B, L, N), "
            "(B, L, N) and (G,), D a multiple of G"
        )


def output_dtype(dtype: torch.dtype) -> torch.dtype:
    """What `state_sum` returns for an input of some dtype."""
    return torch.float32 if dtype == torch.float16 else dtype


def _plain(x_BLD: Tensor, weight_BLG: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_G: Tensor) -> Tensor:
    dtype, P = output_dtype(x_BLD.dtype), x_BLD.shape[2] // D_G.shape[0]
    with no_autocast(x_BLD):
        x_BLD, B_BLN, C_BLN = full_precision(x_BLD), full_precision(B_BLN), full_precision(C_BLN)
        # As B and C are shared, all heads are one product of N by D: no head axis.
        weighted_BLD = x_BLD * weight_BLG.repeat_interleave(P, -1)
        state_BND = B_BLN.transpose(1, 2) @ weighted_BLD
        skip_BLD = x_BLD * D_G.repeat_interleave(P)
        return torch.baddbmm(skip_BLD, C_BLN, state_BND).to(dtype)
