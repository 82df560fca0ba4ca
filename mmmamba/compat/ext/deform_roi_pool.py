"""Deformable RoI pooling (Dai et al. 2017, sec. 2.2): an average RoIAlign with bins that move.

Offsets (R, 2, PH, PW), dx before dy, count in RoI widths and heights, times `gamma`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import widen
from .sampling import bilinear_corners, roi_chunks, sample_points

Corners = list[tuple[Tensor, Tensor, Tensor]]


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Writes the pooled (R, C, PH, PW) to `output`; an empty `offset` moves nothing."""
    x_BCHW, rois_R5, offset = widen(input, rois, offset)
    size = (pooled_height, pooled_width)
    y, x, share = _moved_points(rois_R5, offset, size, spatial_scale, sampling_ratio, gamma)
    # Each bin is a bag of cells with weights, summed without a copy of all that it reads.
    table_NC = x_BCHW.permute(0, 2, 3, 1).flatten(0, 2)
    # A point counts as its four cells: no step holds the channels of all points at once.
    for chunk in roi_chunks(rois_R5, 4, (y.shape[1], y.shape[3]), (x.shape[2], x.shape[4])):
        corners = list(bilinear_corners(y[chunk], x[chunk], x_BCHW.shape[-2:]))
        cell, weight = _bags(rois_R5[chunk], corners, share[chunk], x_BCHW.shape[-2:])
        pooled = F.embedding_bag(cell, table_NC, mode="sum", per_sample_weights=weight)
        output[chunk] = pooled.view(-1, *size, len(x_BCHW[0])).movedim(-1, 1).to(output.dtype)


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Adds to `grad_input` (B, C, H, W) and `grad_offset` (R, 2, PH, PW).

    The slopes are mmcv's: up to a cell above or left of the map they are those of its first cells,
    carried on, and from the middle of its last row or column on both are 0.
    """
    grad_RCPQ, x_BCHW, rois_R5, offset = widen(grad_output, input, rois, offset)
    size = (pooled_height, pooled_width)
    y, x, share = _moved_points(rois_R5, offset, size, spatial_scale, sampling_ratio, gamma)
    x_BHWC = x_BCHW.permute(0, 2, 3, 1)
    table_NC = x_BHWC.flatten(0, 2).detach().requires_grad_()
    grad_NC = torch.zeros_like(table_NC)
    for chunk in roi_chunks(rois_R5, 4, (y.shape[1], y.shape[3]), (x.shape[2], x.shape[4])):
        corners = list(bilinear_corners(y[chunk], x[chunk], x_BCHW.shape[-2:]))
        cell, weight = _bags(rois_R5[chunk], corners, share[chunk], x_BCHW.shape[-2:])
        with torch.enable_grad():
            weight.requires_grad_()
            pooled = F.embedding_bag(cell, table_NC, mode="sum", per_sample_weights=weight)
        grad = grad_RCPQ[chunk].movedim(1, -1).reshape(pooled.shape)
        grad_table, grad_weight = torch.autograd.grad(pooled, (table_NC, weight), grad)
        grad_NC += grad_table
        if grad_offset.numel():
            points = corners[0][0].shape
            grad_corners = grad_weight.view(*points[:3], 4, *points[3:]).unbind(3)
            # Points move in cells, offsets in parts of the RoI: the slope of one by the other.
            reach_R211 = gamma * _extent(rois_R5[chunk], spatial_scale)[..., None, None]
            slope_y, slope_x = _slopes(y[chunk], x[chunk], corners)
            grad_y = _of_bins(grad_corners, slope_y, share[chunk])
            grad_x = _of_bins(grad_corners, slope_x, share[chunk])
            grad_xy = torch.stack([grad_x, grad_y], dim=1)
            grad_offset[chunk] += (grad_xy * reach_R211).to(grad_offset)
    grad_input += grad_NC.view(x_BHWC.shape).movedim(-1, 1).to(grad_input.dtype)


def _of_bins(grad_corners: Sequence[Tensor], slopes: list[Tensor], share: Tensor) -> Tensor:
    """What moving a bin (R, P, Q) along one axis changes, over all its points and their corners."""
    total = sum(grad * slope for grad, slope in zip(grad_corners, slopes))
    return (total * share).sum(dim=(-2, -1))


def _bags(
    rois_R5: Tensor, corners: Corners, share: Tensor, size: torch.Size
) -> tuple[Tensor, Tensor]:
    """For each bin (R * P * Q, 4 * S * T), the cells that it adds up, and their weights."""
    image_R = rois_R5[:, 0].long().view(-1, 1, 1, 1, 1)
    cells = [(image_R * size[0] + row) * size[1] + column for row, column, _ in corners]
    weights = [weight * share for _, _, weight in corners]
    cell, weight = (torch.stack(t, dim=3).flatten(3).flatten(0, 2) for t in (cells, weights))
    return cell, weight


def _moved_points(
    rois_R5: Tensor,
    offset: Tensor,
    size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    gamma: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (R, P, Q, S, 1), columns (R, P, Q, 1, T) and shares of the average (R, 1, 1, S, T)."""
    points = sample_points(rois_R5, size, scale, sampling_ratio, aligned=True)
    (y_RPS, rows_R), (x_RQT, columns_R) = points
    y, x = y_RPS[:, :, None, :, None], x_RQT[:, None, :, None, :]
    if offset.numel():
        move_R2PQ = gamma * _extent(rois_R5, scale)[..., None, None] * offset
        x, y = (base + move[..., None, None] for base, move in zip((x, y), move_R2PQ.unbind(1)))
    used_RS = torch.arange(y.shape[3], device=y.device) < rows_R[:, None]
    used_RT = torch.arange(x.shape[4], device=x.device) < columns_R[:, None]
    used = (used_RS[:, :, None] & used_RT[:, None])[:, None, None]
    return y, x, used / (rows_R * columns_R).clamp(min=1).view(-1, 1, 1, 1, 1)


def _extent(rois_R5: Tensor, scale: float) -> Tensor:
    """Width and height (R, 2) in cells of the map."""
    return (rois_R5[:, 3:] - rois_R5[:, 1:3]) * scale


def _slopes(y: Tensor, x: Tensor, corners: Corners) -> tuple[list[Tensor], list[Tensor]]:
    """d value / dy and d value / dx per corner's value, in the order of `bilinear_corners`."""
    (low_row, low_column, _), _, _, (high_row, high_column, _) = corners
    inside = sum(weight for _, _, weight in corners) > 0
    # A corner's weight is its share along y times that along x, so that moving along one axis
    # changes it by plus or minus its share along the other.
    part_y, part_x = (high_row - y, y - low_row), (high_column - x, x - low_column)
    slope_y = [sign * part_x[j] * inside for sign in (-1, 1) for j in (0, 1)]
    slope_x = [sign * part_y[i] * inside for i in (0, 1) for sign in (-1, 1)]
    return slope_y, slope_x
