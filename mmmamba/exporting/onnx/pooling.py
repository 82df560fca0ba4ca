"""Pooling to a fixed number of cells, whatever the size of the map.

ONNX's pools take windows of one size, and PyTorch's own translation unrolls the windows of the size
that it was traced at, which is wrong at others. A mean over windows is a product with a matrix.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .recording import Value, operators


def adaptive_avg_pool2d(x: Value, output_size: Sequence[int]) -> Value:
    """Means `(B, C, h, w)` over windows of x `(B, C, H, W)`."""
    op = operators()
    height, width = output_size
    if height == width == 1:
        return op.ReduceMean(x, [2, 3], keepdims=1)
    across_Ww = op.Transpose(_windows(op, x, 3, width), perm=[1, 0])
    return op.MatMul(_windows(op, x, 2, height), op.MatMul(x, across_Ww))


def _windows(op: Any, x: Value, axis: int, windows: int) -> Value:
    """What each cell of an axis adds to the mean of each window, `(windows, cells)`.

    Window i begins at the cell i * cells / windows, rounded down, and ends before
    (i + 1) * cells / windows, rounded up.
    """
    cells_1 = op.Shape(x, start=axis, end=axis + 1)
    index_N1 = op.Unsqueeze(op.Constant(value_ints=[*range(windows)]), [1])
    parts_1 = op.Constant(value_ints=[windows])
    begin_N1 = op.Div(op.Mul(index_N1, cells_1), parts_1)
    next_N1 = op.Mul(op.Add(index_N1, op.Constant(value_ints=[1])), cells_1)
    end_N1 = op.Div(op.Add(next_N1, op.Constant(value_ints=[windows - 1])), parts_1)
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    cell_C = op.Range(zero, op.Squeeze(cells_1, [0]), one)
    inside_NC = op.And(op.GreaterOrEqual(cell_C, begin_N1), op.Less(cell_C, end_N1))
    return op.Div(op.CastLike(inside_NC, x), op.CastLike(op.Sub(end_N1, begin_N1), x))


TRANSLATIONS: dict[Any, Callable] = {
    torch.ops.aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
}
"""What `torch.onnx.export` takes in place of its own."""
