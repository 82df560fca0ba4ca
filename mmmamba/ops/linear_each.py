"""Linear layers side by side, each of its own inputs.

A batch of products computes them well. Not so the gradients of the weights: each sums over all
positions into few numbers, for which a plain product is cut along its sum and spread over the card,
and a product of a batch is not. So these are products of their own.

Shape suffixes: B batch, L positions, P = B L, K layers, E inputs and X outputs of a layer, J parts
of these outputs.
"""

import torch
from torch import Tensor

from .autocast import autocast_dtype
from .derivatives import differentiated_again, gradients, unwatched
from .linear import linear


def linear_each(u_BLKE: Tensor, weight_KXE: Tensor) -> Tensor:
    """`(B, L, K, X)`: `linear(u[:, :, k], weight[k])` for each k, in autocast's dtype."""
    low = autocast_dtype(u_BLKE)
    if low is not None:
        # An autograd function's inside does not see autocast, so its inputs are cast before it.
        u_BLKE, weight_KXE = u_BLKE.to(low), weight_KXE.to(low)
    call = _Each.apply if unwatched(u_BLKE) else _plain
    return call(u_BLKE, weight_KXE)


def grouped_linear(x_BLD: Tensor, weight_KJXE: Tensor) -> Tensor:
    """`(B, L, J K X)`: a layer for each group of E of the D = K E channels, `(B, L, D)`.

    Part by part: the j-th of all groups lie side by side.
    """
    if x_BLD.is_cuda:
        # One product, K times the arithmetic of K thin ones: these read and write at odd strides,
        # and of such narrow maps a product waits for memory, not for arithmetic.
        return linear(x_BLD, block_diagonal(weight_KJXE))
    J = weight_KJXE.shape[1]
    u_BLKE = x_BLD.unflatten(-1, (len(weight_KJXE), -1))
    y_BLKJX = linear_each(u_BLKE, weight_KJXE.flatten(1, 2)).unflatten(-1, (J, -1))
    return y_BLKJX.transpose(2, 3).flatten(2)


def block_diagonal(weight_KJXE: Tensor) -> Tensor:
    """The one weight `(J K X, K E)` that does what the groups' do."""
    weight_JKXKE = torch.diag_embed(weight_KJXE.permute(1, 2, 3, 0), dim1=1, dim2=3)
    return weight_JKXKE.flatten(3).flatten(0, 2)


def _plain(u_BLKE: Tensor, weight_KXE: Tensor) -> Tensor:
    u_KPE = u_BLKE.flatten(0, 1).transpose(0, 1)
    y_KPX = torch.bmm(u_KPE, weight_KXE.transpose(1, 2))
    return y_KPX.transpose(0, 1).unflatten(0, u_BLKE.shape[:2])


class _Each(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u_BLKE, weight_KXE):
        ctx.save_for_backward(u_BLKE, weight_KXE)
        return _plain(u_BLKE, weight_KXE)

    @staticmethod
    def backward(ctx, grad_BLKX):
        if differentiated_again(grad_BLKX):
            return gradients(_plain, ctx.saved_tensors, ctx.needs_input_grad, grad_BLKX)
        u_BLKE, weight_KXE = ctx.saved_tensors
        u_PKE, grad_PKX = u_BLKE.flatten(0, 1), grad_BLKX.flatten(0, 1)
        du_BLKE = dweight_KXE = None
        if ctx.needs_input_grad[0]:
            # In the order in which the inputs lie, as another gradient of theirs is added to it.
            du_PKE = torch.empty(u_PKE.shape, dtype=u_PKE.dtype, device=u_PKE.device)
            torch.bmm(grad_PKX.transpose(0, 1), weight_KXE, out=du_PKE.transpose(0, 1))
            du_BLKE = du_PKE.view(u_BLKE.shape)
        if ctx.needs_input_grad[1]:
            dweight_KXE = torch.empty_like(weight_KXE, memory_format=torch.contiguous_format)
            for k, dweight_XE in enumerate(dweight_KXE):
                torch.mm(grad_PKX[:, k].t(), u_PKE[:, k], out=dweight_XE)
        return du_BLKE, dweight_KXE
