"""`log(1 + e)` as a rational function, for a runtime that makes one kernel of neighbours.

The scan's softplus has it with the digits that a rounded sum loses put back. OpenVINO takes the
logarithm for a softplus of its own, which is slow, and loses them all the same; products and sums
become part of the kernel around them. Of 14 blocks each took 0.3 ms in VMamba-T.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .editing import Editor

if TYPE_CHECKING:
    import onnx_ir as ir

TERMS = (11, 9, 7, 5, 3, 1)
"""With one more, 13, they are exact to 2e-8 of the result for 0 < e <= 1."""


def write_logarithms(model: ir.Model) -> int:
    """Write the logarithms of softplus as rational functions; how many there were."""
    found = [node for node in model.graph if _small(node) is not None]
    for number, log in enumerate(found):
        # log(total) - lost, of which the second part goes too.
        whole = next(iter(log.outputs[0].uses())).node
        small = _small(log)
        assert small is not None
        editor = Editor(model.graph, f"log{number}", whole)
        editor.replace(whole, [_log(editor, small)])
    return len(found)


def _log(editor: Editor, small: ir.Value) -> ir.Value:
    """The series of 2 artanh(z), z = e / (2 + e): of odd powers up to the thirteenth."""

    def number(value: float) -> ir.Value:
        return editor.constant(f"number_{value:.6f}", np.array(value, np.float32))

    z = editor.add("Div", [small, editor.add("Add", [small, number(2.0)])])
    square = editor.add("Mul", [z, z])
    total = number(2 / 13)
    for term in TERMS:
        total = editor.add("Add", [editor.add("Mul", [total, square]), number(2 / term)])
    return editor.add("Mul", [total, z])


def _small(log: ir.Node) -> ir.Value | None:
    """The e of `log(1 + e) - ((1 + e) - 1 - e)`; None if the node is no such logarithm."""
    total = log.inputs[0] if log.op_type == "Log" else None
    sum_of = None if total is None else total.producer()
    uses = list(log.outputs[0].uses())
    if sum_of is None or sum_of.op_type != "Add" or len(uses) != 1:
        return None
    if uses[0].node.op_type != "Sub" or uses[0].idx != 0:
        return None
    exponentials = [
        value for value in sum_of.inputs if value is not None and _made_by(value) == "Exp"
    ]
    lost = uses[0].node.inputs[1]
    if len(exponentials) != 1 or lost is None or _made_by(lost) not in ("Sub", "Div"):
        return None
    return exponentials[0]


def _made_by(value: ir.Value) -> str:
    producer = value.producer()
    return "" if producer is None else producer.op_type
