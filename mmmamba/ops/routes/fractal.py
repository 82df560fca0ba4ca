"""Hilbert's curve from corner to corner, its turned copy, and both moved around the map.

The curve of FractalMamba's picture (arXiv 2405.14480). How its authors walk sides that are no
powers of two, and by how much their "shifting operation" moves the curve, could not be read: the
first is `corner_to_corner`, the second are two proposals of ours.
"""

from torch import Tensor

from .hilbert import corner_to_corner, want_numbers
from .lines import grid
from .registry import register_route


@register_route("fractal_curve", exact=True)
def fractal_curve(height: int, width: int) -> Tensor:
    """From the bottom left corner to the bottom right one, each step to a neighbour.

    One step is diagonal where the width is odd and the height even. A single column is walked up.

    Raises:
        ValueError: the sides are symbols of a tracer.
    """
    want_numbers("fractal_curve", height, width)
    walk = corner_to_corner(width, height)
    return (height - 1 - walk.cross) * width + walk.main


@register_route("fractal_curve_column", exact=True)
def fractal_curve_column(height: int, width: int) -> Tensor:
    """That of the transposed map: from the top right corner to the bottom right one."""
    return grid(height, width).t().flatten()[fractal_curve(width, height)]


def moved(order_T: Tensor, height: int, width: int, rows: int, columns: int) -> Tensor:
    """A route moved down and right over the map, around whose edges it comes back."""
    row_T, column_T = order_T // width + rows, order_T % width + columns
    return row_T % height * width + column_T % width


@register_route("fractal_curve_shifted", exact=True)
def fractal_curve_shifted(height: int, width: int) -> Tensor:
    """Moved by a cell down and right.

    Cells of a quarter, at every scale, then have neighbours of the next one among them.
    """
    return moved(fractal_curve(height, width), height, width, 1, 1)


@register_route("fractal_curve_column_shifted", exact=True)
def fractal_curve_column_shifted(height: int, width: int) -> Tensor:
    """That of the transposed map, moved by a cell."""
    return moved(fractal_curve_column(height, width), height, width, 1, 1)


@register_route("fractal_curve_half", exact=True)
def fractal_curve_half(height: int, width: int) -> Tensor:
    """Moved by half of the map, which leaves a cut where the middle was."""
    return moved(fractal_curve(height, width), height, width, height // 2, width // 2)


@register_route("fractal_curve_column_half", exact=True)
def fractal_curve_column_half(height: int, width: int) -> Tensor:
    """That of the transposed map, moved by half of the map."""
    return moved(fractal_curve_column(height, width), height, width, height // 2, width // 2)
