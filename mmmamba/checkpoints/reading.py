"""From a path or URL to what a checkpoint file holds, without running anything that the file says."""

import logging
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from .download import as_local_file, check_kind
from .errors import CheckpointError

logger = logging.getLogger("mmmamba")


class Inert:
    """Stands for what is no weight (options, log histories, NumPy values): built from anything, keeps nothing."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _numpy(module: str) -> list[str]:
    return [f"numpy.{module}.multiarray._reconstruct", f"numpy.{module}.multiarray.scalar"]


# What may stand beside the weights in published files. None of the named classes is imported: a configuration node
# becomes an OrderedDict (the weights-only reader fills no other mapping), anything else an Inert object.
ALLOWED = [
    (OrderedDict, "yacs.config.CfgNode"),
    (Inert, "argparse.Namespace"),
    (Inert, "mmengine.logging.history_buffer.HistoryBuffer"),
    # A log history names its methods by getattr. Here that builds an Inert object and looks nothing up.
    (Inert, "builtins.getattr"),
    *((Inert, name) for name in (*_numpy("core"), *_numpy("_core"), "numpy.ndarray", "numpy.dtype")),
]


def read_checkpoint(
    source: str | os.PathLike, *, trust: bool = False, map_location: str | torch.device = "cpu"
) -> Mapping:
    """What the file at a path or URL (`https://`, `http://`, `file://`) holds: a dict, as its writer laid it out.

    Reads `torch.save` files with `weights_only=True` and a short allow-list, and safetensors.

    Args:
        trust: unpickle a file that the safe reader refuses. This **runs code that the file holds**; it is logged.

    Raises:
        CheckpointError: no such file, failed download, not a checkpoint, damaged, or refused as unsafe.
    """
    if torch.device(map_location).type == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(f"map_location={map_location!r}, but there is no CUDA device here. Use 'cpu'.")
    path = as_local_file(source)
    check_kind(path, source)
    # A safetensors file is eight bytes of header length, then the header, which is JSON.
    if path.suffix == ".safetensors" or _starts_with(path, b"{", after=8):
        return _read_safetensors(path, source, map_location)
    if _starts_with(path, b"PK"):
        _check_archive(path, source)
    loaded = _read_torch(path, source, trust, map_location)
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{source} holds a {type(loaded).__name__}, not a dict of tensors. Save a state dict instead: "
            "torch.save(model.state_dict(), path)."
        )
    return loaded


def _starts_with(path: Path, magic: bytes, after: int = 0) -> bool:
    with path.open("rb") as file:
        return file.read(after + len(magic))[after:] == magic


def _read_safetensors(path: Path, source: Any, map_location: Any) -> Mapping:
    try:
        return safetensors.torch.load_file(path, device=str(map_location))
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{source} is no whole safetensors file ({error}): truncated or damaged. Download it again."
        ) from error


def _check_archive(path: Path, source: Any) -> None:
    """Refuses zip files that `torch.save` does not write: it stores, never compresses, and below one folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise _damaged(path, source, error) from error
    names = [entry.filename for entry in entries]
    odd = None
    if any(name.endswith("/constants.pkl") for name in names):
        odd = "it is a TorchScript program, which is code"
    elif any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        odd = "its entries are compressed (they could unfold to any size)"
    elif any(name.startswith(("/", "\\")) or ".." in Path(name).parts for name in names):
        odd = "an entry's path leads out of the archive"
    elif len(set(names)) != len(names):
        odd = "it holds two entries of one name"
    elif sum(entry.file_size for entry in entries) > path.stat().st_size:
        odd = "its entries claim to be larger than the file"
    elif not any(name.endswith("data.pkl") for name in names):
        odd = "there is no data.pkl in it"
    if odd:
        raise CheckpointError(
            f"{source} is a zip archive, but not one that torch.save writes: {odd}. Refused. If it is an archive of "
            "checkpoints, unpack it and give the path of the one you want."
        )


def _read_torch(path: Path, source: Any, trust: bool, map_location: Any) -> Any:
    try:
        with torch.serialization.safe_globals(ALLOWED):
            return torch.load(path, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, IndexError, AttributeError) as error:
        refused = _refused_names(path, error)
        if not refused:
            raise _damaged(path, source, error) from error
        if not trust:
            raise CheckpointError(
                f"{source} holds objects that are not weights and could run code when read: {refused}. Refused, and "
                "nothing of it was run. Ask its author for the state dict alone; only if you trust whoever made this "
                "file as you trust a program of theirs, pass trust=True."
            ) from error
    logger.warning("trust=True: unpickling %s, which runs code that the file holds (%s)", source, refused)
    try:
        return torch.load(path, map_location=map_location, weights_only=False)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"{source} needs classes that are not installed here ({error}). Read it where they are, and save the state "
            "dict alone."
        ) from error


def _damaged(path: Path, source: Any, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{source} ({path.stat().st_size:,} bytes) is no whole checkpoint: {_first_line(error)}. It is truncated or "
        "damaged, or not written by torch.save. Download it again."
    )


def _refused_names(path: Path, error: Exception) -> str:
    """The classes and functions the safe reader would not touch; empty if it failed for another reason."""
    if not isinstance(error, pickle.UnpicklingError):
        return ""
    if _starts_with(path, b"PK"):
        with torch.serialization.safe_globals(ALLOWED):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        if names:
            return ", ".join(sorted(names))
    text = str(error)
    for mark in ("Unsupported global: GLOBAL ", "unsupported GLOBAL "):
        if mark in text:
            return text.split(mark, 1)[1].split()[0]
    return ""


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")[:200]
