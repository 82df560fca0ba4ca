"""RoIAlign (He et al. 2017, sec. 3): torchvision's for averages, our own for `pool_mode='max'`.

torchvision's backward pass on a GPU adds in any order and is refused under
`torch.use_deterministic_algorithms`. Ours takes its place then: the average of bilinear samples is
a matrix product along each axis, and so is its gradient.
"""

import logging
from functools import cache

import torch
import torchvision  # noqa: F401  (torch.ops.torchvision)
from torch import Tensor

from .precision import widen
from .sampling import bilinear_corners, roi_chunks, sample_cells, sample_points

MAX, AVERAGE = range(2)
logger = logging.getLogger("mmmamba")


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Writes the pooled features (R, C, PH, PW) to `output`.

    In max mode the winning points go to `argmax_y` and `argmax_x`.

    input (B, C, H, W); rois (R, 5) as (image, x1, y1, x2, y2); `sampling_ratio` 0 takes about one
    point per cell.
    """
    x_BCHW, rois_R5 = widen(input, rois)
    size = (aligned_height, aligned_width)
    if pool_mode == AVERAGE:
        # `torchvision.ops.roi_align` itself goes through minutes of compilation where algorithms
        # are deterministic.
        output.copy_(
            torch.ops.torchvision.roi_align(
                x_BCHW, rois_R5, spatial_scale, *size, sampling_ratio, aligned
            )
        )
        return
    (y_RPS, _), (x_RQS, _) = sample_points(rois_R5, size, spatial_scale, sampling_ratio, aligned)
    for chunk in roi_chunks(rois_R5, x_BCHW.shape[1], y_RPS.shape[1:], x_RQS.shape[1:]):
        image_R, y, x = rois_R5[chunk, 0].long(), y_RPS[chunk], x_RQS[chunk]
        value_RCPSQT = sum(
            weight[:, None] * sample_cells(x_BCHW, image_R, row, column)
            for row, column, weight in bilinear_corners(
                y[..., None, None], x[:, None, None], x_BCHW.shape[-2:]
            )
        )
        # All S x T samples of a bin in one row; the winner's place in it tells row and column.
        best_RCPQ, winner_RCPQ = value_RCPSQT.transpose(3, 4).flatten(4).max(dim=-1)
        output[chunk] = best_RCPQ.to(output.dtype)
        sample_y, sample_x = winner_RCPQ // x.shape[-1], winner_RCPQ % x.shape[-1]
        argmax_y[chunk] = _pick(y[:, None, :, None], sample_y).to(argmax_y.dtype)
        argmax_x[chunk] = _pick(x[:, None, None], sample_x).to(argmax_x.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Adds the gradient of the input (B, C, H, W) to `grad_input`."""
    grad_RCPQ, rois_R5 = widen(grad_output, rois)
    if pool_mode == AVERAGE and torch.are_deterministic_algorithms_enabled():
        log_once("deterministic algorithms: RoIAlign's gradients are computed as matrix products")
        grad_BCHW = _average_backward(
            grad_RCPQ, rois_R5, grad_input.shape, spatial_scale, sampling_ratio, aligned
        )
    elif pool_mode == AVERAGE:
        grad_BCHW = torch.ops.torchvision._roi_align_backward(
            grad_RCPQ,
            rois_R5,
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    else:
        grad_BCHW = _max_backward(grad_RCPQ, rois_R5, *widen(argmax_y, argmax_x), grad_input.shape)
    grad_input += grad_BCHW.to(grad_input.dtype)


@cache
def log_once(message: str) -> None:
    logger.info(message)


def _average_backward(
    grad_RCPQ: Tensor,
    rois_R5: Tensor,
    shape: torch.Size,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """The gradient of the input (B, C, H, W) of an average.

    Each image's is the sum over its RoIs of rows.T @ gradient @ columns, in the RoIs' order.
    """
    batch, channels, height, width = shape
    points = sample_points(rois_R5, grad_RCPQ.shape[-2:], spatial_scale, sampling_ratio, aligned)
    grad_BCHW = grad_RCPQ.new_zeros(shape)
    # Image by image: matrix products add up in one order, which scattering to cells does not.
    for image in range(batch):
        chosen = (rois_R5[:, 0] == image).nonzero().squeeze(1)
        for chunk in roi_chunks(chosen, channels, (grad_RCPQ.shape[-2], 1), (width, 1)):
            rows_RPH, columns_RQW = (
                _average_weights(point[chosen[chunk]], count[chosen[chunk]], length)
                for (point, count), length in zip(points, (height, width))
            )
            wide_RCPW = torch.einsum("rcpq,rqw->rcpw", grad_RCPQ[chosen[chunk]], columns_RQW)
            grad_BCHW[image] += torch.einsum("rph,rcpw->chw", rows_RPH, wide_RCPW)
    return grad_BCHW


def _average_weights(point_RPS: Tensor, count_R: Tensor, length: int) -> Tensor:
    """What each of `length` cells adds to the average along one axis, (R, P, length)."""
    used_RPS = (
        torch.arange(point_RPS.shape[-1], device=point_RPS.device) < count_R[:, None, None]
    ) & ((point_RPS >= -1) & (point_RPS <= length))
    cell_L = torch.arange(length, device=point_RPS.device, dtype=point_RPS.dtype)
    # A hat around each sample: its neighbours' bilinear weights, and 0 for all other cells.
    share_RPSL = (1 - (point_RPS.clamp(0, length - 1)[..., None] - cell_L).abs()).clamp(min=0)
    return (share_RPSL * used_RPS[..., None]).sum(2) / count_R.clamp(min=1)[:, None, None]


def _pick(points: Tensor, sample_RCPQ: Tensor) -> Tensor:
    """points (R, 1, P or 1, Q or 1, S) at the sample index of each output cell."""
    points = points.expand(*sample_RCPQ.shape, points.shape[-1])
    return points.gather(-1, sample_RCPQ[..., None]).squeeze(-1)


def _max_backward(
    grad_RCPQ: Tensor, rois_R5: Tensor, y_RCPQ: Tensor, x_RCPQ: Tensor, shape: torch.Size
) -> Tensor:
    """The gradient of each output goes to the four cells around the point that won."""
    batch, channels, height, width = shape
    grad_flat = grad_RCPQ.new_zeros(batch * channels * height * width)
    image_R111 = rois_R5[:, 0].long()[:, None, None, None]
    plane_RC11 = (
        image_R111 * channels + torch.arange(channels, device=grad_flat.device)[:, None, None]
    )
    for row, column, weight in bilinear_corners(y_RCPQ, x_RCPQ, (height, width)):
        cell = (plane_RC11 * height + row) * width + column
        grad_flat.index_add_(0, cell.flatten(), (grad_RCPQ * weight).flatten())
    return grad_flat.view(shape)
