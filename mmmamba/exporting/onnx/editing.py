"""Nodes put into the place of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


class Editor:
    """Makes nodes, named after what they are for.

    They stand before a node, or one after the other behind one.
    """

    def __init__(self, graph: ir.Graph, prefix: str, place: ir.Node, after: bool = False) -> None:
        self.graph = graph
        self.prefix = prefix
        self._place = place
        self._after = after
        self._made = 0

    def constant(self, name: str, value: np.ndarray) -> ir.Value:
        """A constant of the graph, made once for all that ask for this name."""
        name = f"written_{name}"
        if name not in self.graph.initializers:
            return stored(self.graph, name, value)
        return self.graph.initializers[name]

    def add(self, operator: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        """The output of a new node."""
        return self.add_all(operator, inputs, 1, **attributes)[0]

    def add_all(
        self, operator: str, inputs: Sequence[ir.Value | None], outputs: int, **attributes: Any
    ) -> Sequence[ir.Value]:
        """The outputs of a new node."""
        import onnx_ir as ir

        node = ir.node(operator, list(inputs), attributes, num_outputs=outputs)
        return self._put(node)

    def copy(self, node: ir.Node, inputs: Sequence[ir.Value | None]) -> Sequence[ir.Value]:
        """The outputs of a node like another one, that reads other values."""
        import onnx_ir as ir

        made = ir.Node(
            node.domain,
            node.op_type,
            list(inputs),
            node.attributes.values(),
            num_outputs=len(node.outputs),
        )
        for old, new in zip(node.outputs, made.outputs):
            new.shape, new.type = old.shape, old.type
        return self._put(made)

    def replace(self, node: ir.Node, values: Sequence[ir.Value]) -> None:
        """Values take the place of a node's outputs, and the node goes."""
        import onnx_ir as ir

        for old, new in zip(node.outputs, values):
            new.shape, new.type = old.shape, old.type
        ir.convenience.replace_nodes_and_values(self.graph, node, [node], [], node.outputs, values)

    def _put(self, node: ir.Node) -> Sequence[ir.Value]:
        self._made += 1
        node.name = f"{self.prefix}_{self._made}"
        for place, value in enumerate(node.outputs):
            value.name = f"{node.name}_{place}"
        if self._after:
            self.graph.insert_after(self._place, node)
            self._place = node
        else:
            self.graph.insert_before(self._place, node)
        return node.outputs


def numbers(value: ir.Value | None) -> np.ndarray:
    """What a constant holds."""
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def stored(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new constant of a graph."""
    import onnx_ir as ir

    tensor = ir.tensor(array, name=name)
    kind = ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value
