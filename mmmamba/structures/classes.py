"""Names, colours and COCO ids of what a model was trained to find."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..errors import UsageError
from ..printable import printable

GOLDEN = 0.618034


@dataclass(frozen=True)
class Classes:
    """Of each class index: its name, its colour (red, green, blue; 0 … 255) and its id in COCO's files."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    ids: tuple[int, ...]

    @property
    def categories(self) -> list[dict[str, Any]]:
        """As COCO's files list them."""
        return [dict(id=i, name=name) for i, name in zip(self.ids, self.names)]


def choose_colours(palette: Any, count: int) -> tuple[tuple[int, int, int], ...]:
    """Those of a data set's palette where it has one for each class, else hues that stay apart."""
    fits = isinstance(palette, Sequence) and not isinstance(palette, str) and len(palette) >= count
    if not fits:
        return tuple(spread_colours(count))
    if wrong := [colour for colour in palette[:count] if not _is_colour(colour)]:
        raise UsageError(
            f"the palette has {printable(wrong[0])} for a colour, wanted red, green and blue of 0 … 255"
        )
    return tuple(tuple(map(int, colour)) for colour in palette[:count])


def spread_colours(count: int) -> list[tuple[int, int, int]]:
    """Hues that stay apart however many there are."""
    hues = [colorsys.hsv_to_rgb((0.02 + index * GOLDEN) % 1, 0.75, 0.9) for index in range(count)]
    return [tuple(round(255 * part) for part in colour) for colour in hues]


def _is_colour(colour: Any) -> bool:
    return (
        isinstance(colour, Sequence)
        and len(colour) == 3
        and all(isinstance(part, Real) and 0 <= part <= 255 for part in colour)
    )
