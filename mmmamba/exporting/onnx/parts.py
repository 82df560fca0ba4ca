"""Weights that a model splits: parts of them take their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


def split_weights(model: ir.Model) -> int:
    """Put weights in parts where they are split; how many were."""
    found = [node for node in model.graph if node.op_type == "Split" and _is_constant(node)]
    for node in found:
        whole = _numbers(node.inputs[0])
        for value, part in zip(node.outputs, _parts(node, whole)):
            value.replace_all_uses_with(_stored(model.graph, f"{value.name}_part", part))
        model.graph.remove(node, safe=True)
    return len(found)


def _is_constant(node: ir.Node) -> bool:
    given = [value for value in node.inputs if value is not None]
    outputs = any(value.is_graph_output() for value in node.outputs)
    return all(value.const_value is not None for value in given) and not outputs


def _parts(node: ir.Node, whole: np.ndarray) -> list[np.ndarray]:
    axis, count = node.attributes.get_int("axis", 0), len(node.outputs)
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        ends = np.cumsum(_numbers(node.inputs[1]))[:-1]
    else:
        # The last may be shorter than the others.
        size = -(-whole.shape[axis] // count)
        ends = np.arange(1, count) * size
    return np.split(whole, ends, axis)


def _numbers(value: ir.Value | None) -> np.ndarray:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def _stored(graph: ir.Graph, name: str, part: np.ndarray) -> ir.Value:
    import onnx_ir as ir

    tensor = ir.tensor(np.ascontiguousarray(part), name=name)
    kind = ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=ir.Shape(part.shape), type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value
