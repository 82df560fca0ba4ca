"""Objects of an image from what was found in its tiles, each object once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torchvision.ops import box_area, box_iou

from .objects import Objects
from .tiles import Tile

SAME = 0.5
"""Overlap (intersection over union) above which two tiles are taken to see one object."""
WITHIN = 0.7
"""A box that a tile's side cuts off belongs to another one that holds this much of it."""


@dataclass(frozen=True)
class _Finds:
    """What one tile found, in pixels of the image."""

    tile: Tile
    boxes_N4: torch.Tensor
    cut_N: torch.Tensor
    """Which boxes the tile cuts off."""
    labels_N: torch.Tensor
    first: int
    """Number of its first find among those of all tiles."""


class _Match(NamedTuple):
    """How well two finds of two tiles agree, and their numbers."""

    agreement: float
    one: int
    other: int


def merge_objects(
    tiles: Sequence[Tile], found: Sequence[Objects], height: int, width: int
) -> Objects:
    """Each object once, with its whole box and mask, whichever tiles it was found in.

    Two finds of one class in two tiles are one object if they agree where both tiles could see it:
    their boxes, clipped to the tiles' common part, overlap by `SAME`, or one is cut off by its tile
    and `WITHIN` the other. In a group the surest find that is not cut off stands for all; where
    every find is cut off, their union does, with the highest score.
    """
    finds = _finds(tiles, found, height, width)
    matches: list[_Match] = []
    for i, j in _neighbours(tiles):
        matches += _matches(finds[i], finds[j])
    groups = _group(matches, np.repeat(np.arange(len(tiles)), [len(f) for f in found]))
    boxes_N4 = torch.cat([f.boxes_N4 for f in finds]).numpy()
    cut_N = torch.cat([f.cut_N for f in finds]).numpy()
    scores_N = np.concatenate([f.scores for f in found])
    labels_N = np.concatenate([f.labels for f in found])
    masks = _moved_masks(tiles, found, height, width)
    boxes, best, merged = [], [], []
    for members in groups:
        # A find that its tile cuts off has a wrong box, however sure it is.
        whole = [m for m in members if not cut_N[m]]
        surest = max(whole or members, key=lambda m: scores_N[m])
        used = [surest] if whole else members
        best.append(surest)
        boxes.append([*boxes_N4[used, :2].min(0), *boxes_N4[used, 2:].max(0)])
        if masks is not None:
            merged.append(coco_mask.merge([masks[m] for m in used]))
    # Other code relies on the surest object standing first.
    order = np.argsort(-scores_N[best], kind="stable") if best else np.zeros(0, dtype=int)
    best = np.array(best, dtype=int)[order]
    return Objects(
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4)[order],
        scores=scores_N[best].astype(np.float32),
        labels=labels_N[best].astype(np.int64),
        masks=None if masks is None else [merged[index] for index in order],
    )


def _finds(
    tiles: Sequence[Tile], found: Sequence[Objects], height: int, width: int
) -> list[_Finds]:
    finds, first = [], 0
    for tile, objects in zip(tiles, found):
        boxes_N4 = torch.as_tensor(objects.boxes) + torch.tensor([tile.x, tile.y] * 2)
        cut_N = _cut_off(boxes_N4, tile, height, width)
        finds.append(_Finds(tile, boxes_N4, cut_N, torch.as_tensor(objects.labels), first))
        first += len(objects)
    return finds


def _neighbours(tiles: Sequence[Tile]) -> Iterator[tuple[int, int]]:
    """Pairs of tiles that overlap."""
    corners = np.array([tile.box for tile in tiles])
    for i, (x1, y1, x2, y2) in enumerate(corners):
        after = corners[i + 1 :]
        meet = (after[:, 0] < x2) & (after[:, 2] > x1) & (after[:, 1] < y2) & (after[:, 3] > y1)
        for j in np.flatnonzero(meet):
            yield i, i + 1 + int(j)


