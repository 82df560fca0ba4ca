"""The weights that the folder of a run stands for."""

import os
from pathlib import Path

from ..printable import printable_names
from .errors import CheckpointError
from .last_checkpoint import find_last


def weights_of_run(folder: str | os.PathLike) -> Path:
    """The best checkpoint of a run, else its newest.

    Raises:
        CheckpointError: the folder has none, or several that are best by some score.
        UsageError: `last_checkpoint` cannot be read.
    """
    run = Path(folder).expanduser()
    best = sorted(run.glob("best_*.pth"))
    if len(best) > 1:
        raise CheckpointError(
            f"{folder} has several best checkpoints: "
            f"{printable_names([path.name for path in best])}. Give the path of one of them."
        )
    if best:
        return best[0]
    if last := find_last(run):
        # That it is there is looked at by whoever reads it.
        return Path(last)
    names = sorted(path.name for path in run.glob("*.[ps][tatf]*"))
    inside = printable_names(names, 5) or "no checkpoints"
    raise CheckpointError(
        f"{folder} is a folder without best_….pth and last_checkpoint, of which a run leaves one "
        f"(it holds {inside}). Give the path of a file, or the folder of a run."
    )
