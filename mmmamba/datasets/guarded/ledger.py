"""What was left out of training, written down by workers and counted by the main process."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import tensor

from ...errors import UsageError

SHOWN = 3
"""Examples that a line of the log names."""
KINDS = {
    "bad": "bad images left out of training, another taken in place of each",
    "empty": "images of which the pipeline left nothing, another taken in place of each",
}


class DataError(UsageError):
    """An image or an annotation that cannot be used; the message names it."""

    def __init__(self, message: str) -> None:
        # From a worker PyTorch hands on the text of the traceback, which ends in this class's name
        # and the message.
        super().__init__(message.rpartition("DataError: ")[2].strip())


@dataclass
class Ledger:
    """A file that workers add lines to, each at once, so that those of several do not mix.

    Without a path they go to the log.
    """

    path: Path | None = None
    counts: Counter = field(default_factory=Counter)
    told: Counter = field(default_factory=Counter)
    read: int = 0
    """Bytes that were counted."""

    def add(self, kind: str, what: str) -> None:
        """Write down one of `KINDS`."""
        if self.path is None:
            print_log(f"{KINDS[kind]}: {what}", "current", logging.WARNING)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A short line in one write at the file's end does not mix with those of other workers.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(kind=kind, what=what)) + "\n")

    def report(self) -> None:
        """Log what came since the last report, of all processes together. Each must call it."""
        entries = self._new_entries()
        self.counts.update(entry["kind"] for entry in entries)
        # Each process counts what its own workers left out.
        total = tensor([self.counts[kind] for kind in KINDS])
        all_reduce(total)
        for kind, number in zip(KINDS, total.tolist()):
            # Numbers are of all processes, examples of this one.
            if new := number - self.told[kind]:
                self.told[kind] = number
                examples = [entry["what"] for entry in entries if entry["kind"] == kind]
                text = "".join(f"\n  {example}" for example in examples[:SHOWN])
                told = f"{number} {KINDS[kind]} ({new} of them new; named in {self.path}){text}"
                print_log(told, "current", logging.WARNING)

    def _new_entries(self) -> list[dict]:
        if self.path is None or not self.path.exists():
            return []
        with self.path.open("rb") as file:
            # Bytes and not characters, so that only what is new is read.
            file.seek(self.read)
            lines = file.read()
        self.read += len(lines)
        return [json.loads(line) for line in lines.splitlines()]
