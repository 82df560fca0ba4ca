"""LayerNorm, of groups of channels each by itself, times a gate, as one step.

Mixers that work side by side on groups of channels (GroupMamba, arXiv 2407.13772) each normalise
their own and multiply it with Mamba's gate; VSSD's (arXiv 2407.18559) has one group, and a gate
without an activation. On CUDA one kernel does that for all groups: it reads both maps once and
writes what the projection after it takes, where PyTorch's operators write four maps; training keeps
the two inputs alone. Elsewhere, and for float64, it is PyTorch's operators.

Shape suffixes: C = G E channels, G groups of E.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .derivatives import differentiated_again, gradients, unwatched
from .launch import DTYPES, HAS_TRITON

MAX_ELEMENTS = 8192
"""A kernel holds all groups of a position in registers."""


def norm_gate(
    y: Tensor,
    z: Tensor,
    weight_C: Tensor,
    bias_C: Tensor,
    groups: int = 1,
    eps: float = 1e-5,
    silu: bool = True,
) -> Tensor:
    """`layer_norm(y) * silu(z)`, of each group by itself, `(…, C)` in z's dtype.

    It is computed in float32 at least.

    Args:
        y, z: `(…, C)`.
        weight_C, bias_C: of all groups' norms, one after the other.
        silu: False for a gate that is z itself.

    Raises:
        ValueError: shapes that do not fit, or groups that do not divide the channels.
    """
    C = y.shape[-1]
    if y.shape != z.shape or C % groups or not weight_C.shape == bias_C.shape == (C,):
        raise ValueError(
            f"norm_gate: y is {tuple(y.shape)}, z {tuple(z.shape)}, weight "
            f"{tuple(weight_C.shape)}, bias {tuple(bias_C.shape)}, wanted maps of one shape whose "
            f"channels are divisible by {groups}, and as many weights"
        )
    # The kernels know a stride of positions only: channels must lie side by side.
    fused = (
        HAS_TRITON
        and unwatched(y)
        and {y.dtype, z.dtype} <= set(DTYPES)
        and y.stride(-1) == z.stride(-1) == 1
        and C <= MAX_ELEMENTS
    )
    return (_Fused.apply if fused else _plain)(y, z, weight_C, bias_C, groups, eps, silu)


def _plain(
    y: Tensor,
    z: Tensor,
    weight_C: Tensor,
    bias_C: Tensor,
    groups: int,
    eps: float,
    silu: bool,
) -> Tensor:
    dtype = torch.promote_types(y.dtype, torch.float32)
    y_GE = y.to(dtype).unflatten(-1, (groups, -1))
    normed = F.layer_norm(y_GE, y_GE.shape[-1:], eps=eps).flatten(-2)
    gate = F.silu(z) if silu else z
    return (torch.addcmul(bias_C.to(dtype), normed, weight_C.to(dtype)) * gate).to(z.dtype)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, z, weight_C, bias_C, groups, eps, silu):
        from .kernels.norm_gate import forward

        ctx.save_for_backward(y, z, weight_C, bias_C)
        ctx.options = groups, eps, silu
        return forward(y, z, weight_C, bias_C, *ctx.options)

    @staticmethod
    def backward(ctx, grad):
        if differentiated_again(grad):
            return gradients(
                lambda *tensors: _plain(*tensors, *ctx.options),
                ctx.saved_tensors,
                ctx.needs_input_grad,
                grad,
            ) + (None, None, None)
        from .kernels.norm_gate import backward

        return *backward(grad, *ctx.saved_tensors, *ctx.options), None, None, None
