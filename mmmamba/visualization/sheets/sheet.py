"""Several images on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...structures.classes import Classes
from ..canvas import READABLE
from ..legend import GAP, Entry, class_entries, legend_lines
from ..style import drawing_font, fitting, save_image
from .cells import Cell

FONT = 900
"""Size of the image that the font fits."""
QUALITY = 85
"""Lower than for single images: a sheet holds many."""


def save_sheet(
    path: Path,
    cells: Sequence[Cell],
    classes: Classes,
    columns: int | None = None,
    heading: str = "",
    notes: Sequence[Entry] = (),
) -> Path:
    """Write the cells in rows, each under its title.

    Below stands a legend of the classes that they show.

    Args:
        columns: cells in a row; by default as many as there are rows.
        heading: a line above all.
        notes: what else the legend explains.

    Raises:
        OSError: the file cannot be written.
    """
    # Fewer cells than columns would leave white space at the right.
    columns = min(columns or math.ceil(math.sqrt(len(cells))), len(cells))
    width = GAP + columns * (READABLE + GAP)
    font = drawing_font(FONT)
    # The sheet is a pile of strips, each as wide as the sheet.
    strips = [_text(heading, font, width)] if heading else []
    for start in range(0, len(cells), columns):
        strips.append(_row(cells[start : start + columns], font, width))
    shown: set[int] = set()
    for cell in cells:
        shown |= cell.shown
    entries = [*class_entries(shown, classes), *notes]
    strips += [np.full((GAP, width, 3), 255, np.uint8), legend_lines(entries, font, width)]
    return save_image(path, np.vstack(strips), QUALITY)


def _row(cells: Sequence[Cell], font: ImageFont.FreeTypeFont, width: int) -> np.ndarray:
    """Cells side by side, a gap and their titles above them."""
    title = round(font.size * 1.5)
    height = GAP + title + max(cell.image.shape[0] for cell in cells)
    strip = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(strip)
    for column, cell in enumerate(cells):
        left = GAP + column * (READABLE + GAP)
        pen.text((left, GAP), fitting(cell.title, font, READABLE), font=font, fill="black")
        image = Image.fromarray(np.ascontiguousarray(cell.image[..., ::-1]))
        strip.paste(image, (left, GAP + title))
    return np.asarray(strip)[..., ::-1]


def _text(line: str, font: ImageFont.FreeTypeFont, width: int) -> np.ndarray:
    strip = Image.new("RGB", (width, GAP + round(font.size * 1.5)), "white")
    text = fitting(line, font, width - 2 * GAP)
    ImageDraw.Draw(strip).text((GAP, GAP), text, font=font, fill="black")
    return np.asarray(strip)[..., ::-1]
