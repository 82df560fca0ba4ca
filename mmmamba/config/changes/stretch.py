"""Schedulers over another length of training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..signatures import class_name

WARMUP_SHARE = 0.1
"""Largest share of the steps that a warm-up keeps where training becomes shorter."""
WARMUPS = ("LinearLR", "ConstantLR", "QuadraticWarmupLR")
"""Schedulers that a warm-up of steps in a recipe of epochs is written with."""
MANY = 10**9
POINTS = ("begin", "end")
SPANS = ("T_max", "step_size", "total_steps")
LISTS = ("milestones", "periods")


@dataclass(frozen=True)
class Scale:
    """From a count of epochs or steps to another."""

    old: int
    new: int
    moved: dict[int, int] = field(default_factory=dict)
    """Where points went that do not move in proportion."""

    def point(self, value: int) -> int:
        """Where a point of the old length is on the new one."""
        return self.moved.get(value, round(value * self.new / self.old))

    def share(self, value: int) -> int:
        """An interval, or a number of epochs or steps, which shrinks but never grows."""
        return max(min(value, round(value * self.new / self.old)), 1)

    def keep_apart(self, points: Iterable[int]) -> None:
        """Points that would fall on one another stay one apart where there is room.

        A warm-up of five epochs of 300 is one epoch of three.
        """
        points = sorted({point for point in points if 0 < point <= self.old})
        if len(points) > self.new or self.new >= self.old:
            return
        last = 0
        for index, point in enumerate(points):
            most = self.new - (len(points) - 1 - index)
            last = self.moved.setdefault(point, min(max(self.point(point), last + 1), most))


class Stretch:
    """From one length of training to another.

    Args:
        unit: `epochs` or `iters`, which the lengths count.
        old, new: lengths.
        steps: of the two lengths, where the unit is epochs and steps matter.
    """

    def __init__(self, unit: str, old: int, new: int, steps: tuple[int, int] | None = None) -> None:
        self.unit = unit
        self.length = Scale(old, new)
        self.steps = self.length if unit == "iters" else Scale(*(steps or (MANY, MANY)))

    def of(self, entries: Iterable[dict]) -> list[dict]:
        """The schedulers of a parameter over the new length.

        Of some nothing may be left: they end where they begin. A warm-up that counts steps stays as
        it is up to a tenth of all steps, and what follows it begins at its end.
        """
        entries = [dict(entry) for entry in entries]
        for entry in filter(self._is_warmup, entries):
            if "end" in entry:
                end = self.warmup(entry["end"])
                self.steps.moved[entry["end"]] = entry["end"] = end
        scaled = [(entry, scale) for entry in entries if (scale := self._scale(entry))]
        # Points of steps are far enough from one another.
        if self.unit == "epochs":
            in_epochs = [entry for entry, scale in scaled if scale is self.length]
            self.length.keep_apart(
                entry[key] for entry in in_epochs for key in POINTS if _has(entry, key)
            )
        for entry, scale in scaled:
            _move(entry, scale)
        return entries

    def warmup(self, steps: int) -> int:
        """The steps of a warm-up."""
        return max(min(steps, round(WARMUP_SHARE * self.steps.new)), 1)

    def counts_steps(self, entry: dict) -> bool:
        """Whether a scheduler counts steps in a recipe of epochs."""
        return self.unit == "epochs" and not entry.get("by_epoch", True)

    def _scale(self, entry: dict) -> Scale | None:
        """What moves a scheduler; None where nothing does."""
        if self._is_warmup(entry):
            return None
        # MMEngine's schedulers count epochs where they do not say what. In a recipe of iterations
        # none ever ends, so that what counts them says nothing.
        if entry.get("by_epoch", True):
            return self.length if self.unit == "epochs" else None
        return self.steps

    def _is_warmup(self, entry: dict) -> bool:
        if entry.get("by_epoch", True):
            return False
        if self.unit == "epochs":
            return is_warmup(entry)
        return entry.get("end", self.length.old) <= WARMUP_SHARE * self.length.old


def is_warmup(entry: dict) -> bool:
    """Whether a scheduler of steps in a recipe of epochs is a warm-up by what it does."""
    rises = entry.get("start_factor", entry.get("factor", 0.0)) < 1
    return class_name(entry["type"]) in WARMUPS and not entry.get("begin") and rises


def is_left(entry: dict) -> bool:
    """Whether a scheduler ends behind where it begins."""
    return "end" not in entry or entry["end"] > entry.get("begin", 0)


def _move(entry: dict, scale: Scale) -> None:
    # Half a cosine that ends where its scheduler does goes on doing so.
    whole = entry.get("T_max") == entry.get("end", 0) - entry.get("begin", 0)
    for key in (*POINTS, *SPANS):
        if _has(entry, key):
            entry[key] = max(scale.point(entry[key]), 1 if key in SPANS else 0)
    if whole and is_left(entry):
        entry["T_max"] = entry["end"] - entry.get("begin", 0)
    for key in LISTS:
        if key in entry:
            entry[key] = [max(scale.point(value), 1) for value in entry[key]]


def _has(entry: dict, key: str) -> bool:
    value: Any = entry.get(key)
    # MMEngine's "without end" is a large number.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1e8
