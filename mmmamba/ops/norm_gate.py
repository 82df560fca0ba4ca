"""LayerNorm, then the product with a gate that has no activation (VSSD)."""

import torch.nn.functional as F
from torch import Tensor

from .autocast import full_precision, no_autocast


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
    return _plain(y, gate, weight, bias, eps)


def _plain(y: Tensor, gate: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    with no_autocast(y):
        y, weight, bias = full_precision(y), full_precision(weight), full_precision(bias)
        return (F.layer_norm(y, y.shape[-1:], weight.to(y.dtype), bias.to(y.dtype), eps) * gate).to(
            gate.dtype
        )
