"""Routes around the centre of the map."""

import torch
from torch import Tensor

from .lines import ordered, places
from .registry import register_route


@register_route("spiral", exact=True)
def spiral(height: int, width: int) -> Tensor:
    """Clockwise from the top left corner inwards, ring after ring, each step to a neighbour."""
    row_L, column_L = places(height, width)
    # How far each border is away; the nearest tells the ring.
    ring_L = torch.stack([row_L, column_L, height - 1 - row_L, width - 1 - column_L]).amin(0)
    down_L, right_L = row_L - ring_L, column_L - ring_L
    bottom_L, side_L = height - 1 - 2 * ring_L, width - 1 - 2 * ring_L
    # Steps from the ring's top left corner: as many as right and down on its top and right side;
    # on its bottom and left side they are counted back from the ring's whole length.
    along_L = torch.where(
        (down_L == 0) | (right_L == side_L),
        right_L + down_L,
        2 * (bottom_L + side_L) - right_L - down_L,
    )
    return ordered(ring_L, along_L)


@register_route("radial", exact=True)
def radial(height: int, width: int) -> Tensor:
    """Outwards from the centre by distance; at one distance clockwise, the left place last."""
    row_L, column_L = places(height, width)
    # Doubled, so that the centre of a map with even sides is a whole number, too.
    down_L, right_L = 2 * row_L - (height - 1), 2 * column_L - (width - 1)
    return ordered(down_L**2 + right_L**2, torch.atan2(down_L.double(), right_L.double()))
