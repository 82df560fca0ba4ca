"""Reading a map at the points of many regions, a bounded number of regions at a time."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Values held at once while regions are read, so that a thousand proposals fit in memory.
MAX_VALUES = 2**24


def roi_chunks(
    rois_R5: Tensor, channels: int, rows: Sequence[int], columns: Sequence[int]
) -> Iterator[slice]:
    """Slices over the RoIs such that channels * rows * columns * RoIs stays below ``MAX_VALUES``."""
    per_roi = max(channels * rows[0] * rows[1] * columns[0] * columns[1], 1)
    step = max(MAX_VALUES // per_roi, 1)
    for start in range(0, len(rois_R5), step):
        yield slice(start, start + step)


def sample_cells(x_BCHW: Tensor, image_R: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Values (R, C, P, S, Q, T) at ``row`` and ``column``, both broadcastable to (R, P, S, Q, T)."""
    row, column = torch.broadcast_tensors(row, column)
    x_BHWC = x_BCHW.permute(0, 2, 3, 1)
    image = image_R.view(-1, *[1] * (row.dim() - 1))
    return x_BHWC[image, row, column].movedim(-1, 1)


def bilinear_corners(
    y_RPS: Tensor, x_RQT: Tensor, size: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The four (row, column, weight) around each point (y, x), shaped (R, P, S, Q, T).

    Points up to one cell outside are moved to the border; further out every weight is 0.
    """
    axes = []
    for point, length in ((y_RPS[..., None, None], size[0]), (x_RQT[:, None, None], size[1])):
        inside = (point >= -1) & (point <= length)
        point = point.clamp(0, length - 1)
        low = point.floor()
        share = point - low
        low = low.long()
        axes.append(((low, (1 - share) * inside), ((low + 1).clamp(max=length - 1), share * inside)))
    for row, weight_y in axes[0]:
        for column, weight_x in axes[1]:
            row_full, column_full = torch.broadcast_tensors(row, column)
            yield row_full, column_full, weight_y * weight_x
