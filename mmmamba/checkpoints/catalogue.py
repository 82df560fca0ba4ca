"""All that is published, family by family: which files there are, and what a variant's size is.

A family's class brings its own as `PUBLISHED` and `SIZES` (`strict_loading`).
"""

import fnmatch
from collections.abc import Collection, Mapping, Sequence

from ..suggest import did_you_mean
from .errors import CheckpointError
from .published_files import Published, Size

# Empty until the backbones are imported: each class enters its own when it is defined.
PUBLISHED: dict[str, Sequence[Published]] = {}
"""The files of each family, by the name of its class."""
SIZES: dict[str, Mapping[str, Size]] = {}
"""The sizes of each family's variants, by the name of its class."""

FIRST = ("VMamba", "MambaVision", "LocalVMamba", "LocalVim", "Vim")
"""Families that tables begin with; the others follow by name."""


def in_order(families: Collection[str]) -> list[str]:
    """Names of families as tables list them."""
    leading = [family for family in FIRST if family in families]
    return leading + sorted(set(families) - set(leading))


def list_published(name: str = "*", task: str = "*") -> list[Published]:
    """All published files whose name and task match these shell patterns."""
    return [
        file
        for file in _all_published()
        if fnmatch.fnmatchcase(file.name, name) and fnmatch.fnmatchcase(file.task, task)
    ]


def published(name: str, task: str = "classification") -> Published:
    """The published file of a variant for a task.

    Raises:
        CheckpointError: none is published under this name, or none for this task.
    """
    files = _all_published()
    by_task = {file.task: file for file in files if file.name == name}
    if not by_task:
        known = list(dict.fromkeys(file.name for file in files))
        raise CheckpointError(
            f"no weights are published for '{name}'.{did_you_mean(name, known, 3)} "
            "list_published() names all."
        )
    if task not in by_task:
        raise CheckpointError(
            f"no '{task}' weights are published for '{name}'; there are {', '.join(by_task)}."
            + did_you_mean(task, by_task, 3)
        )
    return by_task[task]


def published_at(url: str) -> Published | None:
    """The published file with this URL, if there is one."""
    return next((file for file in _all_published() if file.url == url), None)


def published_sizes() -> dict[str, Size]:
    """The size of every variant whose authors print one, by its name, in the order of tables."""
    sizes: dict[str, Size] = {}
    for family in in_order(SIZES):
        sizes.update(SIZES[family])
    return sizes


def _all_published() -> list[Published]:
    files: list[Published] = []
    for family in in_order(PUBLISHED):
        files.extend(PUBLISHED[family])
    return files
