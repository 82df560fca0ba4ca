"""The metadata in files of PyTorch, which are ZIP archives: one more member beside PyTorch's."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ...errors import UsageError
from ..metadata import Metadata
from .looks import looks_like

MEMBER = "extra/mmmamba.json"
"""Where `torch.export.save(extra_files={"mmmamba.json": …})` would put it."""


def write_to_archive(path: Path, metadata: Metadata) -> None:
    """Add the metadata to a finished `.pt2` or `.aoti.pt2` that has none."""
    with zipfile.ZipFile(path, "a") as archive:
        # Newer versions of PyTorch keep all members in a folder.
        folder, nested, _ = archive.namelist()[0].partition("/")
        member = f"{folder}/{MEMBER}" if nested else MEMBER
        if member in archive.namelist():
            raise ValueError(f"{path} holds metadata already")
        archive.writestr(member, metadata.to_json())


def read_from_archive(path: Path, wanted: str) -> Metadata:
    """The metadata of a `.pt2` or `.aoti.pt2`.

    Args:
        wanted: what the file should be, for errors.

    Raises:
        UsageError: it is no such file, or says nothing of itself.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if MEMBER in (name, name.partition("/")[2]):
                    return Metadata.from_json(archive.read(name).decode(), str(path))
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no {wanted}: it is {looks_like(path)}") from error
    # Says that the file was not written here.
    return Metadata.from_strings({}, str(path))
