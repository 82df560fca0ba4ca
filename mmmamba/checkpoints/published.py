"""Where each published file lies, under which licence, and what it scores: looked up in one table."""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..suggest import did_you_mean
from .errors import CheckpointError


@dataclass(frozen=True)
class Published:
    """One file that a family's authors published."""

    name: str
    """As `create_backbone` takes it."""
    task: str
    """`classification`, or method and schedule: `mask_rcnn_1x`, `upernet_160k`, …"""
    url: str
    licence: str
    """Of the weights, as their authors state it."""
    expected: Mapping[str, float]
    """Published, in percent: `top1` (ImageNet-1K), `box_ap`, `mask_ap` (COCO val), `miou`, `miou_ms` (ADE20K val)."""
    source: str
    """Repository that states the results."""
    key: str | None = None
    """The key of the file that holds the weights with these results, where it is not the family's usual one."""
    page: bool = False
    """The URL is a page to download from by hand, not the file."""
    note: str = ""
    sha256: str | None = None
    """Checked after a download where it is known."""
    size: int | None = None

    @property
    def results(self) -> str:
        """Such as "box AP 47.3, mask AP 42.7"."""
        titles = dict(
            top1="top-1",
            box_ap="box AP",
            mask_ap="mask AP",
            miou="mIoU",
            miou_ms="mIoU multi-scale",
        )
        return ", ".join(f"{titles[metric]} {value}" for metric, value in self.expected.items())


def list_published(name: str = "*", task: str = "*") -> list[Published]:
    """All published files whose name and task match these shell patterns."""
    return [
        p
        for p in _table()
        if fnmatch.fnmatchcase(p.name, name) and fnmatch.fnmatchcase(p.task, task)
    ]


def published(name: str, task: str = "classification") -> Published:
    """The published file of a variant for a task.

    Raises:
        CheckpointError: none is published under this name, or none for this task.
    """
    of_name = [p for p in _table() if p.name == name]
    if not of_name:
        known = list(dict.fromkeys(p.name for p in _table()))
        raise CheckpointError(
            f"no weights are published for '{name}'.{did_you_mean(name, known, 3)} list_published() names all."
        )
    for candidate in of_name:
        if candidate.task == task:
            return candidate
    tasks = [p.task for p in of_name]
    raise CheckpointError(
        f"no '{task}' weights are published for '{name}'; there are {', '.join(tasks)}.{did_you_mean(task, tasks, 3)}"
    )


def published_at(url: str) -> Published | None:
    """The entry with this URL, if there is one."""
    return next((p for p in _table() if p.url == url), None)


def markdown_table(name: str = "*") -> str:
    """The table as Markdown, for the documentation."""
    lines = [
        "| name | task | results | licence of the weights | file |",
        "| --- | --- | --- | --- | --- |",
    ]
    for p in list_published(name):
        file = p.url.rstrip("/").rsplit("/", 1)[-1]
        file = "download page" if p.page else file
        note = f" ({p.note})" if p.note else ""
        lines.append(
            f"| `{p.name}` | {p.task} | {p.results}{note} | {p.licence} | [{file}]({p.url}) |"
        )
    return "\n".join(lines) + "\n"


def _table() -> Iterator[Published]:
    # Imported late: the table is made of this module's class.
    from .published_table import PUBLISHED

    return iter(PUBLISHED)
