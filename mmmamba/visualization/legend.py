"""Which colour is which class: in lines below a sheet, or in a column beside an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..structures.classes import Classes
from .objects import Line, draw_box
from .style import Colour, drawing_font, percent

MOST = 40
"""Classes that the lines below a sheet name."""
LEAST_SHARE = 0.001
"""Classes that cover less of an image are counted in its column, not named."""
GAP = 8
"""Pixels from the sides of a sheet."""


@dataclass(frozen=True)
class Entry:
    """A name and the colour that it explains: of a filled square, or of a box with such a line."""

    name: str
    colour: Colour | str
    line: Line | None = None


def class_entries(shown: Iterable[int], classes: Classes) -> list[Entry]:
    """The classes that are shown, by their labels, and how many more there are."""
    labels = sorted(shown)
    entries = [Entry(classes.names[label], classes.colours[label]) for label in labels[:MOST]]
    if len(labels) > MOST:
        entries.append(Entry(f"{len(labels) - MOST} more", "white"))
    return entries


def legend_lines(entries: Sequence[Entry], font: ImageFont.FreeTypeFont, width: int) -> np.ndarray:
    """The entries side by side, in as many lines as they need: an image (H, `width`, 3)."""
    lines: list[list[Entry]] = []
    room = 0.0
    for entry in entries:
        needed = _width(entry, font)
        # An entry that the line has no room for begins the next.
        if needed > room:
            lines.append([])
            room = width - GAP
        lines[-1].append(entry)
        room -= needed
    high = round(font.size * 1.6)
    strip = Image.new("RGB", (width, high * len(lines)), "white")
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        x, y = float(GAP), float(high * number)
        for entry in line:
            square = (x, y, x + font.size, y + font.size)
            if entry.line is None:
                pen.rectangle(square, fill=entry.colour, outline="grey")
            else:
                draw_box(pen, square, entry.colour, 2, entry.line)
            at = (x + 1.5 * font.size, y + font.size / 2)
            pen.text(at, entry.name, font=font, fill="black", anchor="lm")
            x += _width(entry, font)
    return np.asarray(strip)[..., ::-1]


def _width(entry: Entry, font: ImageFont.FreeTypeFont) -> float:
    # The square, the gap behind it, and as much again before the next entry.
    return font.getlength(entry.name) + 3 * font.size


def legend_column(
    height: int, size: int, shares: Mapping[str, float], classes: Classes
) -> np.ndarray:
    """Colours, names and shares of the pixels, one below the other: (`height`, W, 3).

    It is as wide for every image of a size, as frames of a video must be.

    Args:
        size: the image's long side.
        shares: by the classes' names, the largest first.
    """
    font = drawing_font(size)
    row, pad, square = round(font.size * 1.6), round(font.size * 0.6), font.size
    # Over all classes, not those shown: the width must not change between frames.
    widest = max(font.getlength(name) for name in classes.names)
    width = round(3 * pad + square + widest + font.getlength("  100.0 %"))
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    named = [(name, share) for name, share in shares.items() if share >= LEAST_SHARE]
    # The last line is needed for the number of those that are not named.
    fit = max((height - pad) // row, 1)
    # Where a line for the rest is needed, one name less finds room.
    if len(named) > fit or len(named) < len(shares):
        named = named[: fit - 1]
    for index, (name, share) in enumerate(named):
        y = pad + index * row
        colour = classes.colours[classes.names.index(name)]
        middle = y + square / 2
        amount = percent(share)
        pen.rectangle((pad, y, pad + square, y + square), fill=colour)
        pen.text((2 * pad + square, middle), name, font=font, fill="black", anchor="lm")
        pen.text((width - pad, middle), amount, font=font, fill="black", anchor="rm")
    if len(named) < len(shares):
        middle = pad + len(named) * row + square / 2
        rest = f"{len(shares) - len(named)} more"
        pen.text((2 * pad + square, middle), rest, font=font, fill="grey", anchor="lm")
    return np.asarray(picture)[..., ::-1]
