"""Bilinear resizing whose gradient is two products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .tf32 import float32_products


def resize_bilinear(x: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """`F.interpolate(x, size, mode="bilinear")`, with another backward pass on a GPU.

    PyTorch's adds each gradient to four numbers there by atomic operations, in another order each
    time, and takes fifty times as long as reading the gradients does. This one takes sums in a
    fixed order, in float32.

    Args:
        x: `(N, C, H, W)`.
        size: height and width to come to.

    Returns:
        `(N, C, *size)` in the dtype of `x`. It can be differentiated once.
    """
    if x.is_cuda:
        return _Resize.apply(x, tuple(size), align_corners)
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=align_corners)


class _Resize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
        ctx.sides, ctx.align_corners, ctx.dtype = x.shape[2:], align_corners, x.dtype
        return F.interpolate(x, size, mode="bilinear", align_corners=align_corners)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows_HY, columns_WX = (
            _weights(before, after, ctx.align_corners, gradient.device)
            for before, after in zip(ctx.sides, gradient.shape[2:])
        )
        with torch.autocast(gradient.device.type, enabled=False), float32_products(tf32=False):
            # The columns first: most is read once.
            narrow_NCYW = gradient.float() @ columns_WX.T
            found = rows_HY @ narrow_NCYW
        return found.to(ctx.dtype), None, None


@lru_cache(maxsize=64)
def _weights(before: int, after: int, align_corners: bool, device: torch.device) -> Tensor:
    """How much each of `after` points takes from each of `before`, `(before, after)`."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        points = torch.eye(before, device=device)[None]
        return F.interpolate(points, after, mode="linear", align_corners=align_corners)[0]
