"""ONNX models run for what is within them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .ranges import Arrays, Run

if TYPE_CHECKING:
    import onnx_ir as ir

SILENT = 3
"""Onnxruntime's level of the log from which on errors are told."""


def runner(model: ir.Model, names: Sequence[str], folder: Path) -> Run:
    """Runs a model for values of these names, be they outputs or not; changes its outputs."""
    import onnx_ir as ir
    import onnxruntime

    from ..onnx.saving import save

    values = {str(value.name): value for node in model.graph for value in node.outputs}
    values.update((str(value.name), value) for value in model.graph.inputs)
    given = {str(value.name) for value in model.graph.inputs}
    wanted = [name for name in names if name not in given]
    model.graph.outputs[:] = [values[name] for name in wanted]
    for value in model.graph.outputs:
        # A file says of each output what it is, and shapes within a model may be wrong.
        value.shape = None
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
    file = folder / "inside.onnx"
    save(model, file)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    takes = [one.name for one in session.get_inputs()]

    def run(batch: Arrays) -> Arrays:
        found = session.run(wanted, {name: batch[name] for name in takes})
        return dict(batch) | dict(zip(wanted, found))

    return run
