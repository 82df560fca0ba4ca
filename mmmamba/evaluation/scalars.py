"""What MMEngine wrote down of a run, before and after it was resumed.

It stands in `work_dir/*/vis_data/scalars.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Lines = list[dict[str, Any]]


def read_scalars(work_dir: str | Path) -> tuple[Lines, Lines]:
    """Lines of training and of validation, each in the order of their `step`.

    What a later start of the run has done again counts as that one did it.
    """
    training: Lines = []
    validation: Lines = []
    # MMEngine names the folder of each start by its time: sorted is the order of the starts.
    for file in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        for line in _read(file):
            # MMEngine writes both sorts into one file; validation has neither.
            if "lr" in line or "loss" in line:
                _cut(training, line["step"])
                # Validation counts epochs where the log does.
                _cut(validation, line.get("epoch", line["step"]))
                training.append(line)
            else:
                _cut(validation, line["step"])
                validation.append(line)
    return training, validation


def series(lines: Lines, key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one key, where it was written."""
    found = [(line["step"], line[key]) for line in lines if isinstance(line.get(key), (int, float))]
    return [step for step, _ in found], [value for _, value in found]


def _read(file: Path) -> Iterator[dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    # A run that was killed may leave half a line, which is no JSON.
    whole = text[: text.rfind("\n") + 1]
    for line in whole.splitlines():
        entry = json.loads(line)
        if "step" in entry:
            yield entry


def _cut(lines: Lines, step: int) -> None:
    """Leave out what was done at this step and after it."""
    while lines and lines[-1]["step"] >= step:
        lines.pop()
