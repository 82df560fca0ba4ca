"""The products of a model that can be computed in int8: convolutions and products of matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

CHOOSERS = ("NonMaxSuppression", "TopK")
"""What follows them depends on which boxes were chosen, and is not compared number by number."""
SMALLEST = 256
"""Numbers of a weight: a smaller one is not worth the two nodes around it."""


@dataclass(frozen=True)
class Product:
    """A node with a weight of its own."""

    name: str
    kind: str
    """`Conv`, `Gemm` or `MatMul`."""
    input: str
    output: str
    weight: str
    bias: str | None
    axis: int
    """The weight's axis of the product's channels, which have a scale each."""

    @property
    def output_in_int8(self) -> bool:
        """Whether onnxruntime has it in int8 only if what it gives is in int8 too."""
        return self.kind == "Conv"


def products_of(model: ir.Model) -> list[Product]:
    """In the order of the graph. Bodies of loops are not looked into: the scan stays in float32.

    So does a product of several matrices at once, such as a scan's step sizes of all routes, for
    which onnxruntime has no scale for each channel; and a convolution of each channel alone, which
    has too few products for the rounding around it to pay (VMamba-T and MobileMamba-T2 take 0.98
    and 0.92 of the time without them in int8, and are closer to float32).
    """
    found = [_product(node) for node in model.graph]
    return [one for one in found if one is not None]


def _product(node: ir.Node) -> Product | None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in ("Conv", "Gemm", "MatMul"):
        return None
    given, weight, *more = node.inputs
    bias = more[0] if more else None
    if given is None or weight is None or given.is_initializer():
        return None
    held = [value for value in (weight, bias) if value is not None]
    if not all(_is_float(value) for value in held) or weight.shape is None:
        return None
    dims = len(weight.shape)
    if weight.const_value is None or weight.const_value.size < SMALLEST:
        return None
    if (dims != 2 and node.op_type != "Conv") or (dims > 2 and weight.shape[1] == 1):
        return None
    if node.op_type == "Gemm" and not _is_plain(node):
        return None
    swapped = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
    return Product(
        str(node.name),
        node.op_type,
        str(given.name),
        str(node.outputs[0].name),
        str(weight.name),
        None if bias is None else str(bias.name),
        0 if node.op_type == "Conv" or swapped else 1,
    )


def _is_float(value: ir.Value) -> bool:
    import onnx_ir as ir

    return value.is_initializer() and value.dtype == ir.DataType.FLOAT


def _is_plain(gemm: ir.Node) -> bool:
    scales = [gemm.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    return scales == [1.0, 1.0] and gemm.attributes.get_int("transA", 0) == 0


def probes_of(model: ir.Model, products: list[Product]) -> list[str]:
    """Values by which a model in int8 is compared: outputs, or what a head gives.

    Outputs are compared where they are maps or logits. Of labels and chosen boxes, the last
    products before the choice are.
    """
    import onnx_ir as ir

    chosen = _behind_choice(model)
    outputs = [value for value in model.graph.outputs if value.dtype == ir.DataType.FLOAT]
    plain = [str(value.name) for value in outputs if value not in chosen]
    if len(plain) == len(model.graph.outputs):
        return plain
    by_name = {product.name: product for product in products}
    # Backwards: a value is read by a product if a node that reads it is one, or leads to one.
    read: set[ir.Value] = set()
    last = []
    for node in reversed(list(model.graph)):
        product = by_name.get(str(node.name))
        leads = any(value in read for value in node.outputs)
        if product is not None and not leads and node.outputs[0] not in chosen:
            last.append(product.output)
        if (product is not None and node.outputs[0] not in chosen) or leads:
            read.update(value for value in node.inputs if value is not None)
    return last[::-1]


def _behind_choice(model: ir.Model) -> set[ir.Value]:
    """Values that depend on a choice of boxes."""
    found: set[ir.Value] = set()
    for node in model.graph:
        if node.op_type in CHOOSERS or any(value in found for value in node.inputs if value):
            found.update(node.outputs)
    return found
