"""How sizes of a config become those for another size of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Size:
    """The size of an image, in pixels."""

    height: int
    width: int

    @property
    def short(self) -> int:
        return min(self.height, self.width)

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


@dataclass(frozen=True)
class SizeRule:
    """From the size that a config is written for to another."""

    old: Size
    new: Size
    crops: bool
    """The size is that of crops, as segmentors train on; otherwise whole images fit into it."""

    @property
    def factor(self) -> float:
        return self.new.short / self.old.short

    def scale(self, value: Any, width_first: bool) -> Any:
        """What images are resized to: a size, or several."""
        if self.crops:
            return self.pixels(value)
        return self._sizes(value, width_first, always=True)

    def fixed(self, value: Any, width_first: bool) -> Any:
        """What images are cut or filled up to: a size, or a side of a square.

        In proportion to the new size where it was to the old one.
        """
        return self._sizes(value, width_first, always=False)

    def pixels(self, value: Any) -> Any:
        """Numbers of pixels."""
        if isinstance(value, (list, tuple)):
            return type(value)(self.pixels(one) for one in value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        scaled = round(value * self.factor)
        return max(scaled, 1) if value > 0 else scaled

    def _sizes(self, value: Any, width_first: bool, always: bool) -> Any:
        if not _is_pair(value):
            if isinstance(value, (list, tuple)):
                return type(value)(self._sizes(one, width_first, always) for one in value)
            return self.pixels(value)
        width, height = value if width_first else value[::-1]
        if not (always or width * self.old.height == height * self.old.width):
            return self.pixels(value)
        share = min(value) / self.old.short
        width, height = round(self.new.width * share), round(self.new.height * share)
        return type(value)((width, height) if width_first else (height, width))


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(side, int) and side > 0 for side in value)
    )
