"""ONNX files in onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UsageError
from ..metadata import Metadata
from .base import Runtime, first_line, needed
from .looks import looks_like

CUDA = "CUDAExecutionProvider"
SILENT = 3
"""Onnxruntime's level of the log from which on errors are told."""


class OnnxRuntime(Runtime):
    """A session on the CPU or on a GPU of NVIDIA.

    On a GPU products are computed in float32 and not in TF32, which would round images to three
    digits.
    """

    needs = "onnxruntime"

    def __init__(
        self, path: Path, device: str, threads: int | None, metadata: Metadata | None = None
    ) -> None:
        runtime = needed("onnxruntime", f"{path.name} is an ONNX file, which")
        state = needed("onnxruntime.capi.onnxruntime_pybind11_state", "onnxruntime")
        # They have no common base.
        self._errors: tuple[type[Exception], ...] = tuple(
            getattr(state, name) for name in ERRORS if hasattr(state, name)
        )
        providers = _providers(runtime, device)
        options = runtime.SessionOptions()
        options.log_severity_level = SILENT
        if threads:
            options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(os.fspath(path), options, providers=providers)
        except self._errors as error:
            raise _unreadable(path, error) from error
        held = self._session.get_modelmeta().custom_metadata_map
        super().__init__(path, metadata or Metadata.from_strings(held, str(path)))
        # What the file itself takes: an input that no output needs may have been left out.
        self.input_shapes = {one.name: _lengths(one.shape) for one in self._session.get_inputs()}
        self._outputs = [one.name for one in self._session.get_outputs()]
        used = self._session.get_providers()[0]
        if device != "cpu" and used != CUDA:
            raise UsageError(
                f"onnxruntime {runtime.__version__} could not start {CUDA} and would run on "
                f"the CPU: the libraries of CUDA that it was built for are not here. {INSTALL}"
            )
        place = "CPU" if device == "cpu" else device.upper()
        self.name = f"onnxruntime {runtime.__version__} ({place})"

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            found = self._session.run(self._outputs, inputs)
        except self._errors as error:
            raise UsageError(
                f"{self.name} could not run {self.path.name}: {first_line(error)}"
            ) from error
        return dict(zip(self._outputs, found))


ERRORS = (
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoModel",
    "NoSuchFile",
    "NotFound",
    "NotImplemented",
    "RuntimeException",
)
INSTALL = (
    "pip uninstall onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]', or run on the CPU "
    "with --device cpu"
)


def _providers(runtime: Any, device: str) -> list[Any]:
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    if kind != "cuda":
        raise UsageError(f"onnxruntime runs on cpu, cuda or cuda:1 here, not on {device!r}")
    if CUDA not in runtime.get_available_providers():
        raise UsageError(
            f"onnxruntime {runtime.__version__} was built without {CUDA} and has "
            f"{', '.join(runtime.get_available_providers())}. {INSTALL}"
        )
    return [(CUDA, dict(device_id=int(index or 0), use_tf32="0")), "CPUExecutionProvider"]


def _lengths(shape: list[Any]) -> tuple[int | None, ...]:
    """Numbers, where the file has names for lengths that may be any."""
    return tuple(length if isinstance(length, int) else None for length in shape)


def _unreadable(path: Path, error: Exception) -> UsageError:
    kind = type(error).__name__
    if kind in ("InvalidProtobuf", "NoModel") or path.stat().st_size == 0:
        return UsageError(f"{path} is no ONNX file that can be read: it is {looks_like(path)}")
    if "No graph was found" in str(error):
        return UsageError(f"{path} is no ONNX file that can be read: it holds no graph")
    return UsageError(f"onnxruntime cannot load {path}: {first_line(error)}")
