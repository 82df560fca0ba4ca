"""Routes along straight lines of the map."""

import torch
from torch import Tensor

from .registry import register_route


def grid(height: int, width: int) -> Tensor:
    """Every position at its place, `(H, W)`."""
    return torch.arange(height * width).view(height, width)


@register_route("row", exact=True)
def row(height: int, width: int) -> Tensor:
    """Row after row: the plain sequence (Vim's forward direction, VMamba's first)."""
    return grid(height, width).flatten()


@register_route("column", exact=True)
def column(height: int, width: int) -> Tensor:
    """Column after column (VMamba, arXiv 2401.10166, figure 2)."""
    return grid(height, width).t().flatten()
