"""Folders of data that are drawn on the spot, once, by whichever process comes first."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPEC_FILE = "shapes.json"


def read_spec(root: Path) -> dict[str, Any] | None:
    """The specification that a data set was drawn from, or None if `root` is not one."""
    path = root / SPEC_FILE
    return json.loads(path.read_text()) if path.is_file() else None


def drawn_folder(root: Path, wanted: dict[str, Any], draw: Callable[[Path], None]) -> Path:
    """Have a folder drawn unless it is there, and return it.

    Args:
        wanted: what it is drawn from, as JSON holds it; a folder drawn from something else is
            replaced.
        draw: writes the data into an empty folder.

    Raises:
        FileExistsError: `root` holds files that were not drawn.
    """
    if read_spec(root) == wanted:
        return root
    if root.exists() and any(root.iterdir()) and read_spec(root) is None:
        raise FileExistsError(
            f"{root} holds other files; name an empty or a new directory for the shapes data set"
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    # Drawn beside its place and moved there whole: several processes of one job may start this
    # at once.
    draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        draw(draft)
        # Below `root` this file says that the folder is ours, and what is in it.
        (draft / SPEC_FILE).write_text(json.dumps(wanted))
        if root.exists() and read_spec(root) != wanted:
            shutil.rmtree(root)
        try:
            os.replace(draft, root)
        except OSError:
            # The folder of another process that was first is as good; other errors are real.
            if read_spec(root) != wanted:
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return root
