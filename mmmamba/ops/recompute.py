"""An activation before a linear layer, computed again in the backward pass instead of kept.

Autograd keeps both sides of an activation. In a feed-forward layer these are the largest tensors of
a block, and computing the one from the other takes a fraction of the time of the products around it
(the idea of arXiv 1604.06174, for single operators). Used on a GPU where gradients are wanted; a
compiler makes this choice by itself.

On CUDA one kernel of the backward pass reads what goes into the activation and the gradient of what
comes out, and writes the other two; in a whole feed-forward layer it adds up the gradient of the
first layer's bias as well. Elsewhere, and for float64, these are PyTorch's operators.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .aligned import input_gradient, linear, weight_gradient
from .autocast import autocast_dtype
from .derivatives import differentiated_again, gradients, transformed, unwatched
from .launch import DTYPES, HAS_TRITON
from .sum_rows import sum_rows

aten = torch.ops.aten


def recompute_pays(x: Tensor) -> bool:
    """Whether `gelu_linear` or `gelu_mlp` of x saves memory that nobody else saves."""
    return torch.is_grad_enabled() and unwatched(x)


def gelu_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, approximate: str = "none"
) -> Tensor:
    """`linear(gelu(x))`, `(..., C)` to `(..., D)` with weight `(D, C)`, keeping x alone."""
    x, weight, bias = _as_autocast(x, weight, bias)
    if transformed():
        return _plain_linear(x, weight, bias, approximate)
    return _GeluLinear.apply(x, weight, bias, approximate)


def gelu_mlp(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    bias2: Tensor | None,
    approximate: str = "none",
) -> Tensor:
    """`linear2(gelu(linear1(x)))`, keeping x and what the first layer returns.

    Args:
        x: `(..., A)`.
        weight1, bias1: `(C, A)`, and `(C,)` or None.
        weight2, bias2: `(D, C)`, and `(D,)` or None.
        approximate: "none" or "tanh", as `F.gelu` takes it.
    """
    given = _as_autocast(x, weight1, bias1, weight2, bias2)
    if transformed():
        return _plain_mlp(given, approximate)
    return _GeluMlp.apply(*given, approximate)


def _as_autocast(x: Tensor, *parameters: Tensor | None) -> list[Any]:
    # An autograd function's inside does not see autocast, so its inputs are cast before it.
    low = autocast_dtype(x)
    if low is None:
        return [x, *parameters]
    return [x.to(low), *[p if p is None else p.to(low) for p in parameters]]


def _plain_linear(x: Tensor, weight: Tensor, bias: Tensor | None, approximate: str) -> Tensor:
    return linear(F.gelu(x, approximate=approximate), weight, bias)


def _plain_mlp(given: Sequence[Any], approximate: str) -> Tensor:
    x, weight1, bias1, weight2, bias2 = given
    return _plain_linear(linear(x, weight1, bias1), weight2, bias2, approximate)


class _Linear(NamedTuple):
    """`gelu_linear`'s inputs."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None


class _Gradients(NamedTuple):
    """Gradients of the same inputs, None for what is not wanted or not there."""

    x: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    sums: Tensor | None = None
    """x's gradient added up over rows, `(C,)`."""


def _backward(
    grad_RD: Tensor,
    given: _Linear,
    approximate: str,
    wants: tuple[bool, ...],
    wants_sums: bool = False,
) -> _Gradients:
    """Gradients of a `gelu_linear`.

    Args:
        wants: that of x, weight and bias.
        wants_sums: x's, summed over rows, too.
    """
    x, weight, bias = given
    wants_dx, wants_dweight, wants_dbias = wants
    dx = activated = sums = None
    if wants_dx or wants_sums:
        dactivated = input_gradient(grad_RD, weight).view(x.shape)
        if wants_dweight and _kernel_takes(x, dactivated):
            from .kernels.gelu import backward

            dx, activated, sums = backward(dactivated, x, approximate == "tanh", wants_sums)
        else:
            dx = aten.gelu_backward(dactivated, x, approximate=approximate)
            sums = sum_rows(dx.flatten(0, -2)) if wants_sums else None
    dweight = None
    # The activation is computed again for the weight alone; a frozen one does without.
    if wants_dweight:
        if activated is None:
            activated = F.gelu(x, approximate=approximate)
        dweight = weight_gradient(grad_RD, activated.flatten(0, -2))
    dbias = sum_rows(grad_RD) if wants_dbias and bias is not None else None
    return _Gradients(dx, dweight, dbias, sums)


def _kernel_takes(x: Tensor, dactivated: Tensor) -> bool:
    return HAS_TRITON and x.is_cuda and x.dtype in DTYPES and x.dtype == dactivated.dtype


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, approximate):
        ctx.save_for_backward(x, weight, bias)
        ctx.approximate = approximate
        return _plain_linear(x, weight, bias, approximate)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(
                lambda *x: _plain_linear(*x, ctx.approximate),
                ctx.saved_tensors,
                ctx.needs_input_grad,
                grad,
            )
        given, wants = _Linear(*ctx.saved_tensors), ctx.needs_input_grad[:3]
        found = _backward(grad.flatten(0, -2), given, ctx.approximate, wants)
        return found.x, found.weight, found.bias, None


class _GeluMlp(torch.autograd.Function):
    """One function for both layers, as the kernel between them adds up a gradient of the first."""

    @staticmethod
    def forward(ctx, x, weight1, bias1, weight2, bias2, approximate):
        wide = linear(x, weight1, bias1)
        ctx.save_for_backward(x, weight1, bias1, weight2, bias2, wide)
        ctx.approximate = approximate
        return _plain_linear(wide, weight2, bias2, approximate)

    @staticmethod
    def backward(ctx, grad):
        *given, wide = ctx.saved_tensors
        if differentiated_again(grad):
            return gradients(
                lambda *x: _plain_mlp(x, ctx.approximate), given, ctx.needs_input_grad, grad
            )
        x, weight1, bias1, weight2, bias2 = given
        wants_dx, wants_dweight1, wants_dbias1, *wants_second = ctx.needs_input_grad[:5]
        wants_dwide = wants_dx or wants_dweight1
        second = _backward(
            grad.flatten(0, -2),
            _Linear(wide, weight2, bias2),
            ctx.approximate,
            (wants_dwide, *wants_second),
            wants_dbias1 and bias1 is not None,
        )
        dx = dweight1 = None
        if second.x is not None:
            dwide_RC = second.x.flatten(0, -2)
            if wants_dx:
                dx = input_gradient(dwide_RC, weight1).view(x.shape)
            if wants_dweight1:
                dweight1 = weight_gradient(dwide_RC, x.flatten(0, -2))
        return dx, dweight1, second.sums, second.weight, second.bias, None
