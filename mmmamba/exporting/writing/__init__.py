"""What writes files, by their format."""

from .base import Job, Writer
from .onnx_file import OnnxWriter
from .openvino_file import OpenVinoWriter
from .torch_files import InductorWriter, TorchExportWriter

__all__ = ["WRITERS", "Job", "Writer"]

WRITERS: dict[str, Writer] = dict(
    onnx=OnnxWriter(), openvino=OpenVinoWriter(), pt2=TorchExportWriter(), aoti=InductorWriter()
)
"""By the formats of `files.FORMATS`."""
