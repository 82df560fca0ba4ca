"""LayerNorm, then the product with a gate that has no activation (VSSD).

On CUDA one kernel reads both once and writes what the projection after it takes, where PyTorch's
operators write the norm in float32 in between; training keeps the two inputs alone. Elsewhere it is
PyTorch's operators.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .autocast import full_precision, no_autocast
from .derivatives import differentiated_again, gradients
from .launch import DTYPES, HAS_TRITON
from .layer_norm import MAX_WIDTH
from .recompute import unwatched


def norm_gate(y: Tensor, gate: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """`layer_norm(y) * gate` over the last dimension, computed in float32, in the gate's dtype.

    Args:
        y, gate: `(..., C)`; y may be float32 where the gate is not.
        weight, bias: `(C,)`.

    Raises:
        ValueError: shapes that do not fit.
    """
    if y.shape != gate.shape or weight.shape != y.shape[-1:] or bias.shape != y.shape[-1:]:
        raise ValueError(
            f"norm_gate: y is {tuple(y.shape)}, the gate {tuple(gate.shape)}, weight "
            f"{tuple(weight.shape)} and bias {tuple(bias.shape)}, wanted (..., C) twice and (C,) "
            "twice"
        )
    # The kernels know one stride, from row to row.
    known = y.dtype in DTYPES and gate.dtype in DTYPES and y.shape[-1] <= MAX_WIDTH
    if HAS_TRITON and unwatched(y) and known:
        y_RC, gate_RC = (_side_by_side(x.flatten(0, -2)) for x in (y, gate))
        return _Fused.apply(y_RC, gate_RC, weight, bias, eps).view(gate.shape)
    return _plain(y, gate, weight, bias, eps)


def _side_by_side(x_RC: Tensor) -> Tensor:
    return x_RC if x_RC.stride(1) == 1 else x_RC.contiguous()


def _plain(y: Tensor, gate: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    with no_autocast(y):
        y = full_precision(y)
        normed = F.layer_norm(y, y.shape[-1:], weight.to(y.dtype), bias.to(y.dtype), eps)
        return (normed * gate).to(gate.dtype)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, gate, weight, bias, eps):
        from .kernels.norm_gate import forward

        ctx.save_for_backward(y, gate, weight, bias)
        ctx.eps = eps
        return forward(y, gate, weight, bias, eps)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            given, wants = ctx.saved_tensors, ctx.needs_input_grad[:4]
            return *gradients(lambda *x: _plain(*x, ctx.eps), given, wants, grad), None
        from .kernels.norm_gate import backward

        return *backward(grad, *ctx.saved_tensors, ctx.eps), None
