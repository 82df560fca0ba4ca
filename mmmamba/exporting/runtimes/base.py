"""What all runtimes share: a file's inputs, checked before its program sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np

from ...errors import UsageError
from ...suggest import did_you_mean
from ..metadata import Metadata

AXES = {
    "images": ("number of images", "channels", "height", "width"),
    "image_sizes": ("number of images", "numbers"),
}
"""What the lengths of an input count."""
TYPES = {"images": np.dtype(np.float32), "image_sizes": np.dtype(np.int64)}


class Runtime(ABC):
    """An exported file, ready to run."""

    needs: ClassVar[str | None] = None
    """The package that runs it, of the extra `[export]`; None where PyTorch does."""

    name: str
    """What runs it and where: `onnxruntime 1.32 (CPU)`."""
    metadata: Metadata
    input_shapes: dict[str, tuple[int | None, ...]]
    """None stands for any length."""

    def __init__(self, path: Path, metadata: Metadata) -> None:
        self.path = path
        self.metadata = metadata
        self.input_shapes = {name: metadata.inputs.shape(name) for name in metadata.inputs.names}

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name.

        Raises:
            UsageError: an input is missing, or of another shape or kind than the file takes; or the
                runtime could not compute it, with what it says.
        """
        self._check(inputs)
        arrays = {name: np.ascontiguousarray(inputs[name]) for name in self.input_shapes}
        return self._run(arrays)

    @abstractmethod
    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of inputs that were checked."""

    def _check(self, inputs: Mapping[str, np.ndarray]) -> None:
        takes = ", ".join(self.input_shapes)
        for name in inputs:
            if name not in self.input_shapes and name not in self.metadata.inputs.names:
                raise UsageError(
                    f"{self.path.name} has no input {name!r}, but takes {takes}."
                    f"{did_you_mean(name, self.input_shapes)}"
                )
        for name, shape in self.input_shapes.items():
            if name not in inputs:
                raise UsageError(f"{self.path.name} takes {takes}, and {name} is missing")
            self._check_one(name, inputs[name], shape)
        counts = {name: len(inputs[name]) for name in self.input_shapes}
        if len(set(counts.values())) > 1:
            told = " and ".join(f"{count} of {name}" for name, count in counts.items())
            raise UsageError(f"{self.path.name} got {told}: wanted as many of each")

    def _check_one(self, name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> None:
        if not isinstance(array, np.ndarray):
            raise UsageError(
                f"{name} is a {type(array).__name__}, wanted a NumPy array: np.asarray({name})"
            )
        kind = TYPES.get(name, array.dtype)
        if array.dtype != kind:
            raise UsageError(
                f"{name} is {array.dtype}, and {self.path.name} takes {kind}: "
                f"{name}.astype({str(kind)!r})"
            )
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        if array.ndim != len(shape):
            raise UsageError(
                f"{name} has the shape {array.shape}, and {self.path.name} takes ({wanted})"
            )
        for axis, (given, length) in enumerate(zip(array.shape, shape)):
            if length is not None and given != length:
                what = AXES[name][axis] if name in AXES else "values"
                raise UsageError(
                    f"{name} has {given} for the {what} (axis {axis} of {array.shape}), and "
                    f"{self.path.name} takes {length}: ({wanted}).{_cure(axis, array)}"
                )


def _cure(axis: int, array: np.ndarray) -> str:
    """What to do about a length that the file does not take."""
    if axis in (2, 3):
        return (
            " Resize and pad images to that, or export with --dynamic or "
            f"--size {array.shape[2]} {array.shape[3]}"
        )
    return f" Export with --dynamic or --batch {len(array)}" if axis == 0 else ""


def needed(package: str, why: str) -> ModuleType:
    """A package of the extra `[export]`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        # A package that is there but lacks another one says so itself.
        if error.name != package.partition(".")[0]:
            raise
        raise UsageError(
            f"{why} needs {package}, which is not installed: pip install 'mmmamba[export]'"
        ) from error


def first_line(error: Exception) -> str:
    """What a program says of an error, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenVINO begins with where in its code it was.
    telling = [line for line in lines if not line.startswith("Exception from ")]
    return (telling or lines or [type(error).__name__])[0][:300]
