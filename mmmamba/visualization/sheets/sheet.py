"""Several images on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...structures.classes import Classes
from ..predictions import SMALLEST, drawing_font
from .cells import Cell

GAP = 8
FONT = 900
"""Size of the image that the font fits."""
QUALITY = 85
LEGEND_MOST = 40


def save_sheet(
    path: Path, cells: Sequence[Cell], classes: Classes, columns: int | None = None
) -> None:
    """Write the cells in rows, each under its title, with a legend of the classes that they show below.

    Raises:
        OSError: the file cannot be written.
    """
    columns = min(columns or math.ceil(math.sqrt(len(cells))), len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    font = drawing_font(FONT)
    title = round(font.size * 1.5)
    heights = [title + max(cell.image.shape[0] for cell in row) + GAP for row in rows]
    width = GAP + columns * (SMALLEST + GAP)
    shown = sorted(set().union(*(cell.shown for cell in cells)))
    places, legend = _legend_places(shown, classes, font, width)
    sheet = Image.new("RGB", (width, GAP + sum(heights) + legend), "white")
    pen = ImageDraw.Draw(sheet)
    top = GAP
    for row, height in zip(rows, heights):
        for column, cell in enumerate(row):
            left = GAP + column * (SMALLEST + GAP)
            pen.text((left, top), _fitting(cell.title, font), font=font, fill="black")
            sheet.paste(
                Image.fromarray(np.ascontiguousarray(cell.image[..., ::-1])), (left, top + title)
            )
        top += height
    for x, y, name, colour in places:
        pen.rectangle((x, top + y, x + font.size, top + y + font.size), fill=colour, outline="grey")
        pen.text(
            (x + 1.5 * font.size, top + y + font.size / 2),
            name,
            font=font,
            fill="black",
            anchor="lm",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=QUALITY)


def _legend_places(
    shown: Sequence[int], classes: Classes, font: ImageFont.FreeTypeFont, width: int
) -> tuple[list[tuple[float, float, str, tuple | str]], int]:
    """x, y, name and colour of each entry, in lines that fit the width, and the height of all lines."""
    entries = [(classes.names[label], classes.colours[label]) for label in shown[:LEGEND_MOST]]
    if len(shown) > LEGEND_MOST:
        entries.append((f"{len(shown) - LEGEND_MOST} more", "white"))
    places, x, y, line = [], float(GAP), 0.0, font.size * 1.6
    for name, colour in entries:
        wide = font.getlength(name) + 3 * font.size
        if places and x + wide > width:
            x, y = float(GAP), y + line
        places.append((x, y, name, colour))
        x += wide
    return places, math.ceil(y + line) if places else 0


def _fitting(title: str, font: ImageFont.FreeTypeFont) -> str:
    """The end of a title that is too long."""
    if font.getlength(title) <= SMALLEST:
        return title
    while font.getlength(f"…{title}") > SMALLEST:
        title = title[1:]
    return f"…{title}"
