"""From a path or URL to what a checkpoint file holds, without running anything of the file."""

import logging
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ..printable import printable
from .download import as_local_file, check_kind
from .errors import CheckpointError
from .held import Globals, settle
from .pickle_bounds import RefusedPickleError, check_pickles
from .pickled_models import is_pickled_model, read_pickled_model

logger = logging.getLogger("mmmamba")


class Inert:
    """Stands for what is no weight: options, log histories, NumPy values.

    It is built from anything and keeps nothing.
    """

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _numpy(module: str) -> list[str]:
    return [f"numpy.{module}.multiarray._reconstruct", f"numpy.{module}.multiarray.scalar"]


# What may stand beside the weights in published files. None of the named classes is imported: a
# configuration node becomes an OrderedDict (the weights-only reader fills no other mapping),
# anything else an Inert object.
ALLOWED: Globals = [
    (OrderedDict, "yacs.config.CfgNode"),
    (Inert, "argparse.Namespace"),
    (Inert, "mmengine.logging.history_buffer.HistoryBuffer"),
    # A log history names its methods by getattr. Here that builds an Inert object, no more.
    (Inert, "builtins.getattr"),
    *(
        (Inert, name)
        for name in (*_numpy("core"), *_numpy("_core"), "numpy.ndarray", "numpy.dtype")
    ),
]


# What the readers raise on bytes that are no checkpoint, as thousands of damaged files have shown.
UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def read_checkpoint(
    source: str | os.PathLike, *, trust: bool = False, map_location: str | torch.device = "cpu"
) -> Mapping:
    """What the file at a path or URL holds: a dict, as its writer laid it out.

    URLs are `https://`, `http://` or `file://`. `torch.save` files are read with
    `weights_only=True` and a short allow-list; safetensors are read too.

    Args:
        trust: unpickle a file that the safe reader refuses. This **runs code that the file holds**;
            it is logged.

    Raises:
        CheckpointError: no such file, failed download, not a checkpoint, damaged, or refused as
            unsafe.
    """
    # torch's own complaint would come after the download, and pass for a damaged file.
    if torch.device(map_location).type == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(
            f"map_location={map_location!r}, but there is no CUDA device here. Use 'cpu'."
        )
    path = checked_file(source)
    if is_safetensors(path):
        return read_safetensors(path, source, map_location)
    return as_mapping(_read_torch(path, source, trust, map_location), source)


def checked_file(source: str | os.PathLike, checksums: bool = True) -> Path:
    """The local file of a path or URL, looked at from outside.

    Its beginning is that of a checkpoint; an archive's table and checksums are right.
    """
    path = as_local_file(source)
    check_kind(path, source)
    if is_archive(path):
        _check_archive(path, source, checksums)
    return path


def as_mapping(loaded: Any, source: Any) -> Mapping:
    """Raises CheckpointError unless it is a dict."""
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{source} holds a {type(loaded).__name__}, not a dict of tensors. "
            "Save a state dict instead: torch.save(model.state_dict(), path)."
        )
    return loaded


def is_archive(path: Path) -> bool:
    return _starts_with(path, b"PK")


def is_safetensors(path: Path) -> bool:
    # Eight bytes of header length, then the header, which is JSON.
    return path.suffix == ".safetensors" or _starts_with(path, b"{", after=8)


def _starts_with(path: Path, magic: bytes, after: int = 0) -> bool:
    with path.open("rb") as file:
        return file.read(after + len(magic))[after:] == magic


def read_safetensors(path: Path, source: Any, map_location: Any) -> Mapping:
    """Raises CheckpointError if the file is not whole."""
    try:
        return safetensors.torch.load_file(path, device=str(map_location))
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{source} is no whole safetensors file ({error}): truncated or damaged. "
            + _again(path, source)
        ) from error


