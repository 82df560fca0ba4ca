"""A map and a coarser one of about half its sides, added: one kernel on CUDA.

PyTorch's interpolation writes a whole map that the sum reads again, and its gradient of the
bilinear kind is added up by atomic operations, in another order in each run.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON

MODES = ("nearest", "bilinear")


def upsample_add(fine_BHWC: Tensor, coarse_BhwC: Tensor, mode: str) -> Tensor:
    """`fine + resize(coarse)` in fine's dtype.

    Args:
        coarse_BhwC: of half the sides, rounded up.
        mode: "nearest" (cell (r, c) reads (r // 2, c // 2)) or "bilinear" (corners not aligned).

    Raises:
        ValueError: another mode, or a coarse map of other sides.
    """
    _check(fine_BHWC, coarse_BhwC, mode)
    known = fine_BHWC.dtype in DTYPES and coarse_BhwC.dtype in DTYPES
    if not (HAS_TRITON and unwatched(fine_BHWC) and known):
        return _plain(fine_BHWC, coarse_BhwC, mode)
    return _Fused.apply(fine_BHWC, coarse_BhwC, mode)


def _check(fine: Tensor, coarse: Tensor, mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"upsample_add: mode is {mode!r}, wanted one of {MODES}")
    B, H, W, C = fine.shape
    wanted = (B, (H + 1) // 2, (W + 1) // 2, C)
    if coarse.shape != wanted:
        raise ValueError(
            f"upsample_add: the coarse map is {tuple(coarse.shape)}, but a map {tuple(fine.shape)} "
            f"wants {wanted}"
        )


def _plain(fine: Tensor, coarse: Tensor, mode: str) -> Tensor:
    corners = None if mode == "nearest" else False
    coarse_BChw = coarse.permute(0, 3, 1, 2)
    up = F.interpolate(coarse_BChw, fine.shape[1:3], mode=mode, align_corners=corners)
    return fine + up.permute(0, 2, 3, 1).to(fine.dtype)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, fine, coarse, mode):
        from .kernels.upsample_add import forward

        ctx.mode, ctx.fine, ctx.coarse = (
            mode,
            (fine.shape, fine.dtype),
            (coarse.shape, coarse.dtype),
        )
        return forward(fine, coarse, mode == "bilinear")

    @staticmethod
    def backward(ctx, grad):
        wants = ctx.needs_input_grad
        if differentiated_again(grad):
            # It is linear: its gradient depends on no input.
            inputs = [grad.new_zeros(shape, dtype=dtype) for shape, dtype in (ctx.fine, ctx.coarse)]
            inputs = [x.requires_grad_() for x in inputs]
            return *gradients(lambda *x: _plain(*x, ctx.mode), inputs, wants, grad), None
        from .kernels.upsample_add import backward

        shape, dtype = ctx.coarse
        dcoarse = backward(grad, shape, dtype, ctx.mode == "bilinear") if wants[1] else None
        return grad if wants[0] else None, dcoarse, None
