"""Depthwise convolution of any odd kernel, with SiLU, on maps whose memory is channels-last.

Which way is taken is decided in `kernels_take` and nowhere else. On CUDA, Triton's kernels take
square kernels of up to seven columns and stride 1: cuDNN makes a plan for every new size of a map,
which takes longer than the training step of a detector that gets it, and PyTorch's operators read
and write the map for the convolution and for SiLU. These kernels are compiled once for all sizes;
training keeps the input alone. All else is PyTorch's convolution: larger kernels, whose weights and
sums the registers of a program do not hold, other strides, kernels along one side, maps whose
memory is channels-first, float64, and a CPU.
"""

import importlib
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import autocast_dtype
from .derivatives import differentiated_again, gradients
from .launch import DTYPES, HAS_TRITON
from .recompute import unwatched

SIDES = (1, 3, 5, 7)
"""Rows and columns of a kernel that Triton's take."""
WIDE = 7
"""From so many on a program does not keep the rows of the map that its kernel covers."""


def depthwise_conv(
    x_BCHW: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    silu: bool = False,
    stride: int = 1,
) -> Tensor:
    """`conv2d(x)` with a kernel for each channel, or its SiLU, in x's dtype or autocast's.

    The map is padded with zeros by half a kernel, so that `(B, C, H, W)` becomes
    `(B, C, ceil(H / stride), ceil(W / stride))`.

    Args:
        weight: `(C, 1, S, T)`, both sides odd; `(C, 1, S, 1)` and `(C, 1, 1, T)` are kernels along
            one side. Under autocast the kernels take it, and give its gradient, as it is.
        bias: `(C,)` or None.
        silu: apply SiLU.
        stride: from one output to the next, along both sides.

    Raises:
        ValueError: a weight of another shape, an even side, or a stride below 1.
    """
    _check(x_BCHW, weight, stride)
    if not kernels_take(x_BCHW, weight, stride):
        return _plain(x_BCHW, weight, bias, silu, stride)
    return _Fused.apply(x_BCHW.to(autocast_dtype(x_BCHW) or x_BCHW.dtype), weight, bias, silu)


def _check(x: Tensor, weight: Tensor, stride: int) -> None:
    # PyTorch's convolution takes a single map without its batch, too.
    channels = x.shape[-3] if x.dim() in (3, 4) else "C"
    if weight.dim() != 4 or weight.shape[:2] != (channels, 1):
        raise ValueError(
            f"depthwise_conv: weight is {tuple(weight.shape)} and x {tuple(x.shape)}, wanted "
            f"({channels}, 1, S, T) and (B, {channels}, H, W)"
        )
    if weight.shape[2] % 2 == 0 or weight.shape[3] % 2 == 0:
        raise ValueError(
            f"depthwise_conv: the kernel is {weight.shape[2]} x {weight.shape[3]}, wanted odd "
            "sides, which have a middle; pad the map and use F.conv2d for an even one"
        )
    if stride < 1:
        raise ValueError(f"depthwise_conv: stride is {stride}, wanted 1 or more")


def kernels_take(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether Triton's kernels exist for it, and PyTorch's convolution would take it too."""
    if not (HAS_TRITON and unwatched(x) and x.dim() == 4):
        return False
    if stride != 1 or weight.shape[2] != weight.shape[3] or weight.shape[2] not in SIDES:
        return False
    channels_last = x.stride(1) == 1
    # Where dtypes are mixed without autocast, PyTorch's convolution raises an error, and is to.
    one_dtype = x.dtype == weight.dtype or autocast_dtype(x) is not None
    known = x.dtype in DTYPES and weight.dtype in DTYPES
    return channels_last and one_dtype and known


def kernels_of(weight: Tensor) -> ModuleType:
    """The module whose `forward` and `backward` take a kernel of this size."""
    name = "wide_conv" if weight.shape[-1] >= WIDE else "depthwise_conv"
    # Late, as it needs Triton.
    return importlib.import_module(f".kernels.{name}", __package__)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool, stride: int = 1) -> Tensor:
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    y = F.conv2d(x, weight, bias, stride, padding, groups=len(weight))
    return F.silu(y) if silu else y


def plain_of_one_dtype(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    """PyTorch's convolution wants one dtype where autocast is off, as it is in a backward pass."""
    return _plain(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype), silu)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, silu):
        # Not the convolution's output, which SiLU's gradient needs: the kernel computes it again.
        ctx.save_for_backward(x, weight, bias)
        ctx.silu = silu
        return kernels_of(weight).forward(x, weight, bias, silu)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(
                lambda *x: plain_of_one_dtype(*x, ctx.silu),
                ctx.saved_tensors,
                ctx.needs_input_grad,
                grad,
            )
        wants_dx, *wants_parameters = ctx.needs_input_grad[:3]
        grads = kernels_of(ctx.saved_tensors[1]).backward(
            grad, *ctx.saved_tensors, ctx.silu, wants_dx, any(wants_parameters)
        )
        return *grads, None
