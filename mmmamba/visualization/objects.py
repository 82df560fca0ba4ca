"""Objects on an image: a box, a mask, a name. Everything that shows objects draws them here.

Masks are painted one at a time from their run lengths, so that large images stay affordable;
MMDetection's visualizer wants them all as full maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as coco_mask

from .canvas import enlarge, enlarge_labels
from .style import Colour, contrasting, drawing_font

MASK_OPACITY = 0.45

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""


class Line(Enum):
    """How a box's line runs: lengths of its dashes and gaps, in widths of the line."""

    SOLID = (1.0, 0.0)
    DASHED = (4.0, 3.0)
    DOTTED = (1.0, 1.5)


@dataclass(frozen=True)
class Drawn:
    """What is drawn of one object, in pixels of the image; what it lacks is left out."""

    colour: Colour
    box: Box | None = None
    mask: dict[str, Any] | None = None
    """As pycocotools holds it (RLE)."""
    name: str = ""
    """Stands at the box."""
    line: Line = Line.SOLID
    edge: Colour | None = None
    """Colour of the box and the name, where it is not the mask's."""


def draw_objects(image: np.ndarray, objects: Sequence[Drawn]) -> np.ndarray:
    """The image (H, W, 3; blue, green, red), enlarged if it is small, with the objects on it.

    Masks lie under all boxes, boxes under all names. The first object takes the best place for its
    name; in a crowd some names find none.
    """
    canvas, scale = enlarge(image)
    size = max(canvas.shape[:2])
    thin = max(round(size / 500), 1)
    for one in objects:
        if one.mask is not None:
            paint_mask(canvas, one.mask, scale, one.colour, thin)
    # OpenCV paints masks, Pillow writes text: from here on red comes first.
    picture = Image.fromarray(canvas[..., ::-1])
    pen, font = ImageDraw.Draw(picture), drawing_font(size)
    boxed = [one for one in objects if one.box is not None]
    # Cut further out than a line is thick, so that no line runs along the canvas's side.
    boxes = [_visible(one.box, scale, pen.im.size, 4 * thin) for one in boxed]
    for one, box in zip(boxed, boxes):
        draw_box(pen, box, one.edge or one.colour, 2 * thin, one.line)
    taken: list[Box] = []
    for one, box in zip(boxed, boxes):
        if one.name:
            draw_name(pen, font, box, one.name, one.edge or one.colour, taken)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def draw_box(
    pen: ImageDraw.ImageDraw, box: Box, colour: Colour, width: int, line: Line = Line.SOLID
) -> None:
    """A rectangle whose line lies inside the box; gaps of a broken one are white."""
    if line is Line.SOLID:
        pen.rectangle(box, outline=colour, width=width)
        return
    # On a white ground the gaps of a broken line are seen on any image.
    pen.rectangle(box, outline="white", width=width)
    dash, gap = (length * width for length in line.value)
    for part in _dashes(box, width, dash, dash + gap):
        pen.rectangle(part, fill=colour)


def paint_mask(
    canvas: np.ndarray, mask: dict[str, Any], scale: int, colour: Colour, width: int
) -> None:
    """Tint the mask's pixels in place and draw its outline.

    Args:
        canvas: (H, W, 3; blue, green, red), `scale` times as large as the mask's image.
    """
    left, top, across, down = (round(side) for side in coco_mask.toBbox(mask))
    if not across or not down:
        return
    # Only the mask's own box is enlarged and searched for outlines, not the whole image.
    part = coco_mask.decode(mask)[top : top + down, left : left + across]
    part = enlarge_labels(part, scale)
    # A view: what is painted on it is painted on the canvas.
    view = canvas[top * scale : (top + down) * scale, left * scale : (left + across) * scale]
    inside = part.astype(bool)
    view[inside] = view[inside] * (1 - MASK_OPACITY) + np.array(colour[::-1]) * MASK_OPACITY
    # One more pixel around, so that outlines close along the sides of the mask's own box.
    contours, _ = cv2.findContours(
        np.pad(part, 1), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(-1, -1)
    )
    light = [(channel + 255) // 2 for channel in colour[::-1]]
    cv2.drawContours(view, contours, -1, light, width, cv2.LINE_AA)


def draw_name(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont,
    box: Box,
    text: str,
    colour: Colour,
    taken: list[Box],
) -> None:
    """A name above its box, else inside or below it: at the first free place, if there is one.

    Args:
        taken: places of names that are there already; this one's is added.
    """
    x1, y1, x2, y2 = box
    # Glyphs begin a little below and right of the point that they are drawn at.
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = max(round(font.size / 6), 1)
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    limit_x, limit_y = pen.im.size
    corners = [
        (x1, y1 - height),
        (x1, y1),
        (x2 - width, y1 - height),
        (x1, y2),
        (x2 - width, y2 - height),
    ]
    # A name that would reach over the right side is moved in; above and below there is no choice.
    for x, y in corners:
        x = min(max(x, 0), max(limit_x - width, 0))
        place = (x, y, x + width, y + height)
        if 0 <= y <= limit_y - height and not any(_overlap(place, other) for other in taken):
            taken.append(place)
            pen.rectangle(place, fill=colour)
            pen.text((x + pad - left, y + pad - top), text, font=font, fill=contrasting(colour))
            return


def _visible(box: Box, scale: int, size: tuple[int, int], beyond: int) -> Box:
    """A box of the image on the canvas, its corners in order and cut `beyond` the canvas's sides.

    Annotations name boxes of any size: the dashes of a line a million pixels long would be too
    many, and Pillow refuses corners the wrong way round.
    """
    x1, x2 = sorted(min(max(scale * float(x), -beyond), size[0] + beyond) for x in box[0::2])
    y1, y2 = sorted(min(max(scale * float(y), -beyond), size[1] + beyond) for y in box[1::2])
    return x1, y1, x2, y2


def _dashes(box: Box, width: int, dash: float, period: float) -> Iterator[Box]:
    """Rectangles of the dashes along the four sides."""
    x1, y1, x2, y2 = box
    # Both sides at once; the last dash is cut at the corner.
    for start in np.arange(x1, x2, period):
        end = min(start + dash, x2)
        yield start, y1, end, y1 + width - 1
        yield start, y2 - width + 1, end, y2
    for start in np.arange(y1, y2, period):
        end = min(start + dash, y2)
        yield x1, start, x1 + width - 1, end
        yield x2 - width + 1, start, x2, end


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
