"""Reading a map at the points of many regions, a bounded number of regions at a time."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Values held at once while regions are read, so that a thousand proposals fit in memory.
MAX_VALUES = 2**24


def roi_chunks(
    rois_R5: Tensor, channels: int, rows: Sequence[int], columns: Sequence[int]
) -> Iterator[slice]:
    """Slices over the RoIs such that channels * rows * columns * RoIs stays below `MAX_VALUES`."""
    per_roi = max(channels * rows[0] * rows[1] * columns[0] * columns[1], 1)
    step = max(MAX_VALUES // per_roi, 1)
    for start in range(0, len(rois_R5), step):
        yield slice(start, start + step)


def sample_points(
    rois_R5: Tensor, size: tuple[int, int], spatial_scale: float, sampling_ratio: int, aligned: bool
) -> list[tuple[Tensor, Tensor]]:
    """Rows (R, PH, S) and columns (R, PW, S) of the sampling points, and how many each RoI has.

    In cells of the map. Where the number of points differs between RoIs, the shorter lists repeat
    their last point, which leaves a maximum as it is. A RoI without extent has one point, and
    counts none.
    """
    corners_R4 = rois_R5[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    points = []
    for axis, bins in ((1, size[0]), (0, size[1])):
        start_R, stop_R = corners_R4[:, axis], corners_R4[:, axis + 2]
        # Without `aligned`, the older behaviour, RoIs are at least a cell long.
        length_R = stop_R - start_R if aligned else (stop_R - start_R).clamp(min=1)
        bin_R = length_R / bins
        given = sampling_ratio > 0
        count_R = torch.full_like(bin_R, sampling_ratio) if given else bin_R.ceil()
        # Zero samples of an empty RoI become one that counts nothing, as every list needs a point.
        some_R = count_R.clamp(min=1)
        most = int(some_R.max()) if len(some_R) else 1
        sample_S = torch.arange(most, device=bin_R.device, dtype=bin_R.dtype)
        sample_RS = torch.minimum(sample_S, some_R[:, None] - 1)
        bin_P = torch.arange(bins, device=bin_R.device, dtype=bin_R.dtype)
        step_RPS = bin_P[:, None] + (sample_RS[:, None] + 0.5) / some_R[:, None, None]
        points.append((start_R[:, None, None] + step_RPS * bin_R[:, None, None], count_R))
    return points


def sample_cells(x_BCHW: Tensor, image_R: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Values (R, C, *points) at `row` and `column`, which broadcast to (R, *points)."""
    row, column = torch.broadcast_tensors(row, column)
    x_BHWC = x_BCHW.permute(0, 2, 3, 1)
    image = image_R.view(-1, *[1] * (row.dim() - 1))
    return x_BHWC[image, row, column].movedim(-1, 1)


def bilinear_corners(
    y: Tensor, x: Tensor, size: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The four (row, column, weight) around each point; y and x broadcast to one shape.

    Points up to one cell outside are moved to the border; further out every weight is 0.
    """
    axes = []
    for point, length in ((y, size[0]), (x, size[1])):
        # Inside by the point as given, before it is moved to the border.
        inside = (point >= -1) & (point <= length)
        point = point.clamp(0, length - 1)
        low = point.floor()
        share = point - low
        low = low.long()
        axes.append(
            ((low, (1 - share) * inside), ((low + 1).clamp(max=length - 1), share * inside))
        )
    for row, weight_y in axes[0]:
        for column, weight_x in axes[1]:
            row_full, column_full = torch.broadcast_tensors(row, column)
            yield row_full, column_full, weight_y * weight_x
