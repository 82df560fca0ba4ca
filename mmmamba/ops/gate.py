"""Mamba's gate: the scan's output times SiLU of a second projection.

(Gu and Dao, arXiv 2312.00752, section 3.4.) On CUDA one kernel reads both once and writes what the
projection after it takes, where PyTorch's operators write four tensors of the inner width; training
keeps the two inputs alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON


def silu_gate(y_BLD: Tensor, z_BLD: Tensor, scale: float = 1.0) -> Tensor:
    """`scale * y * silu(z)`, `(B, L, D)` in z's dtype, computed in y's or better."""
    # The kernels know strides of images and steps only: channels must lie side by side.
    fused = (
        HAS_TRITON
        and unwatched(y_BLD)
        and y_BLD.dtype in DTYPES
        and z_BLD.dtype in DTYPES
        and y_BLD.stride(-1) == z_BLD.stride(-1) == 1
    )
    return _Fused.apply(y_BLD, z_BLD, scale) if fused else _plain(y_BLD, z_BLD, scale)


def _plain(y_BLD: Tensor, z_BLD: Tensor, scale: float) -> Tensor:
    gated = y_BLD * F.silu(z_BLD)
    return (gated if scale == 1.0 else scale * gated).to(z_BLD.dtype)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, z, scale):
        from .kernels.gate import forward

        ctx.save_for_backward(y, z)
        ctx.scale = scale
        return forward(y, z, scale)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(
                lambda y, z: _plain(y, z, ctx.scale), ctx.saved_tensors, ctx.needs_input_grad, grad
            )
        from .kernels.gate import backward

        return *backward(grad, *ctx.saved_tensors, ctx.scale), None
