"""Findings about one split of a data set: all are counted, the first ones of each kind are kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from .kinds import KINDS, Severity

KEPT = 20
"""Examples of each kind that are kept."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found: in which file, of which image and annotation, and what exactly."""

    kind: str
    file: str
    detail: str = ""
    image: int | str | None = None
    annotation: int | str | None = None

    def __str__(self) -> str:
        place = self.file
        if self.image is not None:
            place += f", image {self.image}"
        if self.annotation is not None:
            place += f", annotation {self.annotation}"
        return f"{place}: {self.detail}" if self.detail else place

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what is known of it, without its kind."""
        known = asdict(self)
        del known["kind"]
        return {key: value for key, value in known.items() if value not in (None, "")}


@dataclass
class ClassCount:
    """How much there is of a class: objects or pixels, and images that hold it."""

    amount: int = 0
    images: int = 0


@dataclass
class Report:
    """What was found in one split.

    Attributes:
        name: of the split, "train".
        file: annotation file, or folder of label maps.
        unit: of `classes`' amounts, "objects" or "pixels".
    """

    name: str
    file: str
    unit: str = "objects"
    images: int = 0
    classes: dict[str, ClassCount] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)
    examples: dict[str, list[Finding]] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        detail: str = "",
        *,
        file: str | None = None,
        image: Any = None,
        annotation: Any = None,
    ) -> None:
        """Count a finding. KeyError for a kind that is not in `KINDS`."""
        # A misspelt kind must fail here, not when the report is printed.
        KINDS[kind]
        self.counts[kind] += 1
        kept = self.examples.setdefault(kind, [])
        # A million bad annotations must not fill the memory.
        if len(kept) < KEPT:
            kept.append(Finding(kind, file or self.file, detail, image, annotation))

    def number(self, *severities: Severity) -> int:
        """How many findings of these severities there are."""
        return sum(n for kind, n in self.counts.items() if KINDS[kind].severity in severities)

    def has(self, *kinds: str) -> bool:
        """Whether anything of these kinds was found."""
        return any(kind in self.counts for kind in kinds)

    @property
    def clean(self) -> bool:
        """Nothing worse than a note."""
        return self.number("stop", "fault") == 0

    @property
    def stops(self) -> list[Finding]:
        """The kept findings with which training cannot work."""
        findings = []
        for kind, kept in self.examples.items():
            if KINDS[kind].severity == "stop":
                findings += kept
        return findings

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        findings = []
        for kind, kept in self.examples.items():
            known = KINDS[kind]
            findings.append(
                dict(
                    kind=kind,
                    severity=known.severity,
                    title=known.title,
                    count=self.counts[kind],
                    examples=[finding.to_dict() for finding in kept],
                )
            )
        classes = {}
        for name, count in self.classes.items():
            classes[name] = {self.unit: count.amount, "images": count.images}
        return dict(
            split=self.name,
            file=self.file,
            images=self.images,
            clean=self.clean,
            classes=classes,
            findings=findings,
        )
