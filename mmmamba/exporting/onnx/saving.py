"""ONNX models as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 1_900_000_000
"""Bytes of weights that a file holds itself: its format ends at 2 GiB."""
WEIGHTS = ".data"
"""Ending of the file that holds them otherwise, behind the first one's."""


def save(model: ir.Model, path: Path) -> None:
    """Write a model, its weights beside it if they are too many for one file."""
    import onnx_ir as ir

    weights = (value.const_value for value in model.graph.initializers.values())
    large = sum(one.nbytes for one in weights if one is not None) > LARGEST
    ir.save(model, path, external_data=path.name + WEIGHTS if large else None)
