"""OpenVINO's files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..metadata import Metadata
from .base import Job

if TYPE_CHECKING:
    import onnx_ir as ir


class OpenVinoWriter:
    """An `.xml` and the `.bin` of its weights, for Intel's runtime."""

    needs: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime", "openvino")

    def write(self, job: Job, path: Path) -> None:
        from .onnx_file import make

        to_openvino(make(job), path, job.request.half)

    def describe(self, path: Path, metadata: Metadata) -> None:
        import openvino

        from ..runtimes.open_vino import write_to_openvino

        core = openvino.Core()
        # Else it reads weights from the very file that is written.
        core.set_property({"ENABLE_MMAP": False})
        model = core.read_model(str(path))
        write_to_openvino(model, metadata)
        openvino.save_model(model, str(path), compress_to_fp16=False)


def to_openvino(model: ir.Model, path: Path, half: bool = False) -> None:
    """Write an ONNX model in float32, or with int8 in it, as a file of OpenVINO.

    The model is changed: loops and logarithms are written as OpenVINO computes them fast.

    Args:
        half: weights are stored in half precision.
    """
    import openvino

    from ..onnx.as_openvino import keep_meanings
    from ..onnx.logarithms import write_logarithms
    from ..onnx.saving import save
    from ..onnx.unrolling import unroll

    unroll(model)
    write_logarithms(model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        save(model, file)
        converted = openvino.convert_model(str(file))
        keep_meanings(converted)
        openvino.save_model(converted, str(path), compress_to_fp16=half)
