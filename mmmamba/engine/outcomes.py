"""What a training and a test give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .reliability import EXIT_SAVED, find_last


@dataclass(frozen=True)
class Trained:
    """A training that has ended; it stands for its folder, as in `Predictor(trained)`.

    Attributes:
        work_dir: the folder with log, checkpoints and pictures.
        metrics: of the last validation; empty where there was none.
        best: the checkpoint that scored best; None where none is kept, or one for each of several
            scores.
        code: exit code of the command: 0 where the training came to its end, 75 where it was told
            to stop and is saved.
    """

    work_dir: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    best: Path | None = None
    code: int = 0

    @property
    def last(self) -> Path | None:
        """The newest checkpoint, None where none was saved."""
        found = find_last(self.work_dir)
        return Path(found) if found else None

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop before its end; `resume="auto"` goes on."""
        return self.code == EXIT_SAVED

    def __fspath__(self) -> str:
        return str(self.work_dir)


@dataclass(frozen=True)
class Tested:
    """A test that has ended.

    Attributes:
        metrics: by name, such as `coco/bbox_mAP` or `mIoU`.
        verified: whether they are what the config expects; None where that was not asked.
    """

    metrics: dict[str, Any]
    verified: bool | None = None

    @property
    def code(self) -> int:
        """Exit code of the command: 1 where the metrics are not the expected ones."""
        return 1 if self.verified is False else 0
