"""The whole config of a run, in a file of its own in the work dir.

No file of the user's gives way to it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from mmengine.config import Config

from ...errors import UsageError
from .whole_files import write_whole

FILE = "resolved_config.py"
HEAD = (
    "# The whole config of a run, written by mmmamba at each start. "
    "Edit a copy under another name. "
)
"""How the first line begins. It ends in the sum of all others: an edited file is not ours any more.
"""


def write_config(cfg: Config, folder: str | Path) -> Path:
    """Write the config of a run into a folder.

    Raises:
        UsageError: a file of that name is not ours.
    """
    path = check_place(folder)
    text = cfg.pretty_text
    write_whole(path, f"{_head(text)}\n{text}".encode())
    return path


def check_place(folder: str | Path) -> Path:
    """The path of a run's config.

    Raises:
        UsageError: something else is there: a file that no run wrote, or that was edited since.
    """
    path = Path(folder) / FILE
    if (path.exists() or path.is_symlink()) and not _is_ours(path):
        raise UsageError(
            f"{path} is not as a run wrote it, and is not written over. It would hold the whole "
            "config of this run: rename it (it can be trained from under another name), or name "
            "another --work-dir"
        )
    return path


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    head, _, text = path.read_bytes().partition(b"\n")
    return head == _head(text).encode()


def _head(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    # Part of the sum is enough: it is to show an edit, not to withstand a forger.
    return HEAD + hashlib.sha256(content).hexdigest()[:16]
