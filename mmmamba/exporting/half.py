"""Half precision for ONNX models: products of matrices and convolutions, and their weights.

The rest stays in float32, as eager mode has it under autocast: the state of a scan, its step sizes
and decays, sums and statistics, boxes; also the graph's inputs and outputs.

A GPU has products in half precision; a CPU mostly has not, and onnxruntime then casts around each
of them, which keeps it from joining convolutions with what follows (MobileMamba-T2 took 1.45 times
as long). For a CPU weights are therefore only stored so, and become float32 when the file is
loaded: half the size, the same errors, as fast as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .onnx.editing import numbers, stored

if TYPE_CHECKING:
    import onnx_ir as ir

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that take half precision, of float32 and a weight that the file holds."""
LARGEST = float(np.finfo(np.float16).max)


def to_half(model: ir.Model, compute: bool) -> int:
    """The model's products in half precision, changed in place; how many there are.

    Args:
        compute: computed so, for GPUs; else their weights are stored so and computed with in
            float32, for CPUs.
    """
    nodes = [node for node in model.graph if _takes_half(node)]
    narrowed: dict[str, ir.Value] = {}
    for node in nodes:
        for place, value in enumerate(node.inputs):
            if value is None:
                continue
            if not value.is_initializer():
                if compute:
                    node.replace_input_with(place, _narrowed(node, value, narrowed))
                continue
            half = _stored(model.graph, value)
            node.replace_input_with(
                place, half if compute else _widened(model.graph, half, narrowed)
            )
        if compute:
            _widen(model.graph, node)
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]
    return len(nodes)


def _takes_half(node: ir.Node) -> bool:
    """Whether it has a weight, and none that half precision cannot hold."""
    import onnx_ir as ir

    if node.op_type not in PRODUCTS or node.domain not in ("", "ai.onnx"):
        return False
    inputs = [value for value in node.inputs if value is not None]
    if any(value.dtype != ir.DataType.FLOAT for value in inputs):
        return False
    weights = [value.const_value for value in inputs if value.is_initializer()]
    held = [weight.numpy() for weight in weights if weight is not None]
    return bool(held) and all(float(np.abs(one).max(initial=0.0)) <= LARGEST for one in held)


def _stored(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A weight in half precision, beside the one in float32."""
    name = f"{value.name}_half"
    if name in graph.initializers:
        return graph.initializers[name]
    return stored(graph, name, numbers(value).astype(np.float16))


def _narrowed(node: ir.Node, value: ir.Value, made: dict[str, ir.Value]) -> ir.Value:
    """What a product reads, in half precision; cast once for all that read it."""
    import onnx_ir as ir

    name = str(value.name)
    if name not in made:
        made[name] = _cast(value, ir.DataType.FLOAT16, f"{name}_half")
        cast, producer = made[name].producer(), value.producer()
        assert cast is not None and node.graph is not None
        if producer is None:
            node.graph.insert_before(node.graph[0], cast)
        else:
            node.graph.insert_after(producer, cast)
    return made[name]


def _widened(graph: ir.Graph, half: ir.Value, made: dict[str, ir.Value]) -> ir.Value:
    """A stored weight in float32; a runtime computes this once, when it loads the file."""
    import onnx_ir as ir

    name = str(half.name)
    if name not in made:
        made[name] = _cast(half, ir.DataType.FLOAT, f"{name}_in_float")
        cast = made[name].producer()
        assert cast is not None
        graph.insert_before(graph[0], cast)
    return made[name]


def _widen(graph: ir.Graph, node: ir.Node) -> None:
    """What a product gives goes on in float32, under its old name."""
    import onnx_ir as ir

    half = node.outputs[0]
    name, users = str(half.name), list(half.uses())
    half.name = f"{name}_in_half"
    wide = _cast(half, ir.DataType.FLOAT, name)
    half.type = _type(ir.DataType.FLOAT16)
    cast = wide.producer()
    assert cast is not None
    graph.insert_after(node, cast)
    for user, place in users:
        user.replace_input_with(place, wide)
    for place, output in enumerate(graph.outputs):
        if output is half:
            graph.outputs[place] = wide


def _cast(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Value:
    import onnx_ir as ir

    node = ir.node("Cast", [value], {"to": dtype}, name=f"{name}_cast")
    output = node.outputs[0]
    output.name, output.shape, output.type = name, value.shape, _type(dtype)
    return output


def _type(dtype: ir.DataType) -> ir.TensorType:
    import onnx_ir as ir

    return ir.TensorType(dtype)
