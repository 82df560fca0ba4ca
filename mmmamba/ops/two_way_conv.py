"""Vim's two depthwise convolutions along a sequence, one looking back and one ahead, with SiLU.

On CUDA one kernel reads the sequence once and writes both results side by side, as the scan takes
them: PyTorch's depthwise convolution wants the channels first and takes longer than the scan. So is
the backward pass one kernel, which computes again what stands before the activation: training keeps
the input alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON


def two_way_conv_silu(
    x_BLD: Tensor, back: Tensor, ahead: Tensor, back_bias: Tensor | None, ahead_bias: Tensor | None
) -> Tensor:
    """`(B, L, D)` to `(B, L, 2, D)`: SiLU of the causal convolution, and of the one looking ahead.

    Args:
        back, ahead: `(D, 1, W)`, as `nn.Conv1d` holds them; `ahead` for the reversed sequence.
        back_bias, ahead_bias: `(D,)`, or None for both.
    """
    inputs = (x_BLD, back, ahead, back_bias, ahead_bias)
    fused = HAS_TRITON and unwatched(x_BLD) and x_BLD.dtype in DTYPES and x_BLD.stride(-1) == 1
    return _Fused.apply(*inputs) if fused else _plain(*inputs)


def _plain(x_BLD, back, ahead, back_bias, ahead_bias) -> Tensor:
    L, past = x_BLD.shape[1], back.shape[-1] - 1
    x_BDL = x_BLD.transpose(1, 2)
    back_BDL = F.conv1d(x_BDL, back, back_bias, padding=past, groups=x_BDL.shape[1])
    ahead_BDL = F.conv1d(x_BDL, ahead.flip(-1), ahead_bias, padding=past, groups=x_BDL.shape[1])
    # Both are padded at both ends: the causal one keeps its start, the other its end.
    back_BLD = back_BDL[..., :L].transpose(1, 2)
    ahead_BLD = ahead_BDL[..., past:].transpose(1, 2)
    return F.silu(torch.stack((back_BLD, ahead_BLD), 2))


def _plain_in_its_dtype(x_BLD: Tensor, *parameters: Tensor | None) -> Tensor:
    # Under autocast x may be low and the weights float32, which the kernel takes as they are and
    # PyTorch's convolution does not. `gradients` turns autocast off, so it is turned on again here.
    with torch.autocast("cuda", x_BLD.dtype, enabled=x_BLD.dtype != torch.float32):
        return _plain(x_BLD, *parameters)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        from .kernels.two_way_conv import forward

        ctx.save_for_backward(*inputs)
        return forward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(_plain_in_its_dtype, ctx.saved_tensors, ctx.needs_input_grad, grad)
        from .kernels.two_way_conv import backward

        return backward(grad, *ctx.saved_tensors)
