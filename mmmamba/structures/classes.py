"""Names, colours and COCO ids of what a model was trained to find."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..errors import UsageError
from ..printable import printable

# The golden ratio less 1: of all steps the one whose multiples spread most evenly over a circle.
GOLDEN = 0.618034


@dataclass(frozen=True)
class Classes:
    """Names, colours (red, green, blue; 0 … 255) and ids in COCO's files, by class index."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    ids: tuple[int, ...]

    @property
    def categories(self) -> list[dict[str, Any]]:
        """As COCO's files list them."""
        return [dict(id=i, name=name) for i, name in zip(self.ids, self.names)]

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Classes | None:
        """The classes that a data set's `metainfo` names, with ids from 1; None if it names none.

        Raises:
            UsageError: its palette has something else than colours.
        """
        if not meta.get("classes"):
            return None
        names = class_names(meta["classes"])
        colours = choose_colours(meta.get("palette"), len(names))
        return cls(names, colours, tuple(range(1, len(names) + 1)))


def class_names(classes: str | Sequence[Any]) -> tuple[str, ...]:
    """The names of `metainfo.classes`, which is the name itself where there is one class."""
    return (classes,) if isinstance(classes, str) else tuple(map(str, classes))


def choose_colours(palette: Any, count: int) -> tuple[tuple[int, int, int], ...]:
    """The palette of a data set if it has a colour for each class, else hues that stay apart.

    Raises:
        UsageError: the palette has something else than a colour.
    """
    # Prefixes of a longer palette are taken: a data set may name fewer classes than its colours.
    fits = isinstance(palette, Sequence) and not isinstance(palette, str) and len(palette) >= count
    if not fits:
        return tuple(spread_colours(count))
    if wrong := [colour for colour in palette[:count] if not _is_colour(colour)]:
        raise UsageError(
            f"the palette has {printable(wrong[0])} for a colour, "
            "wanted red, green and blue of 0 … 255"
        )
    return tuple(tuple(map(int, colour)) for colour in palette[:count])


def spread_colours(count: int) -> list[tuple[int, int, int]]:
    """Hues that stay apart however many there are: each lies a golden section after the last."""
    colours = []
    for index in range(count):
        # Steps of the golden section never come back near where they were.
        parts = colorsys.hsv_to_rgb((0.02 + index * GOLDEN) % 1, 0.75, 0.9)
        red, green, blue = (round(255 * part) for part in parts)
        colours.append((red, green, blue))
    return colours


def _is_colour(colour: Any) -> bool:
    return (
        isinstance(colour, Sequence)
        and len(colour) == 3
        and all(isinstance(part, Real) and 0 <= part <= 255 for part in colour)
    )
