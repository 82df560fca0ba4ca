"""An activation before a linear layer, computed again in the backward pass instead of kept.

Autograd keeps both sides of an activation. In a feed-forward layer these are the largest tensors of
a block, and computing the one from the other takes a fraction of the time of the products around it
(the idea of arXiv 1604.06174, for single operators). Used on a GPU where gradients are wanted; a
compiler makes this choice by itself.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import autocast_dtype
from .derivatives import differentiated_again, gradients, transformed, watched

aten = torch.ops.aten


def unwatched(x: Tensor) -> bool:
    """Whether x is on a GPU, without a compiler, a counter of operators or a transform.

    Those want to see every operator as it is.
    """
    return x.is_cuda and not watched()


def recompute_pays(x: Tensor) -> bool:
    """Whether `gelu_linear` of x saves memory that nobody else saves."""
    return torch.is_grad_enabled() and unwatched(x)


def gelu_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, approximate: str = "none"
) -> Tensor:
    """`linear(gelu(x))`, `(..., C)` to `(..., D)` with weight `(D, C)`, keeping x alone."""
    low = autocast_dtype(x)
    if low is not None:
        # An autograd function's inside does not see autocast, so its inputs are cast before it.
        x, weight = x.to(low), weight.to(low)
        bias = None if bias is None else bias.to(low)
    if transformed():
        return _plain(x, weight, bias, approximate)
    return _GeluLinear.apply(x, weight, bias, approximate)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, approximate: str) -> Tensor:
    return F.linear(F.gelu(x, approximate=approximate), weight, bias)


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, approximate):
        ctx.save_for_backward(x, weight, bias)
        ctx.approximate = approximate
        return _plain(x, weight, bias, approximate)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(
                lambda *x: _plain(*x, ctx.approximate),
                ctx.saved_tensors,
                ctx.needs_input_grad,
                grad,
            )
        x, weight, bias = ctx.saved_tensors
        grad_RD = grad.flatten(0, -2)
        dx = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dactivated = (grad_RD @ weight).view(x.shape)
            dx = aten.gelu_backward(dactivated, x, approximate=ctx.approximate)
        # The activation is computed again for the weight alone; a frozen one does without.
        if ctx.needs_input_grad[1]:
            activated_RC = F.gelu(x, approximate=ctx.approximate).flatten(0, -2)
            dweight = grad_RD.t() @ activated_RC
        if bias is not None and ctx.needs_input_grad[2]:
            dbias = grad_RD.sum(0)
        return dx, dweight, dbias, None
