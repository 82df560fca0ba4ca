"""Routes that finish one window of the map before they enter the next."""

import torch.nn.functional as F
from torch import Tensor

from .lines import grid
from .registry import register_sized_route


def _padded_steps(height: int, width: int, size: int) -> int:
    return -(-height // size) * size * (-(-width // size) * size)


@register_sized_route("window", steps=_padded_steps, examples=(2, 7))
def window(height: int, width: int, size: int) -> Tensor:
    """Windows of `size` x `size` row by row, and row by row in each.

    (LocalMamba, arXiv 2403.09338, section 4.1.) The map is padded at the bottom and right to whole
    windows; the padding is walked too, as holes.
    """
    padded = F.pad(grid(height, width), (0, -width % size, 0, -height % size), value=-1)
    # Cut into (window row, row inside, window column, column inside); the two in the middle change
    # places.
    return padded.unflatten(1, (-1, size)).unflatten(0, (-1, size)).transpose(1, 2).flatten()
