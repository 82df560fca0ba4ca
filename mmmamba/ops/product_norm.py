"""LayerNorm of a product: of two maps, and of a factor for each channel of an image.

What modulates a map and is normalised at once (GroupMamba, arXiv 2407.13772) need not be written.
On CUDA one kernel reads both maps once and writes the norm alone; the way back is one too, and
training keeps the two maps. Elsewhere, and for float64, it is PyTorch's operators.

Shape suffixes: B images, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON
from .layer_norm import MAX_WIDTH, output_dtype


def product_norm(
    x: Tensor, y: Tensor, factor_BC: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5
) -> Tensor:
    """`layer_norm(x * y * factor)` over the last dimension, for linear layers to take.

    It is computed in float32 at least, and returned in autocast's dtype or else in x's.

    Args:
        x, y: `(B, …, C)`.
        factor_BC: one for each channel of an image.
        weight, bias: `(C,)`.

    Raises:
        ValueError: shapes that do not fit.
    """
    wanted = (x.shape[0], x.shape[-1])
    fits = x.shape == y.shape and factor_BC.shape == wanted
    if not (fits and weight.shape == bias.shape == wanted[1:]):
        raise ValueError(
            f"product_norm: x is {tuple(x.shape)}, y {tuple(y.shape)}, factor "
            f"{tuple(factor_BC.shape)}, weight {tuple(weight.shape)}, bias {tuple(bias.shape)}, "
            f"wanted maps of one shape, a factor {wanted} and parameters {wanted[1:]}"
        )
    out_dtype = output_dtype(x, x.dtype, True)
    fused = (
        HAS_TRITON and unwatched(x) and {x.dtype, y.dtype} <= set(DTYPES) and wanted[1] <= MAX_WIDTH
    )
    return (_Fused.apply if fused else _plain)(x, y, factor_BC, weight, bias, eps, out_dtype)


def _plain(
    x: Tensor,
    y: Tensor,
    factor_BC: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    out_dtype: torch.dtype,
) -> Tensor:
    dtype = torch.promote_types(x.dtype, torch.float32)
    factor = factor_BC.to(dtype).view(x.shape[0], *[1] * (x.dim() - 2), -1)
    product = x.to(dtype) * y * factor
    normed = F.layer_norm(product, weight.shape, weight.to(dtype), bias.to(dtype), eps)
    return normed.to(out_dtype)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        from .kernels.product_norm import forward

        *tensors, ctx.eps, ctx.out_dtype = inputs
        ctx.save_for_backward(*tensors)
        return forward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            grads = gradients(
                lambda *tensors: _plain(*tensors, ctx.eps, ctx.out_dtype),
                ctx.saved_tensors,
                ctx.needs_input_grad,
                grad,
            )
        else:
            from .kernels.product_norm import backward

            grads = backward(grad, *ctx.saved_tensors, ctx.eps)
        return *grads, None, None
