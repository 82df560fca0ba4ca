"""Files that data sets may name: regular ones, which have an end."""

from __future__ import annotations

import os
import stat

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def irregular(path: object) -> str:
    """What a path leads to if it is no file; empty for files, and for what is not here."""
    if not isinstance(path, (str, os.PathLike)):
        return ""
    try:
        # `stat` does not open: it returns at once where opening a pipe would wait for a writer.
        kind = KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    # A ValueError is what a path with a null byte in it raises.
    except (OSError, ValueError):
        return ""
    return f"it is {kind}, not a file" if kind else ""
