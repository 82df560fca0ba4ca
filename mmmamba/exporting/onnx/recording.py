"""What translations of operators write their nodes with."""

from typing import Any

Value = Any
"""An `onnx_ir.Value`, or a constant of Python."""


def operators() -> Any:
    """ONNX's operators, recorded by onnxscript as they are called."""
    # Late: an extra that only those who export have.
    from onnxscript import opset20

    return opset20
