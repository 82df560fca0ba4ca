"""The sum of a matrix over its rows, as the gradient of a linear layer's bias.

PyTorch's reduction takes up to thirteen times as long as the memory for the long and narrow
matrices of vision.
"""

from torch import Tensor

from .launch import DTYPES, HAS_TRITON

LARGE = 2**20
"""Elements from which the kernel and the sum of its parts take less time than one reduction."""


def sum_rows(x_RC: Tensor) -> Tensor:
    """`x.sum(0)`, for backward passes: it has no derivative of its own on CUDA."""
    large = x_RC.is_cuda and x_RC.numel() >= LARGE
    if not (HAS_TRITON and large and x_RC.is_contiguous() and x_RC.dtype in DTYPES):
        return x_RC.sum(0)
    from .kernels.sum_rows import sum_rows as launched

    return launched(x_RC)
