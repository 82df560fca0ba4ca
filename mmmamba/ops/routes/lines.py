"""Routes along straight lines of the map."""

import torch
from torch import Tensor

from .registry import register_route


def grid(height: int, width: int) -> Tensor:
    """Every position at its place, `(H, W)`."""
    return torch.arange(height * width).view(height, width)


def places(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Row and column of every position, `(L,)` each."""
    position_L = torch.arange(height * width)
    return position_L // width, position_L % width


def ordered(first_L: Tensor, then_L: Tensor) -> Tensor:
    """The positions by an integer key, ties by another key, further ties row by row."""
    # One key of both: the second one's range is the step of the first. A stable sort leaves ties in
    # row-major order.
    return (first_L * (then_L.max() - then_L.min() + 1) + then_L).argsort(stable=True)


@register_route("row", exact=True)
def row(height: int, width: int) -> Tensor:
    """Row after row: the plain sequence (Vim's forward direction, VMamba's first)."""
    return grid(height, width).flatten()


@register_route("column", exact=True)
def column(height: int, width: int) -> Tensor:
    """Column after column (VMamba, arXiv 2401.10166, figure 2)."""
    return grid(height, width).t().flatten()


@register_route("snake", exact=True)
def snake(height: int, width: int) -> Tensor:
    """Rows, every other one from right to left, so that each step goes to a neighbour.

    (PlainMamba, arXiv 2403.17695.)
    """
    rows = grid(height, width)
    rows[1::2] = rows[1::2].flip(1)
    return rows.flatten()


@register_route("snake_column", exact=True)
def snake_column(height: int, width: int) -> Tensor:
    """Columns, every other one from the bottom up."""
    columns = grid(height, width).t().clone()
    columns[1::2] = columns[1::2].flip(1)
    return columns.flatten()


@register_route("diagonal", exact=True)
def diagonal(height: int, width: int) -> Tensor:
    """Diagonals from the bottom left corner to the top right one, each walked down and right."""
    row_L, column_L = places(height, width)
    return ordered(column_L - row_L, row_L)


@register_route("antidiagonal", exact=True)
def antidiagonal(height: int, width: int) -> Tensor:
    """Antidiagonals from the top left corner to the bottom right one, each walked down and left."""
    row_L, column_L = places(height, width)
    return ordered(column_L + row_L, row_L)


@register_route("zigzag", exact=True)
def zigzag(height: int, width: int) -> Tensor:
    """Antidiagonals walked down and up by turns, as JPEG orders its coefficients (ITU-T T.81)."""
    row_L, column_L = places(height, width)
    line_L = row_L + column_L
    return ordered(line_L, torch.where(line_L % 2 == 1, row_L, -row_L))
