"""Depthwise convolution with SiLU on maps whose memory is channels-last, in one kernel on CUDA.

cuDNN makes a plan for every new size of a map, which takes longer than the training step of a detector that gets it,
and PyTorch's operators read and write the map for the convolution and for SiLU. These kernels are compiled once for all
sizes; training keeps the input alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import autocast_dtype
from .derivatives import differentiated_again, gradients
from .launch import DTYPES, HAS_TRITON
from .recompute import unwatched

SIDES = (1, 3, 5)
"""Of the kernel; the registers of a program do not hold what a larger one needs."""


def depthwise_conv(
    x_BCHW: Tensor, weight: Tensor, bias: Tensor | None = None, silu: bool = False
) -> Tensor:
    """`conv2d(x)` of stride 1 that keeps the size, or its SiLU, `(B, C, H, W)` in x's dtype or autocast's.

    Args:
        weight: `(C, 1, S, S)` with S odd. Under autocast the kernels take it, and give its gradient, as it is.
        bias: `(C,)` or None.
        silu: apply SiLU.
    """
    if not _fused(x_BCHW, weight):
        return _plain(x_BCHW, weight, bias, silu)
    return _Fused.apply(x_BCHW.to(autocast_dtype(x_BCHW) or x_BCHW.dtype), weight, bias, silu)


def _fused(x: Tensor, weight: Tensor) -> bool:
    """On CUDA, channels-last, and what PyTorch's convolution would take too."""
    if not (
        HAS_TRITON
        and unwatched(x)
        and x.dim() == 4
        and x.stride(1) == 1
        and x.shape[1] == len(weight)
    ):
        return False
    dtypes_fit = x.dtype == weight.dtype or autocast_dtype(x) is not None
    square = weight.shape[2] == weight.shape[3] and weight.shape[2] in SIDES
    return square and dtypes_fit and x.dtype in DTYPES and weight.dtype in DTYPES


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    y = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))
    return F.silu(y) if silu else y


def _of_one_dtype(x: Tensor, *parameters: Tensor | None) -> list[Tensor | None]:
    """As PyTorch's convolution wants them where autocast is off."""
    return [x, *(p if p is None else p.to(x.dtype) for p in parameters)]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, silu):
        from .kernels.depthwise_conv import forward

        ctx.save_for_backward(x, weight, bias)
        ctx.silu = silu
        return forward(x, weight, bias, silu)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(
                lambda *x: _plain(*_of_one_dtype(*x), ctx.silu),
                ctx.saved_tensors,
                ctx.needs_input_grad,
                grad,
            )
        from .kernels.depthwise_conv import backward

        wants_dx, *wants_parameters = ctx.needs_input_grad[:3]
        return *backward(grad, *ctx.saved_tensors, ctx.silu, wants_dx, any(wants_parameters)), None
