"""What a file holds, in fewer bytes: weights in 8 bits, and all else without any loss.

A runtime makes of it what it was when it loads the file, and computes as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..onnx.editing import Editor, numbers
from .products import SMALLEST
from .rewriting import LARGEST

if TYPE_CHECKING:
    import onnx_ir as ir

WORTH = 1024
"""Bytes of a constant: less is not worth the nodes that make it anew."""
ROUNDING = ("QuantizeLinear", "DequantizeLinear")
"""A runtime makes one kernel of a product and these if their scales are constants."""
NARROW = (np.uint8, np.int8, np.uint16, np.int16, np.int32)
"""Whole numbers that an index is stored in, the first that holds all of a table."""


def store_weights(model: ir.Model) -> None:
    """Store the float32 weights of products in 8 bits, with a scale for each channel.

    As numbers times scales, since onnxruntime computes what is made of constants alone when it
    loads a file, but not `DequantizeLinear`, which would also keep it from packing the weight.
    """
    for value in list(model.graph.initializers.values()):
        axes = {_summed(use.node, use.idx, value) for use in value.uses()}
        if len(axes) == 1 and None not in axes and numbers(value).size >= SMALLEST:
            _store_weight(model.graph, value, next(iter(axes)) or ())


def _summed(node: ir.Node, place: int, weight: ir.Value) -> tuple[int, ...] | None:
    """A weight's axes that a product sums over; None of anything else."""
    import onnx_ir as ir

    if place != 1 or weight.dtype != ir.DataType.FLOAT or weight.shape is None:
        return None
    dims = len(weight.shape)
    if node.op_type == "Conv":
        return tuple(range(1, dims))
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        return (1,)
    return (dims - 2,) if node.op_type in ("Gemm", "MatMul") and dims > 1 else None


def _store_weight(graph: ir.Graph, value: ir.Value, summed: tuple[int, ...]) -> None:
    weight = numbers(value)
    scales = np.abs(weight).max(axis=summed, keepdims=True)
    scales = (np.maximum(scales, 1e-12) / LARGEST).astype(np.float32)
    steps = np.rint(weight / scales).astype(np.int8)
    editor = Editor(graph, f"{value.name}_stored", graph[0])
    whole = _cast(editor, editor.constant(f"{value.name}_steps", steps), np.float32)
    scale = editor.constant(f"{value.name}_steps_scale", scales)
    _replace(graph, value, editor.add("Mul", [whole, scale]))


def compact(model: ir.Model) -> None:
    """Store equal constants once, one number throughout as that number, and indices narrowly."""
    first: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
    for value in list(model.graph.initializers.values()):
        if not _may_move(value):
            continue
        held = numbers(value)
        key = (held.dtype.str, held.shape, held.tobytes())
        if key in first:
            _replace(model.graph, value, first[key])
            continue
        first[key] = value
    for value in first.values():
        shorter = _shorter(numbers(value))
        if shorter is not None:
            name = f"{value.name}_compact"
            _replace(model.graph, value, shorter(Editor(model.graph, name, model.graph[0]), name))


def _may_move(value: ir.Value) -> bool:
    """Whether it is worth while, and read by nothing that has to be given a plain constant."""
    if value.const_value is None or value.const_value.nbytes < WORTH or value.is_graph_output():
        return False
    return not any(use.node.op_type in ROUNDING for use in value.uses())


def _shorter(held: np.ndarray) -> Callable[[Editor, str], ir.Value] | None:
    """What makes a constant out of fewer bytes."""
    if (held == held.flat[0]).all():
        return lambda editor, name: _uniform(editor, name, held)
    if held.dtype == np.int64:
        ends = held.min(), held.max()
        for kind in NARROW:
            if np.iinfo(kind).min <= ends[0] and ends[1] <= np.iinfo(kind).max:
                narrow = held.astype(kind)
                return lambda editor, name: _cast(editor, editor.constant(name, narrow), np.int64)
    return None


def _uniform(editor: Editor, name: str, held: np.ndarray) -> ir.Value:
    shape = editor.constant(f"{name}_shape", np.array(held.shape))
    return editor.add("Expand", [editor.constant(f"{name}_number", held.flat[:1].copy()), shape])


def _cast(editor: Editor, value: ir.Value, kind: type[np.generic]) -> ir.Value:
    import onnx_ir as ir

    return editor.add("Cast", [value], to=ir.DataType.from_numpy(np.dtype(kind)))


def _replace(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Another value for all that read a constant, which goes."""
    new.shape, new.type = old.shape, old.type
    for user, place in list(old.uses()):
        user.replace_input_with(place, new)
    if old.name is not None:
        del graph.initializers[old.name]
