"""Labelled objects of an image as those of its tiles: boxes, polygons and run lengths cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmdet.structures.mask import PolygonMasks
from pycocotools import mask as coco_mask

from ...errors import UsageError
from ...structures.tiles import Tile

LEAST = 1.0
"""Pixels that a cut box has a side at least; mmdet leaves out what is narrower, too."""


@dataclass(frozen=True)
class Part:
    """What of an object lies in a tile, in pixels of the tile."""

    box: list[float]
    share: float
    """What part of the object's area it is: of its mask where there is one, else of its box."""
    mask: Any = None


def cut_instances(
    instances: Sequence[dict], tiles: Sequence[Tile], height: int, width: int, min_visible: float
) -> list[list[dict]]:
    """The instances of each tile, in the order of the image's.

    One of which less than `min_visible` of the area lies in a tile has `ignore_flag` 1 there, as
    crowds have it, which are cut likewise.

    Args:
        instances: of mmdet's data lists: `bbox` as x1, y1, x2, y2, `ignore_flag` and the like.
        height, width: of the image, in pixels.

    Raises:
        UsageError: a box is none of four numbers.
    """
    corners_T4 = np.array([tile.box for tile in tiles], dtype=np.float64).reshape(-1, 4)
    cut: list[list[dict]] = [[] for _ in tiles]
    for instance in instances:
        box = instance["bbox"]
        if len(box) != 4:
            raise UsageError(
                f"a box has {len(box)} numbers, and tiles cut upright boxes of four: x1, y1, x2, y2"
            )
        # Of a box that reaches beyond the image no tile sees more than what is within.
        low, high = np.clip(box[:2], 0, (width, height)), np.clip(box[2:], 0, (width, height))
        within_4 = np.concatenate([low, high])
        seen_T4 = np.concatenate(
            [np.maximum(corners_T4[:, :2], low), np.minimum(corners_T4[:, 2:], high)], axis=1
        )
        sees_T = (seen_T4[:, 2:] - seen_T4[:, :2] >= LEAST).all(1)
        chosen = np.flatnonzero(sees_T)
        parts = _parts(
            instance.get("mask"),
            within_4,
            seen_T4[chosen],
            [tiles[t] for t in chosen],
            height,
            width,
        )
        for index, part in zip(chosen, parts):
            if part is not None:
                cut[index].append(_instance(instance, part, min_visible))
    return cut


def _instance(instance: dict, part: Part, min_visible: float) -> dict:
    hidden = part.share < min_visible
    changed = dict(bbox=part.box, ignore_flag=1 if hidden else instance["ignore_flag"])
    if part.mask is not None:
        changed["mask"] = part.mask
    return {**instance, **changed}


def _parts(
    mask: Any,
    whole_4: np.ndarray,
    seen_P4: np.ndarray,
    tiles: Sequence[Tile],
    height: int,
    width: int,
) -> Iterator[Part | None]:
    """What of an object lies in each tile; None where the tile has none of its mask.

    Args:
        whole_4, seen_P4: its box, and its part in each tile, in pixels of the image.
    """
    if isinstance(mask, dict):
        yield from _run_length_parts(mask, tiles, height, width)
        return
    polygons = [np.asarray(one, dtype=np.float64) for one in mask or () if _is_polygon(one)]
    area = _area(whole_4)
    for seen_4, tile in zip(seen_P4, tiles):
        share = _area(seen_4) / area
        moved_4 = seen_4 - [tile.x, tile.y, tile.x, tile.y]
        if not polygons:
            # A mask that is none stays what it is: mmdet ignores the object.
            yield Part(moved_4.tolist(), share, mask)
        elif share >= 1:
            shifted = [(one.reshape(-1, 2) - [tile.x, tile.y]).ravel() for one in polygons]
            yield Part(moved_4.tolist(), 1.0, [one.tolist() for one in shifted])
        else:
            yield _polygon_part(polygons, tile, height, width)


def _polygon_part(polygons: list[np.ndarray], tile: Tile, height: int, width: int) -> Part | None:
    whole = PolygonMasks([polygons], height, width)
    cut = whole.crop(np.array(tile.box))
    # mmdet leaves a polygon without area where nothing is.
    found = [one for one in cut.masks[0] if np.ptp(one[::2]) and np.ptp(one[1::2])]
    if not found:
        return None
    points = np.concatenate([one.reshape(-1, 2) for one in found])
    box = np.concatenate([points.min(0), points.max(0)])
    if (box[2:] - box[:2] < LEAST).any():
        return None
    area = float(whole.areas[0])
    share = float(cut.areas[0]) / area if area else 0.0
    return Part(box.tolist(), min(share, 1.0), [one.tolist() for one in found])


def _run_length_parts(
    mask: dict, tiles: Sequence[Tile], height: int, width: int
) -> Iterator[Part | None]:
    # Decoded once for all tiles; pycocotools cuts none by its runs.
    plain = isinstance(mask["counts"], list)
    pixels_HW = coco_mask.decode(coco_mask.frPyObjects(mask, height, width) if plain else mask)
    area = int(pixels_HW.sum())
    for tile in tiles:
        part_HW = np.asfortranarray(tile.of(pixels_HW))
        seen = int(part_HW.sum())
        if not seen:
            yield None
            continue
        packed = coco_mask.encode(part_HW)
        x, y, wide, high = coco_mask.toBbox(packed).tolist()
        # Text, as COCO's files have it and mmdet asks for it.
        text = dict(size=list(packed["size"]), counts=packed["counts"].decode("ascii"))
        yield Part([x, y, x + wide, y + high], seen / area, text)


def _is_polygon(points: Any) -> bool:
    return len(points) >= 6 and len(points) % 2 == 0


def _area(box_4: np.ndarray) -> float:
    return float(np.prod(box_4[2:] - box_4[:2]))
