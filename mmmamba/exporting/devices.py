"""The device that an exported file runs on where nobody names one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from .files import check_file, format_of
from .runtimes.torch_files import compiled_for

CUDA = "CUDAExecutionProvider"


def device_of(path: str | Path, asked: str | None = None) -> str:
    """The device that was asked for, as runtimes call it, else a GPU where the file can run on it.

    Args:
        asked: `cpu`, `cuda`, `cuda:1`, or the number of a GPU.
    """
    if asked is not None:
        return f"cuda:{asked}" if asked.isdecimal() else asked
    kind = format_of(path)
    if kind == "aoti":
        # Its code is for one kind of device.
        return compiled_for(check_file(path)) or "cpu"
    has_gpu = torch.cuda.is_available()
    if kind == "onnx":
        return "cuda" if has_gpu and _onnxruntime_has_cuda() else "cpu"
    return "cuda" if has_gpu and kind == "pt2" else "cpu"


def _onnxruntime_has_cuda() -> bool:
    # That it is missing is told by what opens the file.
    if find_spec("onnxruntime") is None:
        return False
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers()
