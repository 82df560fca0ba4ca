"""Names, colours and COCO ids of what a model was trained to find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..errors import UsageError
from ..printable import printable
from .colours import Colour, spread_colours

# What mmdet has for COCO, VOC and any data set of a user in their formats: colours of panoptic maps
# that begin with a crimson and a maroon and have several dark blues, which lines do not show apart.
PANOPTIC = {
    ((220, 20, 60), (119, 11, 32), (0, 0, 142)),
    ((106, 0, 228), (119, 11, 32), (165, 42, 42)),
}
"""The first three colours of such palettes."""


@dataclass(frozen=True)
class Classes:
    """Names, colours (red, green, blue; 0 … 255) and ids in COCO's files, by class index."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
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


def choose_colours(palette: Any, count: int) -> tuple[Colour, ...]:
    """The palette of a data set if it has a colour for each class and no more, else our own.

    Raises:
        UsageError: the palette has something else than a colour.
    """
    # A longer one belongs to other classes: a data set keeps its own when a config names classes.
    fits = isinstance(palette, Sequence) and not isinstance(palette, str) and len(palette) == count
    if not fits:
        return spread_colours(count)
    if wrong := [colour for colour in palette if not _is_colour(colour)]:
        raise UsageError(
            f"the palette has {printable(wrong[0])} for a colour, "
            "wanted red, green and blue of 0 … 255"
        )
    colours = tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
    return spread_colours(count) if colours[:3] in PANOPTIC else colours


def _is_colour(colour: Any) -> bool:
    return (
        isinstance(colour, Sequence)
        and len(colour) == 3
        and all(isinstance(part, Real) and 0 <= part <= 255 for part in colour)
    )
