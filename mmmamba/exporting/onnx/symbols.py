"""Operators whose numbers may be sides that are not known: PyTorch's own translation wants figures.

For `custom_translation_table` of `torch.onnx.export`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .recording import Value, operators

END = 2**63 - 1
"""Where a slice goes to the end."""


def floor_divide(number: Value, divisor: Value) -> Value:
    """Python's `//` of sides: ONNX's `Div` rounds towards zero, and sides are subtracted too."""
    op = operators()
    rest = op.Mod(number, divisor)
    return op.Div(op.Sub(number, rest), divisor)


def remainder(x: Value, divisor: Value) -> Value:
    """`x % divisor` with the divisor's sign, of integers or floats."""
    op = operators()
    divisor = op.CastLike(divisor, x)
    if x.dtype.is_integer():
        return op.Mod(x, divisor)
    return op.Sub(x, op.Mul(op.Floor(op.Div(x, divisor)), divisor))


def multiply(x: Value, factor: Value) -> Value:
    """`x * factor` in x's type."""
    op = operators()
    return op.Mul(x, op.CastLike(factor, x))


def roll(x: Value, shifts: Sequence[Value], dims: Sequence[int] = ()) -> Value:
    """What leaves at the end of an axis comes back at its beginning."""
    op = operators()
    shape = None
    if not dims:
        shape = op.Shape(x)
        x, dims = op.Reshape(x, [-1]), [0]
    for shift, dim in zip(shifts, dims):
        axis = op.Constant(value_ints=[dim])
        side = op.Gather(op.Shape(x), axis)
        cut = op.Sub(side, op.Mod(op.Reshape(shift, [1]), side))
        begin, end = op.Constant(value_ints=[0]), op.Constant(value_ints=[END])
        moved = [op.Slice(x, cut, end, axis), op.Slice(x, begin, cut, axis)]
        x = op.Concat(*moved, axis=dim)
    return x if shape is None else op.Reshape(x, shape)


aten = torch.ops.aten
TRANSLATIONS: dict[Any, Callable] = {
    operator.floordiv: floor_divide,
    aten.remainder.Scalar: remainder,
    aten.mul.Scalar: multiply,
    aten.roll.default: roll,
}
