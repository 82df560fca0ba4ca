"""Files that are whole or not there, whenever the process or the machine dies.

A file is written beside its place, synced and renamed.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from ...errors import UsageError

PARTIAL = ".partial"
"""Suffix of a file while it is written."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file such that its name stands for all of it or for what was there before.

    Raises:
        UsageError: there is no room for it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as a file can be renamed in one go only within a file system.
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            # Before the rename, or a power cut could leave the new name without its content.
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        raise UsageError(
            f"no room for {path}: it needs {len(data):,} bytes, {free:,} are free there "
            f"({error.strerror}). Files that were saved before are as they were. Make room, or "
            "name another --work-dir, and go on with --resume"
        ) from error
    # The name itself is in the folder, which has a cache of its own.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class WholeFiles(LocalBackend):
    """MMEngine's local files, written by `write_whole`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_whole(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        write_whole(filepath, obj.encode(encoding))


def write_files_whole() -> None:
    """Have MMEngine write every local file through `WholeFiles`."""
    register_backend("local", WholeFiles, force=True, prefixes="")
