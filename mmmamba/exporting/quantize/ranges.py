"""Ranges of the numbers that products read, from images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], Arrays]
"""A model that gives values within it."""

LEVELS = 255
SAMPLE = 2048
"""Numbers of a value that are kept of each image."""
SHARES = np.linspace(0.2, 1.0, 33)
"""Parts of the whole range; a smaller one cuts off outliers, and is finer for all others."""


@dataclass(frozen=True)
class Range:
    """What the 256 numbers of a value in int8 stand for; 0 is among them."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        return np.float32(max((self.high - self.low) / LEVELS, 1e-12))

    @property
    def zero(self) -> np.uint8:
        return np.uint8(np.clip(round(-self.low / float(self.scale)), 0, LEVELS))

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """The values as int8 has them."""
        steps = np.clip(np.rint(values / self.scale) + self.zero, 0, LEVELS)
        return ((steps - self.zero) * self.scale).astype(np.float32)


@dataclass
class Seen:
    """What images have shown of a value."""

    low: float = 0.0
    high: float = 0.0
    samples: list[np.ndarray] = field(default_factory=list)

    def add(self, values: np.ndarray, dice: np.random.Generator) -> None:
        if not values.size:
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        flat = values.reshape(-1)
        self.samples.append(flat[dice.integers(0, flat.size, min(SAMPLE, flat.size))])

    def widest(self) -> Range:
        """From the least to the largest number seen."""
        return Range(self.low, self.high)

    def closest(self) -> Range:
        """The range whose rounding changes the numbers least, in the mean of squares."""
        values = np.concatenate(self.samples) if self.samples else np.zeros(1, np.float32)
        ranges = [Range(self.low * share, self.high * share) for share in SHARES]
        errors = [float(np.square(one.rounded(values) - values).mean()) for one in ranges]
        return ranges[int(np.argmin(errors))]


def collect(run: Run, names: Sequence[str], batches: Iterable[Arrays]) -> dict[str, Seen]:
    """What batches show of values within a model."""
    seen = {name: Seen() for name in names}
    dice = np.random.default_rng(0)
    for batch in batches:
        values = run(batch)
        for name in names:
            seen[name].add(values[name], dice)
    return seen