def _cut_off(boxes_N4: torch.Tensor, tile: Tile, height: int, width: int) -> torch.Tensor:
    """Which boxes reach a side of their tile that is none of the image's."""
    # Detectors rarely draw a box up to the very side that cuts an object off.
    near = max(0.01 * max(tile.width, tile.height), 2)
    x1, y1, x2, y2 = tile.box
    inner_4 = torch.tensor([x1 > 0, y1 > 0, x2 < width, y2 < height])
    low_N2 = boxes_N4[:, :2] < torch.tensor([x1 + near, y1 + near])
    high_N2 = boxes_N4[:, 2:] > torch.tensor([x2 - near, y2 - near])
    return (torch.cat([low_N2, high_N2], 1) & inner_4).any(1)


def _matches(one: _Finds, other: _Finds) -> list[_Match]:
    """Finds of two tiles that may be one object."""
    agreement_AB = _agreement(one, other)
    agreement_AB[one.labels_N[:, None] != other.labels_N] = 0
    matches = []
    for a, b in agreement_AB.nonzero().tolist():
        matches.append(_Match(float(agreement_AB[a, b]), one.first + a, other.first + b))
    return matches


def _agreement(one: _Finds, other: _Finds) -> torch.Tensor:
    """Overlap (A, B) of boxes within two tiles' common part.

    It is 0 where they are taken for different objects.
    """
    x1, y1, x2, y2 = one.tile.box
    u1, v1, u2, v2 = other.tile.box
    low = torch.tensor([max(x1, u1), max(y1, v1)] * 2)
    high = torch.tensor([min(x2, u2), min(y2, v2)] * 2)
    a_A4, b_B4 = one.boxes_N4.clamp(low, high), other.boxes_N4.clamp(low, high)
    # Boxes outside of the common part have no area there.
    iou_AB = box_iou(a_A4, b_B4).nan_to_num(0)
    area_A1, area_B = box_area(a_A4)[:, None], box_area(b_B4)
    # From iou = common / (area_a + area_b - common).
    # Areas as columns and rows, so that each pair of boxes is compared.
    common_AB = iou_AB / (1 + iou_AB) * (area_A1 + area_B)
    a_within_b = (common_AB >= WITHIN * area_A1) & one.cut_N[:, None]
    b_within_a = (common_AB >= WITHIN * area_B) & other.cut_N
    return iou_AB * ((iou_AB >= SAME) | a_within_b | b_within_a)


def _group(matches: Iterable[_Match], tile_of: np.ndarray) -> list[list[int]]:
    """Join finds, the best matches first.

    A tile tells its own objects apart: no group holds two finds of one tile.
    """
    groups = [[index] for index in range(len(tile_of))]
    # Tuples sort by their first field, the agreement.
    for match in sorted(matches, reverse=True):
        one, other = groups[match.one], groups[match.other]
        tiles = {tile_of[member] for member in one}
        if one is other or not tiles.isdisjoint(tile_of[member] for member in other):
            continue
        one.extend(other)
        for member in other:
            groups[member] = one
    # Joined finds share one list: each list counts once.
    return list({id(group): group for group in groups}.values())


def _moved_masks(
    tiles: Sequence[Tile], found: Sequence[Objects], height: int, width: int
) -> list[dict] | None:
    """All masks as those of the image; None where the model finds boxes only."""
    masks: list[dict] = []
    for tile, objects in zip(tiles, found):
        if objects.masks is None:
            return None
        masks += [_move(mask, tile, height, width) for mask in objects.masks]
    return masks


def _move(mask: dict, tile: Tile, height: int, width: int) -> dict:
    """A tile's mask as one of the image, by its run lengths.

    Full maps of a large image would take seconds.
    """
    # A row of zeros ends every column, so that no run goes on into the next.
    # COCO counts runs down the columns, one after the other.
    columns = np.pad(coco_mask.decode(mask), ((0, 1), (0, 0))).T
    # In 8 bits without sign 0 - 1 is 255; read with a sign it is -1, the end of a run.
    steps = np.diff(columns.ravel(), prepend=0).astype(np.int8)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    column, row = np.divmod(starts, tile.height + 1)
    moved = (tile.x + column) * height + tile.y + row
    edges = np.stack([moved, moved + ends - starts], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    plain = dict(size=[height, width], counts=counts.tolist())
    # merge() joins runs that meet where a column ends and the next begins.
    return coco_mask.merge([coco_mask.frPyObjects(plain, height, width)])
