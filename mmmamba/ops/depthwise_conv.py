"""Depthwise convolution of any odd kernel, with its activation, on channels-last maps.

Which way is taken is decided in `kernels_take` and nowhere else. On CUDA, Triton's kernels take
square kernels of up to seven columns, at a stride of 2 of three to seven: cuDNN makes a plan for
every new size of a map, which takes longer than the training step of a detector that gets it, and
PyTorch's operators read and write the map for the convolution and for the activation. These kernels
are compiled once for all sizes; training keeps the input alone (at a stride also what goes into
SiLU, a quarter of that). All else is PyTorch's convolution: larger kernels, whose weights and sums
the registers of a program do not hold, other strides, kernels along one side, maps whose memory is
channels-first, float64, and a CPU.
"""

import importlib
from collections.abc import Callable
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import autocast_dtype
from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON

SIDES = {1: (1, 3, 5, 7), 2: (3, 5, 7)}
"""Rows and columns of a kernel that Triton's take, by the stride."""
WIDE = 7
"""From so many on a program does not keep the rows of the map that its kernel covers."""
ACTS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "gelu": F.gelu}
"""By the name that the kernels know them by."""


def depthwise_conv(
    x_BCHW: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    act: str | None = None,
    stride: int = 1,
    residual: bool = False,
) -> Tensor:
    """`conv2d(x)` with a kernel for each channel, or its activation, in x's dtype or autocast's.

    The map is padded with zeros by half a kernel, so that `(B, C, H, W)` becomes
    `(B, C, ceil(H / stride), ceil(W / stride))`.

    Args:
        weight: `(C, 1, S, T)`, both sides odd; `(C, 1, S, 1)` and `(C, 1, 1, T)` are kernels along
            one side. Under autocast the kernels take it, and give its gradient, as it is.
        bias: `(C,)` or None.
        act: "silu", "gelu" or None.
        stride: from one output to the next, along both sides.
        residual: add x to the convolution, before the activation; at a stride of 1.

    Raises:
        ValueError: a weight of another shape, an even side, a stride below 1, or above that with
            `residual`, another activation.
    """
    _check(x_BCHW, weight, act, stride, residual)
    if not kernels_take(x_BCHW, weight, stride, act):
        return _plain(x_BCHW, weight, bias, act, stride, residual)
    x_BCHW = x_BCHW.to(autocast_dtype(x_BCHW) or x_BCHW.dtype)
    if stride == 1:
        return _Fused.apply(x_BCHW, weight, bias, act, residual)
    return _Strided.apply(x_BCHW, weight, bias, act)


def _check(x: Tensor, weight: Tensor, act: str | None, stride: int, residual: bool) -> None:
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
    if residual and stride > 1:
        raise ValueError(f"depthwise_conv: residual wants a stride of 1, got {stride}")
    if act is not None and act not in ACTS:
        raise ValueError(f"depthwise_conv: act is {act!r}, wanted one of {[*ACTS, None]}")


def kernels_take(x: Tensor, weight: Tensor, stride: int, act: str | None = None) -> bool:
    """Whether Triton's kernels exist for it, and PyTorch's convolution would take it too."""
    if not (HAS_TRITON and unwatched(x) and x.dim() == 4):
        return False
    if weight.shape[2] != weight.shape[3] or weight.shape[2] not in SIDES.get(stride, ()):
        return False
    if act == "gelu" and (stride > 1 or weight.shape[2] >= WIDE):
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


def _plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    act: str | None,
    stride: int = 1,
    residual: bool = False,
) -> Tensor:
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    y = F.conv2d(x, weight, bias, stride, padding, groups=len(weight))
    if residual:
        y = x + y
    return ACTS[act](y) if act else y


def plain_of_one_dtype(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    act: str | None,
    stride: int = 1,
    residual: bool = False,
) -> Tensor:
    """PyTorch's convolution wants one dtype where autocast is off, as it is in a backward pass."""
    bias = None if bias is None else bias.to(x.dtype)
    return _plain(x, weight.to(x.dtype), bias, act, stride, residual)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, act, residual=False):
        # Not the convolution's output, which the activation's gradient needs: the kernel computes
        # it again.
        ctx.save_for_backward(x, weight, bias)
        ctx.act, ctx.residual = act, residual
        return kernels_of(weight).forward(x, weight, bias, act, residual)

    @staticmethod
    def backward(ctx, grad):
        given, act, residual = ctx.saved_tensors, ctx.act, ctx.residual
        if differentiated_again(grad):
            return gradients(
                lambda *x: plain_of_one_dtype(*x, act, 1, residual),
                given,
                ctx.needs_input_grad,
                grad,
            )
        wants_dx, *wants_parameters = ctx.needs_input_grad[:3]
        wants = (wants_dx, any(wants_parameters))
        return *kernels_of(given[1]).backward(grad, *given, act, *wants, residual), None, None


class _Strided(torch.autograd.Function):
    """At a stride of 2."""

    @staticmethod
    def forward(ctx, x, weight, bias, act):
        from .kernels.strided_conv import forward

        y, before = forward(x, weight, bias, act == "silu", any(ctx.needs_input_grad))
        ctx.save_for_backward(x, weight, bias, before)
        ctx.act = act
        return y

    @staticmethod
    def backward(ctx, grad):
        *given, before = ctx.saved_tensors
        if differentiated_again(grad):
            return gradients(
                lambda *x: plain_of_one_dtype(*x, ctx.act, 2), given, ctx.needs_input_grad, grad
            )
        from .kernels.strided_conv import backward

        wants_dx, *wants_parameters = ctx.needs_input_grad[:3]
        return *backward(grad, *given, before, wants_dx, any(wants_parameters)), None