def _check_archive(path: Path, source: Any, checksums: bool) -> None:
    """Refuse zip files that `torch.save` does not write: it never compresses, in one folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            odd = _oddity(archive.infolist(), path.stat().st_size)
            # torch's reader does not look at the checksums that its writer leaves.
            damaged = archive.testzip() if checksums and not odd else None
    except UNREADABLE as error:
        raise damaged_file(path, source, error) from error
    if odd:
        raise CheckpointError(
            f"{source} is a zip archive, but not one that torch.save writes: {odd}. Refused. "
            "If it is an archive of checkpoints, unpack it and give the path of the one you want."
        )
    if damaged:
        raise damaged_file(
            path, source, zipfile.BadZipFile(f"the checksum of '{damaged}' in it is wrong")
        )


def _oddity(entries: list[zipfile.ZipInfo], size: int) -> str | None:
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is a TorchScript program, which is code"
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return "its entries are compressed (they could unfold to any size)"
    if any(name.startswith(("/", "\\")) or ".." in Path(name).parts for name in names):
        return "an entry's path leads out of the archive"
    # Which of them is read depends on the reader.
    if len(set(names)) != len(names):
        return "it holds two entries of one name"
    # Entries that overlap would unfold to more than there is, even without compression.
    if sum(entry.file_size for entry in entries) > size:
        return "its entries claim to be larger than the file"
    if not any(name.endswith("data.pkl") for name in names):
        return "there is no data.pkl in it"
    return None


def _read_torch(path: Path, source: Any, trust: bool, map_location: Any) -> Any:
    try:
        # With trust the pickle may do anything: to bound it would be no protection.
        if not trust:
            check_pickles(path)
        # `settle` within the guard, as it refuses what is nested too deeply.
        with torch.serialization.safe_globals(ALLOWED):
            return settle(torch.load(path, map_location=map_location, weights_only=True))
    # An unpickling error as well: it has to stand before the others.
    except RefusedPickleError as error:
        raise refused_file(source, error) from error
    except UNREADABLE as error:
        refused = refused_name(error)
        if not refused:
            raise damaged_file(path, source, error) from error
        # Tried even with trust: tensors that can be had without running code are had so.
        if (held := _read_pickled(path, source, map_location)) is not None:
            return held
        if not trust:
            raise CheckpointError(
                f"{source} holds objects that are not weights and could run code when read: "
                f"{refused}. Refused, and nothing of it was run. Ask its author for the state dict "
                "alone; only if you trust whoever made this file as you trust a program of theirs, "
                "pass trust=True."
            ) from error
    # Only a name that was refused leads here: damage is told above, with trust or without.
    logger.warning(
        "trust=True: unpickling %s, which runs code that the file holds (%s)", source, refused
    )
    try:
        return torch.load(path, map_location=map_location, weights_only=False)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"{source} needs classes that are not installed here ({error}). "
            "Read it where they are, and save the state dict alone."
        ) from error


def _read_pickled(path: Path, source: Any, map_location: Any) -> Any | None:
    """What a file holds that a YOLO program pickled its model into.

    None if it is no such file, or names anything else.
    """
    # torch lists the names of archives only.
    if not is_archive(path):
        return None
    try:
        with torch.serialization.safe_globals(ALLOWED):
            if not is_pickled_model(path):
                return None
            held = settle(read_pickled_model(path, map_location))
    except RefusedPickleError as error:
        raise refused_file(source, error) from error
    except UNREADABLE as error:
        raise damaged_file(path, source, error) from error
    logger.info(
        "%s holds a pickled model: its tensors were read, its classes neither imported nor called",
        source,
    )
    return held


def refused_file(source: Any, error: RefusedPickleError) -> CheckpointError:
    """What to raise for a file that would take too much."""
    return CheckpointError(
        f"{source} is refused: {error}. torch.save writes no such file of weights. "
        "Ask its author for the state dict alone."
    )


def damaged_file(path: Path, source: Any, error: Exception) -> CheckpointError:
    """What to raise for one of `UNREADABLE`."""
    return CheckpointError(
        f"{source} ({path.stat().st_size:,} bytes) is no whole checkpoint: {_reason(error)}. "
        f"It is truncated or damaged, or not written by torch.save. {_again(path, source)}"
    )


def _again(path: Path, source: Any) -> str:
    cached = str(source).startswith(("http://", "https://"))
    return f"Delete {path} and download it again." if cached else "Download it again."


def refused_name(error: Exception) -> str:
    """The class or function that the safe reader would not touch.

    Empty if it failed for another reason.
    """
    found = re.search(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)", str(error))
    return printable(found[1]) if found and isinstance(error, pickle.UnpicklingError) else ""


def _reason(error: Exception) -> str:
    # torch's own text begins with advice to read the file unsafely.
    text = str(error).split("WeightsUnpickler error:", 1)[-1].strip() or type(error).__name__
    return printable(text.splitlines()[0].rstrip("."), 200)
