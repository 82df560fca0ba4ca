"""What runs exported files, and whether their results are those of PyTorch."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from ..files import ENDINGS, check_file, format_of
from ..metadata import Metadata
from .archives import read_from_archive, write_to_archive
from .base import Runtime
from .onnx_runtime import OnnxRuntime
from .open_vino import OpenVino, write_to_openvino
from .torch_files import PACKAGE, PROGRAM, Inductor, TorchExport

__all__ = [
    "RUNTIMES",
    "Runtime",
    "open_runtime",
    "read_metadata",
    "write_to_archive",
    "write_to_openvino",
]

RUNTIMES: dict[str, type[OnnxRuntime | OpenVino | TorchExport | Inductor]] = dict(
    onnx=OnnxRuntime, openvino=OpenVino, pt2=TorchExport, aoti=Inductor
)
"""By the formats of `files.FORMATS`."""


def open_runtime(
    path: str | Path,
    device: str = "cpu",
    threads: int | None = None,
    metadata: Metadata | None = None,
) -> Runtime:
    """An exported file, ready to run.

    Args:
        device: `cpu`, `cuda` or `cuda:1`; nothing falls back to another one.
        threads: those of the CPU; as many as the runtime takes by itself if None.
        metadata: of a file that says nothing of itself yet; else it must.

    Raises:
        UsageError: no such file, no exported file of ours, or nothing here to run it.
    """
    kind = _kind(path)
    return RUNTIMES[kind](check_file(path), device, threads, metadata)


def read_metadata(path: str | Path) -> Metadata:
    """What an exported file says of itself.

    Raises:
        UsageError: as `open_runtime` raises.
    """
    kind, file = _kind(path), check_file(path)
    if kind in ("pt2", "aoti"):
        return read_from_archive(file, PROGRAM if kind == "pt2" else PACKAGE)
    return open_runtime(file).metadata


def _kind(path: str | Path) -> str:
    kind = format_of(path)
    if kind is None:
        raise UsageError(f"{path} is no exported file by its name, which ends in one of {ENDINGS}")
    return kind
