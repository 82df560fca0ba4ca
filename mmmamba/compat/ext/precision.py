"""The one rule for dtypes: float64 stays, everything else is computed in float32."""

import torch
from torch import Tensor


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any tensor is float64, else float32.

    torchvision lacks half on a CPU and bfloat16 everywhere.
    """
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def widen(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors, contiguous and in their common working dtype."""
    dtype = working_dtype(*tensors)
    return tuple(t.to(dtype).contiguous() for t in tensors)
