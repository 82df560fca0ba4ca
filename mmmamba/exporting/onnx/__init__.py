"""From an exported program to an ONNX model."""

from .write import to_onnx

__all__ = ["to_onnx"]
