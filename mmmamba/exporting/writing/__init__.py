"""What writes files, by their format."""

from .base import Job, Writer
from .onnx_file import OnnxWriter
from .openvino_file import OpenVinoWriter

__all__ = ["WRITERS", "Job", "Writer"]

WRITERS: dict[str, Writer] = dict(onnx=OnnxWriter(), openvino=OpenVinoWriter())
"""By the formats of `files.FORMATS`."""
