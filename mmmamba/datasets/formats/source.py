"""What the readers of label files hand to the writer of COCO files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checks.images import ImageFacts
from ..checks.report import Finding

Split = str | None
"""train, val or test; None where no name says."""


@dataclass(frozen=True)
class Entry:
    """An image and the file of its labels, or None where it has no such file."""

    image: Path
    labels: Path | None


@dataclass
class Thing:
    """One labelled object.

    Attributes:
        name: its class.
        box: left, upper, right and lower edge in pixels of the image as it is seen.
        outline: polygons (x, y, x, y, …) or an RLE; None where only a box is known.
        crowd: neither object nor background.
        place: where it stands in its file, for messages.
    """

    name: str
    box: tuple[float, float, float, float]
    outline: list[list[float]] | dict | None = None
    crowd: bool = False
    place: str = ""


@dataclass
class Labels:
    """What a label file says of its image, and what is wrong with it."""

    things: list[Thing] = field(default_factory=list)
    findings: list[tuple[str, str]] = field(default_factory=list)
    refused: bool = False
    """The image is left out, as objects that were not read would be background."""

    def tell(self, kind: str, detail: str) -> None:
        self.findings.append((kind, detail))

    def refuse(self, kind: str, detail: str) -> None:
        self.findings.append((kind, detail))
        self.refused = True


def nothing_to_settle(things: Iterable[Thing]) -> list[str]:
    """For formats whose objects each say all of themselves."""
    return []


@dataclass
class Source:
    """Label files of one format, and how they are read.

    Attributes:
        format: its name, for people.
        place: folder or file that was named.
        classes: in order; None takes the names that the labels hold, sorted.
        read: the labels of an image that can be read.
        settle: what can only be said when all objects are known; it changes them in place and
            returns a line for each choice.
        said: what was chosen, a line each.
        findings: files that cannot be used.
    """

    format: str
    place: Path
    splits: dict[Split, list[Entry]]
    read: Callable[[Path, ImageFacts], Labels]
    classes: tuple[str, ...] | None = None
    settle: Callable[[list[Thing]], list[str]] = nothing_to_settle
    said: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def box_of(points: list[float]) -> tuple[float, float, float, float]:
    """The box around points (x, y, x, y, …)."""
    x, y = points[::2], points[1::2]
    return min(x), min(y), max(x), max(y)


def parse_fault(error: Any) -> str:
    """What a parser says of a file, in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
