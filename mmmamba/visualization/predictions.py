"""Predictions on images. Masks are drawn one at a time from their run lengths, so that large images stay affordable;
MMDetection's visualizer wants them all as full maps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as coco_mask

from ..structures.classes import Classes

if TYPE_CHECKING:
    from ..structures.objects import Objects

SMALLEST = 480
"""Images with a shorter long side are enlarged, so that names on them can be read."""
MASK_OPACITY = 0.45
REGION_OPACITY = 0.55
LEGEND_SHARE = 0.001
"""Classes that cover less of the image are counted in the legend, not named."""

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


def draw_objects(
    image: np.ndarray, objects: Objects, classes: Classes, scores: bool = True
) -> np.ndarray:
    """Boxes with names and, if wanted, scores, masks with their outlines: (H, W, 3), blue, green, red."""
    canvas, scale = _enlarge(image)
    size = max(canvas.shape[:2])
    line = max(round(size / 500), 1)
    colours = [classes.colours[label] for label in objects.labels]
    for mask, colour in zip(objects.masks or (), colours):
        _paint_mask(canvas, mask, scale, colour, line)
    picture = Image.fromarray(canvas[..., ::-1])
    pen, font = ImageDraw.Draw(picture), drawing_font(size)
    boxes = [tuple(float(side) * scale for side in box) for box in objects.boxes]
    for box, colour in zip(boxes, colours):
        pen.rectangle(_ordered(box), outline=colour, width=2 * line)
    placed: list[Box] = []
    # The surest object takes the best place for its name; in a crowd some names find none.
    for box, colour, label, score in zip(boxes, colours, objects.labels, objects.scores):
        _label(
            pen,
            font,
            box,
            classes.names[label] + (f" {score:.2f}" if scores else ""),
            colour,
            placed,
        )
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])


def draw_regions(
    image: np.ndarray, labels: np.ndarray, shares: Mapping[str, float], classes: Classes
) -> np.ndarray:
    """Each pixel tinted with its class's colour, borders between classes, and a legend at the right."""
    canvas = tint_regions(image, labels, classes)
    return np.hstack([canvas, _legend(canvas.shape[0], max(canvas.shape[:2]), shares, classes)])


def tint_regions(image: np.ndarray, labels: np.ndarray, classes: Classes) -> np.ndarray:
    """Each pixel tinted with its class's colour, and borders between classes."""
    canvas, scale = _enlarge(image)
    if scale > 1:
        labels = cv2.resize(
            labels.astype(np.int32), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST
        )
    tint = np.array(classes.colours, dtype=np.uint8)[labels][..., ::-1]
    canvas = cv2.addWeighted(
        canvas, 1 - REGION_OPACITY, np.ascontiguousarray(tint), REGION_OPACITY, 0
    )
    border = np.zeros(labels.shape, dtype=bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    canvas[border] = 255
    return canvas


def _enlarge(image: np.ndarray) -> tuple[np.ndarray, int]:
    """A copy to draw on, in eight bits, and how many times larger it is."""
    canvas = np.clip(image, 0, 255).astype(np.uint8)
    scale = -(-SMALLEST // max(canvas.shape[:2]))
    if scale > 1:
        canvas = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return canvas, scale


def _paint_mask(canvas: np.ndarray, mask: dict, scale: int, colour: Colour, line: int) -> None:
    left, top, width, height = (round(side) for side in coco_mask.toBbox(mask))
    if not width or not height:
        return
    part = coco_mask.decode(mask)[top : top + height, left : left + width]
    part = (
        cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        if scale > 1
        else part
    )
    view = canvas[top * scale : (top + height) * scale, left * scale : (left + width) * scale]
    inside = part.astype(bool)
    view[inside] = view[inside] * (1 - MASK_OPACITY) + np.array(colour[::-1]) * MASK_OPACITY
    # One more pixel around, so that outlines close along the sides of the mask's own box.
    contours, _ = cv2.findContours(
        np.pad(part, 1), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(-1, -1)
    )
    light = [(channel + 255) // 2 for channel in colour[::-1]]
    cv2.drawContours(view, contours, -1, light, line, cv2.LINE_AA)


def _label(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont,
    box: Box,
    text: str,
    colour: Colour,
    placed: list[Box],
) -> None:
    """A name above its box, else inside or below: the first place free of other names and in the image, if any is."""
    x1, y1, x2, y2 = box
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = max(round(font.size / 6), 1)
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    limit_x, limit_y = pen.im.size
    places = [
        (x1, y1 - height),
        (x1, y1),
        (x2 - width, y1 - height),
        (x1, y2),
        (x2 - width, y2 - height),
    ]
    for x, y in places:
        x = min(max(x, 0), max(limit_x - width, 0))
        spot = (x, y, x + width, y + height)
        if 0 <= y <= limit_y - height and not any(_overlap(spot, other) for other in placed):
            placed.append(spot)
            pen.rectangle(spot, fill=colour)
            pen.text((x + pad - left, y + pad - top), text, font=font, fill=_readable(colour))
            return


def _legend(height: int, size: int, shares: Mapping[str, float], classes: Classes) -> np.ndarray:
    """A white column of colours, names and shares; as wide for every image of a size, as frames of a video must be."""
    font = drawing_font(size)
    row, pad = round(font.size * 1.6), round(font.size * 0.6)
    swatch = font.size
    widest = max(font.getlength(name) for name in classes.names)
    width = round(3 * pad + swatch + widest + font.getlength("  100.0 %"))
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    named = [(name, share) for name, share in shares.items() if share >= LEGEND_SHARE]
    fit = max((height - pad) // row, 1)
    if len(named) > fit or len(named) < len(shares):
        named = named[: fit - 1]
    for index, (name, share) in enumerate(named):
        y = pad + index * row
        pen.rectangle(
            (pad, y, pad + swatch, y + swatch), fill=classes.colours[classes.names.index(name)]
        )
        pen.text((2 * pad + swatch, y + swatch / 2), name, font=font, fill="black", anchor="lm")
        pen.text(
            (width - pad, y + swatch / 2),
            f"{share:.1%}".replace("%", " %"),
            font=font,
            fill="black",
            anchor="rm",
        )
    if len(named) < len(shares):
        rest = f"{len(shares) - len(named)} more"
        pen.text(
            (2 * pad + swatch, pad + len(named) * row + swatch / 2),
            rest,
            font=font,
            fill="grey",
            anchor="lm",
        )
    return np.asarray(picture)[..., ::-1]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ordered(box: Box) -> Box:
    """Pillow refuses corners the wrong way round."""
    x1, y1, x2, y2 = box
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _readable(colour: Colour) -> str:
    red, green, blue = colour
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


@lru_cache
def drawing_font(size: int) -> ImageFont.FreeTypeFont:
    """For an image whose long side is `size`. matplotlib's font, which has Greek and Cyrillic as well."""
    path = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(path, min(max(round(size / 60), 10), 48))
