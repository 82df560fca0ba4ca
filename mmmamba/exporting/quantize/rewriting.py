"""A model with products in int8, as pairs of QuantizeLinear and DequantizeLinear around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..onnx.editing import Editor, numbers
from .products import Product
from .ranges import Range

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 127


def write_int8(model: ir.Model, products: Sequence[Product], ranges: Mapping[str, Range]) -> None:
    """Change a model so that these products are computed in int8.

    Activations have 8 bits without a sign and one scale; weights have a sign and a scale for each
    channel. Values keep their names.
    """
    nodes = {str(node.name): node for node in model.graph}
    pairs: dict[str, ir.Value] = {}
    for product in products:
        _write(model.graph, nodes[product.name], product, ranges, pairs)
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]


def _write(
    graph: ir.Graph,
    node: ir.Node,
    product: Product,
    ranges: Mapping[str, Range],
    pairs: dict[str, ir.Value],
) -> None:
    editor = Editor(graph, f"{product.name}_int8", node)
    given = node.inputs[0]
    assert given is not None
    if product.input not in pairs:
        pairs[product.input] = _rounded(editor, given, product.input, ranges[product.input])
    scales = _write_weight(editor, node, product)
    steps = ranges[product.input].scale * scales
    if product.bias is not None:
        _write_bias(editor, node, 2, product, steps)
    elif (found := _sum_with_bias(node, len(scales))) is not None:
        # Onnxruntime joins product and sum, and then has them in int8 only if the bias is too.
        _write_bias(Editor(graph, f"{product.name}_bias", found[0]), *found, product, steps)
    node.replace_input_with(0, pairs[product.input])
    if product.output_in_int8:
        _round_output(graph, node, product, ranges[product.output])


def _rounded(editor: Editor, value: ir.Value, name: str, limits: Range) -> ir.Value:
    scale = editor.constant(f"{name}_scale", np.array(limits.scale))
    zero = editor.constant(f"{name}_zero", np.array(limits.zero))
    steps = editor.add("QuantizeLinear", [value, scale, zero])
    found = editor.add("DequantizeLinear", [steps, scale, zero])
    found.shape, found.type = value.shape, value.type
    return found


def _write_weight(editor: Editor, node: ir.Node, product: Product) -> np.ndarray:
    """A weight in int8; the scales of its channels."""
    weight = numbers(node.inputs[1])
    scales = weight_scales(weight, product.axis)
    steps = np.rint(weight / _along(scales, weight.ndim, product.axis))
    # Kinds of products that share a weight may have channels along other axes.
    name = f"{product.weight}_{product.axis}"
    held = [
        editor.constant(f"{name}_int8", np.clip(steps, -LARGEST, LARGEST).astype(np.int8)),
        editor.constant(f"{name}_scale", scales),
        editor.constant(f"{name}_zero", np.zeros(len(scales), np.int8)),
    ]
    node.replace_input_with(1, editor.add("DequantizeLinear", held, axis=product.axis))
    return scales


def _sum_with_bias(node: ir.Node, channels: int) -> tuple[ir.Node, int] | None:
    """The sum with a bias that alone reads a product of matrices, and the bias's place in it."""
    uses = list(node.outputs[0].uses())
    if node.op_type != "MatMul" or len(uses) != 1 or uses[0].node.op_type != "Add":
        return None
    place = 1 - uses[0].idx
    bias = uses[0].node.inputs[place]
    if bias is None or not bias.is_initializer() or bias.const_value is None:
        return None
    return (uses[0].node, place) if tuple(bias.const_value.shape) == (channels,) else None


def _write_bias(
    editor: Editor, node: ir.Node, place: int, product: Product, scales: np.ndarray
) -> None:
    """A bias in steps of the product itself, in which int8's products are summed up."""
    bias = numbers(node.inputs[place])
    most = np.iinfo(np.int32)
    steps = np.clip(np.rint(bias.astype(np.float64) / scales), most.min, most.max)
    name = f"{product.name}_bias"
    held = [
        editor.constant(f"{name}_int32", steps.astype(np.int32)),
        editor.constant(f"{name}_scale", scales.astype(np.float32)),
        editor.constant(f"{name}_zero", np.zeros(len(scales), np.int32)),
    ]
    node.replace_input_with(place, editor.add("DequantizeLinear", held, axis=0))


def _round_output(graph: ir.Graph, node: ir.Node, product: Product, limits: Range) -> None:
    raw = node.outputs[0]
    users = list(raw.uses())
    editor = Editor(graph, f"{product.name}_int8_out", node, after=True)
    found = _rounded(editor, raw, product.output, limits)
    raw.name, found.name = f"{product.output}_exact", product.output
    for user, place in users:
        user.replace_input_with(place, found)
    for place, output in enumerate(graph.outputs):
        if output is raw:
            graph.outputs[place] = found


def weight_scales(weight: np.ndarray, axis: int) -> np.ndarray:
    """The step of each channel: its largest number is 127 of them."""
    others = tuple(one for one in range(weight.ndim) if one != axis)
    largest = np.abs(weight).max(axis=others)
    return (np.maximum(largest, 1e-12) / LARGEST).astype(np.float32)


def _along(values: np.ndarray, dims: int, axis: int) -> np.ndarray:
    shape = [1] * dims
    shape[axis] = -1
    return values.reshape(shape)
