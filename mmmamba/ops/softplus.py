"""Softplus from operators that exporters know, and runtimes have fast kernels for."""

import torch
from torch import Tensor


def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))`, as exact as PyTorch's for any x.

    `log(1 + e)` loses the digits of a small e; what the sum was rounded by is put back (Kahan).
    Inductor's `log1p` goes number by number on a CPU, and onnxruntime's `Softplus` is as slow: each
    would take most of a scan's time.
    """
    small = torch.exp(-x.abs())
    total = 1.0 + small
    # Divided by the sum it would be more exact still, where its logarithm is large already.
    return x.relu() + (torch.log(total) - ((total - 1.0) - small))
