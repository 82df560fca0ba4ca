"""Boxes and masks of COCO annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pycocotools import mask as coco_mask

LARGEST = 2**53
MOST_SHIFT = 25
"""Bits of a run in a compressed RLE.

pycocotools shifts 32-bit numbers, and what is longer comes out as something else.
"""
FARTHEST = 2**22
"""Pixels from the corner to a polygon's points, and along its outline.

pycocotools keeps five points for each pixel of the outline, in 32-bit numbers, and ends the process
where there is no room for them.
"""
SLACK = 1.0
"""Pixels by which a box may reach beyond its image: coordinates are often rounded."""


def is_number(value: Any) -> bool:
    """A number that training's 32-bit floats hold, to the integer; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def box_faults(annotation: Mapping, width: float, height: float) -> Iterator[tuple[str, str]]:
    """Kinds and details of what is wrong with a box, by mmdet's rules of what it leaves out."""
    box = annotation.get("bbox")
    if not isinstance(box, (list, tuple)) or len(box) != 4 or not all(is_number(v) for v in box):
        yield "box-broken", f"bbox is {box!r}"
        return
    x, y, w, h = box
    # Without an area mmdet fails; with one of 0 or less it drops the annotation, whatever the box.
    area = annotation.get("area")
    if not is_number(area):
        yield "annotation-record", f"area is {area!r}" if "area" in annotation else "no area"
    elif area <= 0:
        yield "box-empty", f"area is {area:g}"
        return
    if w < 1 or h < 1:
        yield "box-empty", f"bbox {_short(box)}"
    elif min(x + w, width) <= max(x, 0) or min(y + h, height) <= max(y, 0):
        yield "box-outside", f"bbox {_short(box)}, image {width:g} x {height:g}"
    elif x < -SLACK or y < -SLACK or x + w > width + SLACK or y + h > height + SLACK:
        yield "box-beyond", f"bbox {_short(box)}, image {width:g} x {height:g}"


def mask_faults(annotation: Mapping, width: int, height: int) -> Iterator[tuple[str, str]]:
    """Kinds and details of what is wrong with polygons or an RLE; nothing where it has no mask."""
    mask = annotation.get("segmentation")
    if isinstance(mask, Mapping):
        yield from _rle_faults(mask, width, height)
    elif isinstance(mask, (list, tuple)):
        for polygon in mask:
            if problem := _polygon_problem(polygon, width, height):
                yield "polygon-broken", f"a polygon {problem}"
                return
    elif mask:
        found = f"segmentation is {str(mask)[:40]!r}"
        yield "polygon-broken", f"{found}, wanted a list of polygons or an RLE"


def _polygon_problem(polygon: Any, width: int, height: int) -> str:
    """What is wrong with a polygon; empty if nothing is."""
    is_list = isinstance(polygon, (list, tuple))
    if not is_list or len(polygon) < 6 or len(polygon) % 2:
        size = len(polygon) if is_list else repr(polygon)
        return f"of {size} numbers, wanted an even number of 6 or more"
    if not all(is_number(value) for value in polygon):
        return "holds something that is no finite number"
    far, length = max(map(abs, polygon)), outline(polygon)
    within = f"in an image of {width} x {height}"
    if far > FARTHEST:
        return f"lies {far:.3g} pixels away, {within}"
    return f"is {length:.3g} pixels long, {within}" if length > FARTHEST else ""


def outline(polygon: list[float]) -> float:
    """How long a closed polygon (x, y, x, y, …) is, each edge by its longer side."""
    x, y = polygon[::2], polygon[1::2]
    edges = zip(x, x[1:] + x[:1], y, y[1:] + y[:1])
    return sum(max(abs(x1 - x0), abs(y1 - y0)) for x0, x1, y0, y1 in edges)


def _rle_faults(rle: Mapping, width: int, height: int) -> Iterator[tuple[str, str]]:
    size, counts = rle.get("size"), rle.get("counts")
    if not (isinstance(size, (list, tuple)) and len(size) == 2 and all(is_number(v) for v in size)):
        yield "rle-broken", f"size is {size!r}"
    # pycocotools decodes to the mask's own size, whatever the image's.
    elif list(size) != [height, width]:
        yield "rle-size", f"size is {list(size)}, the image is {height} high and {width} wide"
    elif isinstance(counts, (list, tuple)):
        if not all(isinstance(c, int) and c >= 0 for c in counts) or sum(counts) != height * width:
            yield "rle-broken", f"runs that do not add up to {height} x {width} pixels"
    elif isinstance(counts, (str, bytes)):
        if rle_length(counts) != height * width:
            yield "rle-broken", f"runs that do not add up to {height} x {width} pixels"
    else:
        yield "rle-broken", f"counts is {type(counts).__name__}, wanted a string or a list"


def rle_length(counts: str | bytes) -> int | None:
    """Pixels that a compressed RLE covers, or None for text that is none.

    Five bits a character from 48 on, the sixth says that the number goes on; from the third run on
    a run is stored as the difference to the one before the last (COCO API). It is counted here
    because pycocotools decodes without this check.
    """
    if not counts.isascii():
        return None
    text = counts.encode() if isinstance(counts, str) else counts
    runs: list[int] = []
    value = shift = 0
    for byte in text:
        bits = byte - 48
        if not 0 <= bits < 64 or shift > MOST_SHIFT:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            # The highest bit of the last five is the sign.
            if bits & 0x10:
                value -= 1 << shift
            # This run is not in `runs` yet, so runs[-2] is two runs before it.
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            if runs[-1] < 0:
                return None
            value = shift = 0
    # A number that goes on behind the end has left its shift.
    return sum(runs) if shift == 0 else None


def decode_mask(annotation: Mapping, width: int, height: int):
    """An annotation's mask (H, W) of 0 and 1; None where it has no mask.

    It must have no `mask_faults`.
    """
    mask = annotation.get("segmentation")
    if not mask:
        return None
    if isinstance(mask, Mapping) and isinstance(mask["counts"], (str, bytes)):
        return coco_mask.decode(dict(mask))
    # Polygons become one RLE each, runs in a list become one alone.
    rles = coco_mask.frPyObjects(mask if isinstance(mask, list) else dict(mask), height, width)
    return coco_mask.decode(coco_mask.merge(rles) if isinstance(rles, list) else rles)


def _short(box: list[float]) -> str:
    return "[" + ", ".join(f"{v:.6g}" for v in box) + "]"
