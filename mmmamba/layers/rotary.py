"""Rotary embedding of two-dimensional positions.

EVA-02, arXiv 2303.11331, section 2.1; Vim, LocalVim.
"""

from functools import lru_cache

import torch
from torch import Tensor

from mmmamba.ops.derivatives import watched
from mmmamba.ops.routes.registry import keep

from .tokens import resize_cells

# Images of 224 pixels in patches of 16: the grid that angles are counted in for the published
# weights, whatever the map.
PRETRAINED_SIDE = 14


def rotary_table(
    height: int,
    width: int,
    dim: int,
    scale: tuple[float, float],
    device: torch.device | str = "cpu",
) -> Tensor:
    """The cosine and sine of each cell's angles, `(2, H W, dim / 2)` float32.

    Pair j of the first half of the channels turns with the row, of the second half with the column,
    by `position * scale * 10000^(-4 j / dim)`; j counts within its half.

    Args:
        height, width: H and W of the map.
        dim: channels that are turned.
        scale: radians of the fastest pair from one row and one column to the next.

    Raises:
        ValueError: `dim` is no multiple of four.
    """
    if dim % 4:
        raise ValueError(f"rotary embedding wants a width that is a multiple of 4, got {dim}")
    y_HJ = _angles(height, dim, scale[0], device)
    x_WJ = _angles(width, dim, scale[1], device)
    # All combinations of row and column, row-major as the tokens are.
    y_HWJ = y_HJ[:, None].expand(-1, width, -1)
    x_HWJ = x_WJ[None].expand(height, -1, -1)
    angles_HWE = torch.cat([y_HWJ, x_HWJ], -1)
    return torch.stack([angles_HWE.cos(), angles_HWE.sin()]).flatten(1, 2)


def _angles(side: int, dim: int, scale: float, device: torch.device | str) -> Tensor:
    """The angles of the positions along one side, `(side, dim / 4)`."""
    # Half of the channels for each axis, in pairs: so a step of two in steps of dim / 2.
    exponent_J = torch.arange(0, dim // 2, 2, device=device, dtype=torch.float32) / (dim // 2)
    return torch.arange(side, device=device)[:, None] * scale * 10000 ** (-exponent_J)


def rotary_side_table(side: int, dim: int, device: torch.device) -> Tensor:
    """The cosine and sine of the angles along one side, `(2, side, dim / 4)` float32.

    A position's are `rotary_table`'s of scale 1, whichever axis it lies along. It is cached; do not
    write into it.
    """
    if watched():
        # What is made under a mode or a transform is theirs; the cache is for all.
        return _made_side_table(side, dim, device)
    return keep(_side_table(side, dim, device))


@lru_cache(maxsize=512)
def _side_table(side: int, dim: int, device: torch.device) -> Tensor:
    # A table made in inference mode could not be saved for a backward pass later.
    with torch.inference_mode(False):
        return _made_side_table(side, dim, device)


def _made_side_table(side: int, dim: int, device: torch.device) -> Tensor:
    angles_SJ = _angles(side, dim, 1.0, device)
    return torch.stack([angles_SJ.cos(), angles_SJ.sin()])


def resize_rotary_table(table_2LE: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Cosines and sines interpolated from one grid to another, as LocalVim does.

    Between cells they no longer are the cosine and sine of one angle.
    """
    return resize_cells(table_2LE, grid, size)


def rotate(x_BLC: Tensor, table_2LE: Tensor) -> Tensor:
    """Turns the channel pairs (2j, 2j + 1) of every token by its angles."""
    cos_LE, sin_LE = table_2LE
    # Neighbours are a pair, not the halves of the width as in most language models.
    a_BLE, b_BLE = x_BLC.unflatten(-1, (-1, 2)).unbind(-1)
    turned = [a_BLE * cos_LE - b_BLE * sin_LE, b_BLE * cos_LE + a_BLE * sin_LE]
    return torch.stack(turned, -1).flatten(-2)
