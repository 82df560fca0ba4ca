"""A linear layer, and the split of its output into heads, that go back in few passes.

PyTorch adds up the gradient of a bias slowly, and joins the gradients of queries, keys and values
in one copy and lays them out for the product in another.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import aligned
from .autocast import autocast_dtype
from .derivatives import differentiated_again, gradients, unwatched
from .recompute import recompute_pays
from .sum_rows import sum_rows


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, on a GPU with fast kernels for widths that are no multiple of 8, too.

    Its backward pass adds the bias's gradient up by `sum_rows`.
    """
    of_bias = bias is not None and torch.is_grad_enabled()
    # A vector is no matrix product.
    if x.dim() < 2 or not unwatched(x) or not (of_bias or aligned.is_odd(*weight.shape)):
        return F.linear(x, weight, bias)
    low = autocast_dtype(x)
    if low is not None:
        # An autograd function's inside does not see autocast, so its inputs are cast before it.
        x, weight = x.to(low), weight.to(low)
        bias = None if bias is None else bias.to(low)
    return _Linear.apply(x, weight, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight, bias)
        return aligned.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(F.linear, ctx.saved_tensors, ctx.needs_input_grad, grad)
        x, weight, _ = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        grad_RD = grad.flatten(0, -2)
        dx = aligned.input_gradient(grad_RD, weight).view(x.shape) if of_x else None
        dweight = aligned.weight_gradient(grad_RD, x.flatten(0, -2)) if of_weight else None
        return dx, dweight, sum_rows(grad_RD) if of_bias else None


def split_heads(qkv_BLX: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, `(B, heads, L, E)` each, of `(B, L, 3 heads E)`, as views."""
    if recompute_pays(qkv_BLX):
        return _SplitHeads.apply(qkv_BLX, heads)
    return _views(qkv_BLX, heads)


def _views(qkv_BLX: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = qkv_BLX.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return q, k, v


class _SplitHeads(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv_BLX, heads):
        return _views(qkv_BLX, heads)

    @staticmethod
    def backward(ctx, *grads_BHLE):
        B, H, L, E = grads_BHLE[0].shape
        if differentiated_again(grads_BHLE[0]):
            joint_BL3HE = torch.stack([grad.transpose(1, 2) for grad in grads_BHLE], 2)
            return joint_BL3HE.reshape(B, L, 3 * H * E), None
        joint_BL3HE = grads_BHLE[0].new_empty(B, L, 3, H, E)
        # Each is copied once, to where the product reads it.
        for slot_BLHE, grad in zip(joint_BL3HE.unbind(2), grads_BHLE):
            slot_BLHE.copy_(grad.transpose(1, 2))
        return joint_BL3HE.view(B, L, 3 * H * E), None
