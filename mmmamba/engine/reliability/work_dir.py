"""The folder of a run: it can be written to, and one training at a time writes to it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from mmengine.logging import print_log

from ...errors import UsageError, naming
from ...printable import printable

LOCK = ".training"
"""File that is locked while a training writes to the folder, and says which one.

The lock ends with the process, the file stays.
"""
RANKS = dict(pytorch="RANK", slurm="SLURM_PROCID", mpi="OMPI_COMM_WORLD_RANK")
"""Where each launcher puts the number of a process."""
LONGEST = 1000
HELD: set[Path] = set()
"""Folders that this process trains in; the system's lock is between processes."""


def check_work_dir(folder: str | Path) -> None:
    """Nothing is made yet: what is there of a path is a folder that can be written to.

    Raises:
        UsageError: it is not.
    """
    path = Path(folder)
    # A link to nothing is there, too, and no folder can be made in its place.
    found = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not found.is_dir():
        raise _unusable(folder, f"{found} is no folder")
    if not os.access(found, os.W_OK | os.X_OK):
        raise _unusable(folder, f"nothing may be written to {found}")


@contextmanager
def claimed(folder: str | Path, launcher: str = "none") -> Iterator[None]:
    """Make the folder, and keep other trainings out of it.

    The first process of a run does so for all.

    Where the file system has no locks, that is logged and the run goes on without.

    Raises:
        UsageError: another training writes to it, or it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error.strerror) from error
    if int(os.environ.get(RANKS.get(launcher, ""), 0)):
        # Another process of this run has the lock, or fails for all.
        yield
        return
    path = Path(folder).resolve() / LOCK
    if path.parent in HELD:
        raise UsageError(f"this process trains in {folder} already. Name another --work-dir")
    # Closing any other file of this name in this process would give the lock up. Appending, as
    # another training's note must not be emptied before the lock is ours.
    with open(path, "a+b", buffering=0, opener=_open) as file:
        _lock(file, path)
        HELD.add(path.parent)
        try:
            yield
        finally:
            HELD.discard(path.parent)


def _open(path: str, flags: int) -> int:
    # Through a link in its place, another file would be emptied and written to.
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        # Not flock, which workers of data loaders would inherit and keep for seconds after the run
        # was killed.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise UsageError(
                f"{_owner(_read(file))} trains in {path.parent}. Two would mix their checkpoints. "
                "Wait for it or stop it, or name another --work-dir"
            ) from error
        print_log(
            f"the file system of {path.parent} takes no locks ({error.strerror}): nothing keeps "
            "another training out of this folder",
            "current",
            30,
        )
        return
    content = _read(file)
    if content and not _is_note(content):
        raise UsageError(
            f"{path} is in the place of the lock of this folder, and no training wrote it. Move it "
            "away"
        )
    note = dict(
        pid=os.getpid(),
        host=socket.gethostname(),
        since=datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
    )
    with naming(path):
        file.truncate(0)
        file.write(json.dumps(note).encode())


def _read(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(LONGEST)


def _is_note(content: bytes) -> bool:
    try:
        note = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(note, dict) and note.keys() == {"pid", "host", "since"}


def _owner(content: bytes) -> str:
    if not _is_note(content):
        # Between its lock and its note.
        return "another process"
    note = json.loads(content)
    pid, host, since = (printable(note[key]) for key in ("pid", "host", "since"))
    return f"process {pid} on {host}, since {since},"


def _unusable(folder: str | Path, reason: str) -> UsageError:
    return UsageError(f"the work dir {folder} cannot be used: {reason}. Name another: --work-dir")
