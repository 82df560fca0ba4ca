"""Operators of detectors in ONNX's own: suppression, features of regions, the best of many scores.

For `custom_translation_table` of `torch.onnx.export`. Nodes are recorded by onnxscript as these
functions run.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mmmamba.ops.best import best_op
from mmmamba.ops.grouped_nms import suppress_op
from mmmamba.ops.roi_align import pool_regions_op

from .recording import Value, operators

FLOAT, INT64, BOOL = 1, 7, 9
"""ONNX's numbers of types."""
FAR = [-20001.0, -20001.0, -20000.0, -20000.0]
"""A box that lies in no image."""


def suppress(boxes: Value, threshold: float, most: int | None = None) -> Value:
    """`NonMaxSuppression` of each row `(B, N, 4)`, and what it selects marked `(B, N)`."""
    op = operators()
    shape_2 = op.Shape(boxes, start=0, end=2)
    start, end = (op.Slice(boxes, [low], [low + 2], [2]) for low in (0, 2))
    # Boxes without area suppress nothing and are not suppressed. ONNX would turn those whose end
    # lies before their beginning around, and each would be compared with all others.
    solid_BN = op.ReduceMin(op.Cast(op.Greater(end, start), to=FLOAT), [2], keepdims=0)
    number = op.Gather(shape_2, 1)
    # Best first: scores fall by place. Above 0 where a box takes part.
    falling_N = op.Cast(
        op.Range(number, op.Constant(value_int=0), op.Constant(value_int=-1)), to=FLOAT
    )
    scores_B1N = op.Unsqueeze(op.Mul(falling_N, solid_BN), [1])
    limit_1 = op.Reshape(number, [1]) if most is None else op.Constant(value_ints=[most])
    chosen_S3 = op.NonMaxSuppression(boxes, scores_B1N, limit_1, [float(threshold)], [0.5])
    # Image and place; between them stands the class.
    chosen_S2 = op.Gather(chosen_S3, op.Constant(value_ints=[0, 2]), axis=1)
    ones_S = op.Expand(1.0, op.Shape(chosen_S3, start=0, end=1))
    kept_BN = op.ScatterND(op.Sub(1.0, solid_BN), chosen_S2, ones_S)
    return op.Cast(kept_BN, to=BOOL)


def pool_regions(
    maps: Sequence[Value],
    rois: Value,
    level: Value,
    size: Sequence[int],
    scales: Sequence[float],
    sampling_ratio: int = 0,
) -> Value:
    """`RoiAlign` of the regions of each level on its map, put back in their order."""
    op = operators()
    image_R = op.Cast(op.Squeeze(op.Slice(rois, [0], [1], [1]), [1]), to=INT64)
    start_R2, end_R2 = (op.Slice(rois, [low], [low + 2], [1]) for low in (1, 3))
    solid_R1 = op.ReduceMin(op.Cast(op.Greater(end_R2, start_R2), to=INT64), [1], keepdims=1)
    # Features of a region without area are 0, as they are far away; OpenVINO divides 0 by 0.
    boxes_R4 = op.Where(op.Cast(solid_R1, to=BOOL), op.Slice(rois, [1], [5], [1]), FAR)
    height, width = size
    regions, pooled = [], []
    for number, (one, scale) in enumerate(zip(maps, scales)):
        index_K = op.Squeeze(op.NonZero(op.Equal(level, op.Constant(value_int=number))), [0])
        regions.append(index_K)
        pooled.append(
            op.RoiAlign(
                one,
                op.Gather(boxes_R4, index_K),
                op.Gather(image_R, index_K),
                coordinate_transformation_mode="half_pixel",
                mode="avg",
                output_height=height,
                output_width=width,
                sampling_ratio=sampling_ratio,
                spatial_scale=float(scale),
            )
        )
    order_R = op.Concat(*regions, axis=0)
    count = op.Squeeze(op.Shape(order_R), [0])
    place_R = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
    # Where each region's features are in the order of levels.
    back_R = op.ScatterElements(op.Mul(order_R, op.Constant(value_int=0)), order_R, place_R)
    return op.Gather(op.Concat(*pooled, axis=0), back_R)


def best(scores: Value, number: Value) -> tuple[Value, Value]:
    """`TopK`, which takes the first of equal ones first."""
    op = operators()
    return op.TopK(scores, op.Reshape(number, [1]), axis=-1, largest=1, sorted=1)


TRANSLATIONS: dict[Any, Callable] = {
    suppress_op: suppress,
    pool_regions_op: pool_regions,
    best_op: best,
}
"""What `torch.onnx.export` takes for the operators of `mmmamba.ops`."""
