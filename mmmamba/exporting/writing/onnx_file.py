"""ONNX files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..metadata import Metadata
from ..onnx.saving import save
from .base import Job

if TYPE_CHECKING:
    import onnx_ir as ir


class OnnxWriter:
    """For onnxruntime, and whatever else reads ONNX."""

    needs: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")

    def write(self, job: Job, path: Path) -> None:
        save(make(job), path)

    def describe(self, path: Path, metadata: Metadata) -> None:
        import onnx

        # Weights in a file of their own stay there.
        model = onnx.load(str(path), load_external_data=False)
        onnx.helper.set_model_props(model, metadata.to_strings())
        onnx.save(model, str(path))


def make(job: Job) -> ir.Model:
    """The model of a job in its precision.

    Half precision of OpenVINO's files is made when they are written.
    """
    from ..half import to_half
    from ..onnx import to_onnx

    model = to_onnx(job.program(), job.graph)
    if job.request.half and job.request.format == "onnx":
        to_half(model, compute=job.request.device != "cpu")
    return _in_int8(model, job) if job.request.int8 else model


def _in_int8(model: ir.Model, job: Job) -> ir.Model:
    import onnx_ir as ir

    from ..quantize import calibration, quantize

    assert job.request.calibrate is not None
    batches = calibration(job.request.calibrate, job.metadata.inputs)
    with tempfile.TemporaryDirectory() as folder:
        exact, rounded = Path(folder, "exact.onnx"), Path(folder, "int8.onnx")
        save(model, exact)
        for line in quantize(exact, batches, rounded).lines():
            job.log(line)
        return ir.load(rounded)
