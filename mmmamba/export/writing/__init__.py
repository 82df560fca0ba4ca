"""What writes files, by their format."""

from .base import Job, Writer
from .onnx_file import OnnxWriter

__all__ = ["WRITERS", "Job", "Writer"]

WRITERS: dict[str, Writer] = dict(onnx=OnnxWriter())
"""By the formats of `files.FORMATS`."""
