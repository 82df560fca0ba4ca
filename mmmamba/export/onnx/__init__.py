"""Traced graphs as ONNX models."""
