"""Comparisons of one output over all batches, each told in a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .limits import Limits

SAME = 1e-6
"""The spread below which a map is the same everywhere, as a share of its largest value."""


@dataclass(frozen=True)
class Check:
    """A comparison and its verdict."""

    output: str
    passed: bool
    line: str
    """What was measured, against its limit."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """The same for a program."""


@dataclass
class MapCheck:
    """Maps, logits and whatever else is a number: the largest error against the spread."""

    output: str
    limits: Limits
    worst: float = 0.0
    where: str = ""
    shape: tuple[int, ...] = ()
    rounding: float = 0.0
    """PyTorch's own error in float32, where it was looked at; files may be off by some of it."""

    def add(self, wanted: np.ndarray, given: np.ndarray, batch: str) -> None:
        """Compare a batch."""
        self.shape = self.shape or wanted.shape
        error = relative_error(wanted, given)
        if not error <= self.worst:
            self.worst, self.where = error, batch

    def is_far(self) -> bool:
        """Whether the error is above the limit, and is a number."""
        return self.limits.spread < self.worst < np.inf

    def result(self) -> Check:
        """The verdict over all batches."""
        limit = max(self.limits.spread, self.limits.roundings * self.rounding)
        passed = bool(self.worst <= limit) and bool(np.isfinite(self.worst))
        line = f"{self.output} {_shape(self.shape)}: largest error {self.worst:.1e} of the spread"
        line += f", at most {limit:.0e}" if np.isfinite(limit) else ""
        if self.rounding:
            line += f" (float32 in PyTorch is itself {self.rounding:.1e} off float64)"
        if not np.isfinite(self.worst):
            line = f"{self.output} {_shape(self.shape)}: not finite"
        line += "" if passed else f", at {self.where}"
        worst = float(self.worst) if np.isfinite(self.worst) else None
        numbers = dict(error_of_spread=worst, rounding_of_spread=self.rounding or None)
        return Check(self.output, passed, line, numbers)


@dataclass
class LabelCheck:
    """Label maps: the share of pixels that are the same."""

    output: str
    limits: Limits
    same: int = 0
    pixels: int = 0
    least: float = 1.0
    where: str = ""

    def add(self, wanted: np.ndarray, given: np.ndarray, batch: str) -> None:
        """Compare a batch."""
        equal = int((wanted == given).sum())
        self.same += equal
        self.pixels += wanted.size
        if equal / wanted.size < self.least:
            self.least, self.where = equal / wanted.size, batch

    def result(self) -> Check:
        """The verdict: no batch may be below the limit."""
        passed = self.least >= self.limits.equal
        line = (
            f"{self.output}: {self.same / max(self.pixels, 1):.4%} of {self.pixels:,} pixels equal"
        )
        line += f", least {self.least:.4%}, wanted {self.limits.equal:.1%}"
        line += "" if passed else f", at {self.where}"
        return Check(self.output, passed, line, dict(equal=self.least, pixels=self.pixels))


@dataclass
class TopCheck:
    """Scores or logits of classes: the share of images whose surest class is the same.

    Two classes that are closer together than the limit of errors may change places.
    """

    output: str
    limits: Limits
    same: int = 0
    tied: int = 0
    images: int = 0
    where: str = ""

    def add(self, wanted: np.ndarray, given: np.ndarray, batch: str) -> None:
        """Compare a batch of (B, classes)."""
        best, chosen = wanted.argmax(1), given.argmax(1)
        rows = np.arange(len(wanted))
        apart = wanted[rows, best] - wanted[rows, chosen]
        # By how much two errors at the limit may bring classes together.
        near = apart <= 2 * self.limits.spread * max(wanted.std(), SAME)
        self.images += len(wanted)
        self.same += int((best == chosen).sum())
        self.tied += int((near & (best != chosen)).sum())
        if not (near | (best == chosen)).all():
            self.where = self.where or batch

    def result(self) -> Check:
        """The verdict: every image must have its class, or one that is as sure."""
        line = f"surest class of {self.output}: the same for {self.same} of {self.images} images"
        line += f", as sure for {self.tied}" if self.tied else ""
        line += f", at {self.where}" if self.where else ""
        return Check("surest", not self.where, line, dict(same=self.same, images=self.images))


def relative_error(wanted: np.ndarray, given: np.ndarray) -> float:
    """The largest difference over the standard deviation of what is wanted."""
    wanted, given = wanted.astype(np.float64), given.astype(np.float64)
    if not (np.isfinite(wanted).all() and np.isfinite(given).all()):
        return float("inf")
    if not wanted.size:
        return 0.0
    # What is the same everywhere, but for the last digit, is measured by its size.
    largest = np.abs(wanted).max() or 1.0
    spread = wanted.std() if wanted.std() > SAME * largest else largest
    return float(np.abs(wanted - given).max() / spread)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
