"""Rotary embedding of two-dimensional positions (EVA-02, arXiv 2303.11331, section 2.1; Vim, LocalVim)."""

import torch
import torch.nn.functional as F
from torch import Tensor

PRETRAINED_SIDE = 14


def rotary_table(
    height: int,
    width: int,
    dim: int,
    scale: tuple[float, float],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Cosine and sine of each cell's angles, `(2, H W, dim / 2)` float32.

    Pair j of the first half of the channels turns with the row, of the second half with the column, by
    `position * scale * 10000^(-4 j / dim)`; j counts within its half.

    Args:
        scale: radians of the fastest pair from one row and one column to the next.

    Raises:
        ValueError: `dim` is no multiple of four.
    """
    if dim % 4:
        raise ValueError(f"rotary embedding wants a width that is a multiple of 4, got {dim}")
    frequency_J = 10000 ** (
        -torch.arange(0, dim // 2, 2, device=device, dtype=torch.float32) / (dim // 2)
    )
    y_HJ = torch.arange(height, device=device)[:, None] * scale[0] * frequency_J
    x_WJ = torch.arange(width, device=device)[:, None] * scale[1] * frequency_J
    angles_HWE = torch.cat(
        [y_HJ[:, None].expand(-1, width, -1), x_WJ[None].expand(height, -1, -1)], -1
    )
    return torch.stack([angles_HWE.cos(), angles_HWE.sin()]).flatten(1, 2)


def resize_rotary_table(table_2LE: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Cosines and sines interpolated bicubically from one grid to another, as LocalVim does.

    Between cells they no longer are the cosine and sine of one angle.
    """
    if grid == size:
        return table_2LE
    maps_2EHW = table_2LE.unflatten(1, grid).permute(0, 3, 1, 2)
    return (
        F.interpolate(maps_2EHW, size, mode="bicubic", align_corners=False)
        .flatten(2)
        .transpose(1, 2)
    )


def rotate(x_BLC: Tensor, table_2LE: Tensor) -> Tensor:
    """Turns the channel pairs (2j, 2j + 1) of every token by its angles."""
    cos_LE, sin_LE = table_2LE
    a_BLE, b_BLE = x_BLC.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack(
        [a_BLE * cos_LE - b_BLE * sin_LE, b_BLE * cos_LE + a_BLE * sin_LE], -1
    ).flatten(-2)
