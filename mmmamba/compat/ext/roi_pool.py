"""RoIPool (Girshick 2015, sec. 2.1) with mmcv's bins.

torchvision's RoIPool rounds the region to whole cells first; mmcv's does not, so it can't be used
here.
"""

import torch
from torch import Tensor

from .precision import widen
from .sampling import roi_chunks, sample_cells


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Writes the maximum of each bin to `output` (R, C, PH, PW).

    Its cell, row * W + column, goes to `argmax`.

    The region is [x1 * scale, (x2 + 1) * scale); a bin holds every cell it touches. Bins without a
    cell give 0 and argmax -1.
    """
    x_BCHW, rois_R5 = widen(input, rois)
    height, width = x_BCHW.shape[-2:]
    row_RPS, row_used_RP = _bin_cells(rois_R5[:, [2, 4]], spatial_scale, pooled_height, height)
    col_RQT, col_used_RQ = _bin_cells(rois_R5[:, [1, 3]], spatial_scale, pooled_width, width)
    # A bin of rows or columns alone may be empty, at the map's border; then it has no cell.
    used_RPQ = row_used_RP[:, :, None] & col_used_RQ[:, None]
    for chunk in roi_chunks(rois_R5, x_BCHW.shape[1], row_RPS.shape[1:], col_RQT.shape[1:]):
        row, column, used = row_RPS[chunk], col_RQT[chunk], used_RPQ[chunk, None]
        value_RCPSQT = sample_cells(
            x_BCHW, rois_R5[chunk, 0].long(), row[..., None, None], column[:, None, None]
        )
        best_RCPQ, winner_RCPQ = value_RCPSQT.transpose(3, 4).flatten(4).max(dim=-1)
        cells_RPQ = (row[:, :, None, :, None] * width + column[:, None, :, None, :]).flatten(3)
        winner_cell = (
            cells_RPQ[:, None]
            .expand(*winner_RCPQ.shape, -1)
            .gather(-1, winner_RCPQ[..., None])[..., 0]
        )
        output[chunk] = torch.where(used, best_RCPQ, 0).to(output.dtype)
        argmax[chunk] = torch.where(used, winner_cell, -1).to(argmax.dtype)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Adds each output's gradient to the cell of `grad_input` (B, C, H, W) that was its maximum."""
    grad_RCPQ, rois_R5 = widen(grad_output, rois)
    channels, height, width = grad_input.shape[1:]
    plane_RC = rois_R5[:, :1].long() * channels + torch.arange(channels, device=rois_R5.device)
    # Bins without a cell have argmax -1: they point at cell 0, with a gradient of 0.
    cell = plane_RC[..., None, None] * (height * width) + argmax.clamp(min=0)
    grad_flat = grad_RCPQ.new_zeros(grad_input.numel())
    grad_flat.index_add_(0, cell.flatten(), (grad_RCPQ * (argmax >= 0)).flatten())
    grad_input += grad_flat.view_as(grad_input).to(grad_input.dtype)


def _bin_cells(interval_R2: Tensor, scale: float, bins: int, length: int) -> tuple[Tensor, Tensor]:
    """Cells (R, bins, S) that each bin touches along one axis, and which bins (R, bins) touch any.

    Shorter lists repeat their last cell, which leaves a maximum as it is.
    """
    start_R, stop_R = interval_R2[:, 0] * scale, (interval_R2[:, 1] + 1) * scale
    bin_R = (stop_R - start_R) / bins
    edge_P = torch.arange(bins + 1, device=bin_R.device, dtype=bin_R.dtype)
    edge_RP = edge_P * bin_R[:, None] + start_R[:, None]
    # Bins overlap by a cell where their edges are no whole numbers, so both ends round outwards.
    first_RP = edge_RP[:, :-1].floor().long().clamp(0, length)
    end_RP = edge_RP[:, 1:].ceil().long().clamp(0, length)
    used_RP = (end_RP > first_RP) & (stop_R > start_R)[:, None]
    most = int((end_RP - first_RP).max().clamp(min=1)) if len(bin_R) else 1
    cell_RPS = first_RP[..., None] + torch.arange(most, device=bin_R.device)
    return torch.minimum(cell_RPS, (end_RP - 1)[..., None]).clamp(min=0), used_RP
