"""OpenVINO's files, an `.xml` and the `.bin` of its weights, in OpenVINO."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UsageError
from ..metadata import Metadata
from .base import Runtime, first_line, needed
from .looks import looks_like

SECTION = "mmmamba"
"""Under which key of a file's `rt_info` the metadata stand."""


class OpenVino(Runtime):
    """A compiled model on the CPU, or on what else OpenVINO finds (`GPU` is Intel's)."""

    needs = "openvino"

    def __init__(
        self, path: Path, device: str, threads: int | None, metadata: Metadata | None = None
    ) -> None:
        openvino = needed("openvino", f"{path.name} is a file of OpenVINO, which")
        core = openvino.Core()
        place = _place(core, device)
        if not path.with_suffix(".bin").is_file():
            raise UsageError(
                f"{path} has its weights in {path.with_suffix('.bin').name}, which is not beside "
                "it. Copy both, or export the model again"
            )
        if looks_like(path) != "XML":
            raise UsageError(f"{path} is no file of OpenVINO: it is {looks_like(path)}")
        try:
            model = core.read_model(os.fspath(path))
        except RuntimeError as error:
            raise UsageError(
                f"{path} is no file of OpenVINO, or it is damaged or does not belong to "
                f"{path.with_suffix('.bin').name}: {first_line(error)}"
            ) from error
        super().__init__(path, metadata or Metadata.from_strings(_held(model), str(path)))
        # Left to itself it computes in half precision where the processor can.
        settings: dict[str, Any] = dict(INFERENCE_PRECISION_HINT="f32")
        if threads and place == "CPU":
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            self._model = core.compile_model(model, place, settings)
        except RuntimeError as error:
            raise UsageError(f"OpenVINO cannot compile {path}: {first_line(error)}") from error
        self.input_shapes = {
            one.get_any_name(): _lengths(one.get_partial_shape()) for one in self._model.inputs
        }
        self._outputs = [one.get_any_name() for one in self._model.outputs]
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]} ({place})"

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            found = self._model(inputs)
        except RuntimeError as error:
            raise UsageError(
                f"{self.name} could not run {self.path.name}: {first_line(error)}"
            ) from error
        # What it returns is written over by the next call.
        return {name: np.array(found[name]) for name in self._outputs}


def write_to_openvino(model: Any, metadata: Metadata) -> None:
    """Put the metadata into a model of OpenVINO, before it is saved."""
    for key, value in metadata.to_strings().items():
        model.set_rt_info(value, [SECTION, key])


def _held(model: Any) -> dict[str, str]:
    if not model.has_rt_info([SECTION]):
        return {}
    held = model.get_rt_info([SECTION])
    values = held.value if hasattr(held, "value") else held
    return {key: str(value) for key, value in values.items()}


def _lengths(shape: Any) -> tuple[int | None, ...]:
    return tuple(one.get_length() if one.is_static else None for one in shape)


def _place(core: Any, device: str) -> str:
    if device == "cpu":
        return "CPU"
    if device.upper() in core.available_devices:
        return device.upper()
    raise UsageError(
        f"OpenVINO finds {', '.join(core.available_devices)} here, not {device!r}; of GPUs it runs "
        "on Intel's. Write cpu, or export with --format onnx for a GPU of NVIDIA"
    )
