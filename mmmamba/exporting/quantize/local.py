"""How much int8 changes what each product gives, looked at alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..onnx.editing import numbers
from .products import Product
from .ranges import Arrays, Range
from .rewriting import rounded_weight

if TYPE_CHECKING:
    import onnx_ir as ir

CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}


def local_errors(
    model: ir.Model,
    products: Sequence[Product],
    ranges: Mapping[str, Range],
    examples: Sequence[Arrays],
) -> dict[str, float]:
    """By the names of products: the root mean square error, as a share of the spread."""
    nodes = {str(node.name): node for node in model.graph}
    found: dict[str, list[float]] = {product.name: [] for product in products}
    for values in examples:
        for product in products:
            error = _error(nodes[product.name], product, ranges, values)
            found[product.name].append(error)
    return {name: float(np.mean(errors)) for name, errors in found.items()}


def _error(node: ir.Node, product: Product, ranges: Mapping[str, Range], values: Arrays) -> float:
    weight, given = numbers(node.inputs[1]), values[product.input]
    rounded = ranges[product.input].rounded(given)
    exact = _product(node, given, weight)
    changed = _product(node, rounded, rounded_weight(weight, product.axis)).numpy()
    if product.output_in_int8:
        # What a bias adds moves the range's ends.
        bias = values[product.output] - exact.numpy()
        changed = ranges[product.output].rounded(changed + bias) - bias
    spread = float(exact.std(correction=0))
    return float(np.sqrt(np.square(changed - exact.numpy()).mean())) / max(spread, 1e-12)


def _product(node: ir.Node, given: np.ndarray, weight: np.ndarray) -> Tensor:
    x, w = torch.from_numpy(np.ascontiguousarray(given)), torch.from_numpy(weight.copy())
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        w = w.t()
    if node.op_type != "Conv":
        return x @ w
    dims = w.dim() - 2
    ones, zeros = [1] * dims, [0] * (2 * dims)
    pads = node.attributes.get_ints("pads", zeros)
    # From the last axis, and both of its ends at once.
    ends = [pads[axis + side * dims] for axis in reversed(range(dims)) for side in (0, 1)]
    return CONVOLUTIONS[w.dim()](
        F.pad(x, ends),
        w,
        stride=tuple(node.attributes.get_ints("strides", ones)),
        dilation=tuple(node.attributes.get_ints("dilations", ones)),
        groups=node.attributes.get_int("group", 1),
    )
