"""Weights that a model splits: parts of them take their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .editing import numbers, stored

if TYPE_CHECKING:
    import onnx_ir as ir


def split_weights(model: ir.Model) -> int:
    """Put weights in parts where they are split; how many were."""
    found = [node for node in model.graph if node.op_type == "Split" and _is_constant(node)]
    for node in found:
        whole = numbers(node.inputs[0])
        for value, part in zip(node.outputs, _parts(node, whole)):
            value.replace_all_uses_with(
                stored(model.graph, f"{value.name}_part", np.ascontiguousarray(part))
            )
        model.graph.remove(node, safe=True)
    return len(found)


def _is_constant(node: ir.Node) -> bool:
    given = [value for value in node.inputs if value is not None]
    outputs = any(value.is_graph_output() for value in node.outputs)
    return all(value.const_value is not None for value in given) and not outputs


def _parts(node: ir.Node, whole: np.ndarray) -> list[np.ndarray]:
    axis, count = node.attributes.get_int("axis", 0), len(node.outputs)
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        ends = np.cumsum(numbers(node.inputs[1]))[:-1]
    else:
        # The last may be shorter than the others.
        size = -(-whole.shape[axis] // count)
        ends = np.arange(1, count) * size
    return np.split(whole, ends, axis)
