"""The residual sum with a branch that is multiplied by a factor for each image (drop path).

On CUDA it is one kernel each way. PyTorch's operators write the product and read it again, and on
the way back the gradient in the branch's dtype.
"""

import torch
from torch import Tensor

from .derivatives import differentiated_again, unwatched
from .launch import DTYPES, HAS_TRITON


def add_scaled(x: Tensor, branch: Tensor, factor_B: Tensor) -> Tensor:
    """`x + branch * factor`, `(B, ...)`, each image multiplied by its factor.

    Rounded where the product and the sum are. In float32 a GPU may round both at once.

    Args:
        factor_B: of the branch's dtype; it gets no gradient.
    """
    takes = HAS_TRITON and unwatched(x) and _alike(x, branch) and not factor_B.requires_grad
    known = x.dtype in DTYPES and branch.dtype in DTYPES
    if not (takes and known):
        return x + scaled(branch, factor_B)
    return _AddScaled.apply(x, branch, factor_B)


def scaled(x: Tensor, factor_B: Tensor) -> Tensor:
    """`(B, ...)`, each image multiplied by its factor."""
    return x * factor_B.view(-1, *[1] * (x.dim() - 1))


def _alike(x: Tensor, other: Tensor) -> bool:
    """Whether both lie in memory in one order, image after image and without gaps."""
    if x.shape != other.shape:
        return False
    whole = x.is_contiguous() and other.is_contiguous()
    return whole or (_channels_last(x) and _channels_last(other))


def _channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


class _AddScaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, branch, factor_B):
        from .kernels.add_scaled import forward

        ctx.save_for_backward(factor_B)
        ctx.dtypes = x.dtype, branch.dtype
        return forward(x, branch, factor_B)

    @staticmethod
    def backward(ctx, grad):
        (factor_B,), (x_dtype, branch_dtype) = ctx.saved_tensors, ctx.dtypes
        dx = grad.to(x_dtype) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return dx, None, None
        # The gradient of a `sum`, for one, is a single number expanded.
        if differentiated_again(grad) or not _alike(grad, grad):
            return dx, scaled(grad.to(branch_dtype), factor_B), None
        from .kernels.add_scaled import backward

        return dx, backward(grad, factor_B, branch_dtype), None
