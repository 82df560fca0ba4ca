"""Checkpoints of a training run: weights, log histories, counters and random states.

MMEngine lets the weights-only reader call the real `getattr` and NumPy's constructors. A file can
use the first to replace Python's built-in functions, the second to make arrays of pointers. Here
nothing that a file names is called: records stand for what it names, and arrays and histories are
made of them afterwards.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from .errors import CheckpointError
from .held import Globals, settle
from .pickle_bounds import RefusedPickleError, check_pickles
from .reading import (
    UNREADABLE,
    Inert,
    as_mapping,
    checked_file,
    damaged_file,
    is_archive,
    is_safetensors,
    read_safetensors,
    refused_file,
    refused_name,
)

PLAIN_TYPES = r"[biufcSU]\d+"
"""Names of NumPy types that hold no pointers: numbers, truth values, text."""


class _DType:
    """`numpy.dtype`: its name and the order of its bytes, whatever else the file says."""

    def __init__(self, name: Any = "", *arguments: Any) -> None:
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        # (version, order of bytes, …), as NumPy pickles it; "|" and "=" are the machine's own.
        self.order = state[1] if state[1] in ("<", ">") else "="

    def real(self) -> np.dtype:
        if not re.fullmatch(PLAIN_TYPES, str(self.name)):
            raise ValueError(
                f"it holds NumPy values of type {self.name!r}, which are no plain numbers or text"
            )
        return np.dtype(self.name).newbyteorder(self.order)


class _Array:
    """`numpy.ndarray` before its content is known."""

    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def real(self) -> np.ndarray:
        # As ndarray.__reduce__ writes it. The copy can be written to, a view of the bytes cannot.
        _, shape, dtype, fortran, raw = self.state
        return np.frombuffer(raw, dtype.real()).reshape(shape, order="F" if fortran else "C").copy()


class _History:
    """mmengine's `HistoryBuffer`."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def real(self) -> HistoryBuffer:
        # Made by its public arguments: the methods that the file names stay behind.
        logs, counts = (self.state[name].real() for name in ("_log_history", "_count_history"))
        return HistoryBuffer(logs, counts, int(self.state["max_length"]))


def _scalar(dtype: _DType, raw: bytes) -> Any:
    return np.frombuffer(raw, dtype.real())[0]


def _no_bytes() -> bytes:
    """The content of an empty array as files write it.

    The real `bytes(n)` with an `n` of a file's choice would fill the memory.
    """
    return b""


ALLOWED: Globals = [
    (_no_bytes, "builtins.bytes"),
    (_History, "mmengine.logging.history_buffer.HistoryBuffer"),
    # Histories name their methods so; HistoryBuffer knows them itself.
    (Inert, "builtins.getattr"),
    (_DType, "numpy.dtype"),
    (_Array, "numpy.ndarray"),
    *((_Array, f"numpy.{module}.multiarray._reconstruct") for module in ("core", "_core")),
    *((_scalar, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")),
]


def read_run_checkpoint(
    source: str | os.PathLike,
    map_location: str | torch.device | None = "cpu",
    *,
    lazily: bool = False,
) -> Mapping:
    """What MMEngine's runner saved: weights, optimizer, schedules, counters and histories.

    Args:
        source: a path or URL.
        lazily: leave the numbers of an archive's tensors on the disk, unchecked, until something
            looks at them.

    Raises:
        CheckpointError: no such file, failed download, not a checkpoint, damaged, or it holds
            anything else.
    """
    # A checksum is known only once all of the file is read, which is what is put off.
    path = checked_file(source, checksums=not lazily)
    if is_safetensors(path):
        return read_safetensors(path, source, map_location or "cpu")
    try:
        check_pickles(path)
        with torch.serialization.safe_globals(ALLOWED):
            # torch maps archives only, and raises for a file of the old format.
            held = torch.load(
                path, map_location=map_location, weights_only=True, mmap=lazily and is_archive(path)
            )
        held = as_mapping(settle(held, _real), source)
    except RefusedPickleError as error:
        raise refused_file(source, error) from error
    except UNREADABLE as error:
        # `as_mapping` has said what is wrong; its error is a RuntimeError, too.
        if isinstance(error, CheckpointError):
            raise
        if not (refused := refused_name(error)):
            raise damaged_file(path, source, error) from error
        raise CheckpointError(
            f"{source} holds objects that are not weights and could run code when read: {refused}. "
            "Refused, and nothing of it was run. If it is yours, save its state dict alone: "
            "torch.save(dict(state_dict=...), path)."
        ) from error
    if isinstance(meta := held.get("meta"), dict):
        # On resuming, MMEngine runs the text under this key as a program; it no longer writes it.
        meta.pop("config", None)
    return held


def _real(record: Any) -> Any:
    """What a record stands for."""
    return record.real() if isinstance(record, (_Array, _History)) else record
