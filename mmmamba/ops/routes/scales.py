"""Routes over several scales of the map."""

import torch
from torch import Tensor

from .lines import ordered, places
from .registry import register_route


@register_route("hierarchical", exact=True)
def hierarchical(height: int, width: int) -> Tensor:
    """Coarse to fine: each grid of 2^n-th rows and columns before the next fills its gaps.

    A position belongs to the coarsest grid that has it; each grid is walked row by row.
    """
    row_L, column_L = places(height, width)
    both_L = row_L | column_L
    # The lowest set bit is the largest power of two that divides both; the top left position is on
    # every grid.
    step_L = torch.where(both_L == 0, height * width, both_L & -both_L)
    return ordered(-step_L, torch.arange(height * width))
