"""How every picture looks: fonts, colours, sizes, texts that fit, and how a picture is written."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from os import PathLike
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image, ImageFont

from ..errors import naming
from ..structures.colours import Colour

DPI = 200
"""Figures are as wide as a paper's text and sharp in print."""
MARGIN = 0.05
"""Inches around a figure."""
HEAT = "inferno"
"""Colour map of shares and strengths."""
STEPS = "viridis"
"""Colour map of a walk, from its first step to its last."""
NOWHERE = "0.87"
"""Cells without a value (NaN)."""
FAULTY: Colour = (255, 0, 0)
"""Marks what is wrong."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlepad": 3,
    "figure.titlesize": 9,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "image.interpolation": "nearest",
}
"""Matplotlib's settings under every figure; charts add to them."""

# Context managers made by `contextlib` begin anew at each call when they decorate.
figure_style = rc_context(STYLE)
"""Decorator of the functions that draw figures."""


@lru_cache
def drawing_font(size: int) -> ImageFont.FreeTypeFont:
    """The figures' font, with Greek and Cyrillic, for an image whose long side is `size`."""
    # Matplotlib brings this font along: pictures look the same on every machine.
    path = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(path, min(max(round(size / 60), 10), 48))


def shortened(name: str, most: int = 24) -> str:
    """The name of a class, cut behind if it is long: classes are known by how their names begin."""
    name = name.strip()
    return name if len(name) <= most else f"{name[: most - 1]}…"


def fitting(title: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A title, cut in front if it is wider than `width` pixels: files are known by how they end."""
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(f"…{title}") > width:
        title = title[1:]
    return f"…{title}"


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 in percent."""
    return f"{100 * share:.{digits}f} %"


def contrasting(colour: Colour) -> str:
    """The colour of text on a ground of this colour."""
    red, green, blue = colour
    # The weights of the eye's sensitivity to the colours (ITU-R BT.601).
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    return "black" if brightness > 140 else "white"


def save_figure(
    figure: Figure, path: str | PathLike | None, dpi: int = DPI, colours: int | None = None
) -> Figure:
    """Write a figure as a PNG, and the folders above it; without a path only return it.

    Args:
        colours: the number of colours that the file is brought down to, which makes it small.

    Raises:
        OSError: the file cannot be written.
    """
    if path is None:
        return figure
    path = Path(path)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=dpi, bbox_inches="tight", pad_inches=MARGIN)
    if colours is not None:
        # Into memory first: Matplotlib writes no palettes, Pillow does.
        few = Image.open(content).convert("RGB").quantize(colours)
        content = BytesIO()
        few.save(content, format="png", optimize=True)
    _write(path, content.getvalue())
    return figure


def save_image(path: str | PathLike, image: np.ndarray, quality: int = 95) -> Path:
    """Write an image (H, W, 3; blue, green, red) or a label map (H, W), and the folders above it.

    Args:
        path: its ending chooses the format.
        quality: of a JPEG, up to 100.

    Raises:
        OSError: OpenCV knows no such format, or the file could not be written.
    """
    path = Path(path)
    jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else []
    try:
        written, content = cv2.imencode(path.suffix, image, settings)
    except cv2.error as error:
        raise OSError(f"{path} could not be written: {error.err}. Name a .jpg or .png") from error
    if not written:
        raise OSError(f"{path} could not be written: OpenCV made no {path.suffix} of it")
    _write(path, content.tobytes())
    return path


def _write(path: Path, content: bytes) -> None:
    """Write a whole file: OpenCV itself takes one that the disk had no room for as written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        path.write_bytes(content)
