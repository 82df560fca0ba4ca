"""Point-wise spatial attention (Zhao et al. 2018, sec. 3.2): masks around cells, laid on the map.

The mask of a cell has `h_mask` x `w_mask` values, its channels, with the middle on the cell.
"""

import torch
from torch import Tensor

COLLECT, DISTRIBUTE = range(2)


def psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Writes the masks (B, HM * WM, H, W), cut at the map's border, to `output` (B, H * W, H, W).

    Channels of `output` are the cells that a mask covers where masks collect (`psa_type` 0),
    and the cells that masks belong to where they distribute (1).
    """
    # The mask's middle lies on its cell, so map row r is row r - h + half of the mask of a cell in
    # row h.
    row_RH = _difference(h_feature, input.device) + half_h_mask
    column_CW = _difference(w_feature, input.device) + half_w_mask
    laid_BRCHW = _pick(input.unflatten(1, (h_mask, w_mask)), row_RH, column_CW)
    laid_BTS = laid_BRCHW.reshape(num_, h_feature * w_feature, h_feature * w_feature)
    output.copy_((laid_BTS if psa_type == COLLECT else laid_BTS.transpose(1, 2)).view_as(output))


def psamask_backward(
    grad_output: Tensor,
    grad_input: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Adds the gradient of the masks to `grad_input` (B, HM * WM, H, W)."""
    grad_BTS = grad_output.flatten(2)
    if psa_type == DISTRIBUTE:
        grad_BTS = grad_BTS.transpose(1, 2)
    grad_BRCHW = grad_BTS.reshape(num_, h_feature, w_feature, h_feature, w_feature)
    # Each value of a mask was laid on one place at most, so its gradient is read there, without
    # a sum: row i of the mask of a cell in row h lies on map row h + i - half.
    row_IH = _sum(h_mask, h_feature, grad_output.device) - half_h_mask
    column_JW = _sum(w_mask, w_feature, grad_output.device) - half_w_mask
    grad_input += _pick(grad_BRCHW, row_IH, column_JW).reshape(grad_input.shape)


def _difference(length: int, device: torch.device) -> Tensor:
    cell = torch.arange(length, device=device)
    return cell[:, None] - cell


def _sum(first: int, second: int, device: torch.device) -> Tensor:
    return torch.arange(first, device=device)[:, None] + torch.arange(second, device=device)


def _pick(x_BIJHW: Tensor, row_RH: Tensor, column_CW: Tensor) -> Tensor:
    """x[b, row[r, h], column[c, w], h, w] as (B, R, C, H, W), 0 where an index is outside."""
    _, rows, columns, height, width = x_BIJHW.shape
    row = row_RH[:, None, :, None]
    column = column_CW[None, :, None, :]
    h = torch.arange(height, device=x_BIJHW.device)[:, None]
    w = torch.arange(width, device=x_BIJHW.device)
    picked = x_BIJHW[:, row.clamp(0, rows - 1), column.clamp(0, columns - 1), h, w]
    outside = (row < 0) | (row >= rows) | (column < 0) | (column >= columns)
    return picked.masked_fill(outside, 0)
