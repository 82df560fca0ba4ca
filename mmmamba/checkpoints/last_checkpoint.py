"""The note in a run's folder that names its newest checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError

LAST = "last_checkpoint"
"""The file's name; MMEngine's checkpoint hook and ours write it."""
LONGEST = 4096
"""Bytes: no path is longer on Linux."""


def read_last(folder: str | Path) -> str:
    """What the note says, "" where there is none.

    Raises:
        UsageError: it is no file, cannot be read, or is not one line of text.
    """
    note = Path(folder) / LAST
    cure = "Remove it: without it the newest checkpoint of the folder is looked for"
    try:
        # Before it is opened: a pipe would be waited for.
        if not note.is_file():
            if note.exists():
                raise UsageError(
                    f"{note} is no file, wanted one that names the newest checkpoint. {cure}"
                )
            return ""
        with note.open("rb") as file:
            # One byte beyond the limit tells a file that is longer, however long it is.
            content = file.read(LONGEST + 1)
        text = content.decode().strip()
    except OSError as error:
        raise UsageError(f"{note} cannot be read: {error.strerror}. {cure}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{note} is no text, wanted the path of the newest checkpoint. {cure}"
        ) from error
    if len(content) > LONGEST or not text.isprintable():
        raise UsageError(
            f"{note} holds more than a path, wanted that of the newest checkpoint. {cure}"
        )
    return text


def name_for(path: str | Path, folder: str | Path) -> str:
    """What the note in a folder calls a checkpoint.

    The path is relative, so that a copy of the folder names its own file.
    """
    return str(path) if "://" in str(path) else os.path.relpath(path, folder)


def find_last(folder: str | Path) -> str:
    """The path or address of the checkpoint that the note names, "" where there is none.

    A file of that name in the folder itself comes first: MMEngine's hook writes whole paths, and
    folders are copied and moved.

    Raises:
        UsageError: as `read_last`.
    """
    named = read_last(folder)
    if not named or "://" in named:
        return named
    own = Path(folder) / Path(named).name
    return str(own if own.is_file() else Path(folder) / named)
