"""Large images in overlapping tiles, and one prediction from those of the tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torchvision.ops import box_iou

from ..structures.objects import Objects

SAME = 0.5
"""Overlap (intersection over union) above which two tiles are taken to see one object."""
WITHIN = 0.7
"""A box that a tile's side cuts off belongs to another one that holds this much of it."""


@dataclass(frozen=True)
class Tile:
    """A part of an image: left, top, width and height in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.x, self.y, self.x + self.width, self.y + self.height

    def of(self, image: np.ndarray) -> np.ndarray:
        """The tile's part of an image (H, W, …)."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


def tile_rows(height: int, width: int, size: int, overlap: int) -> list[list[Tile]]:
    """Rows of tiles of `size` pixels, or of the image's side where that is shorter, that share at least `overlap`."""
    return [
        [Tile(x, y, min(size, width), min(size, height)) for x in _starts(width, size, overlap)]
        for y in _starts(height, size, overlap)
    ]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    """Evenly spread, so that no tile is narrower than the others."""
    count = max(-(-(length - overlap) // (size - overlap)), 1)
    return [round(start) for start in np.linspace(0, max(length - size, 0), count)]


def merge_objects(
    tiles: Sequence[Tile], found: Sequence[Objects], height: int, width: int
) -> Objects:
    """Each object once, with its whole box and mask, whichever tiles it was found in.

    Two finds of one class in two tiles are one object if they agree where both tiles could see it: their boxes,
    clipped to the tiles' common part, overlap by `SAME`, or one is cut off by its tile and `WITHIN` the other. Of a
    group the surest find that is not cut off stands for all; where every find is cut off, their union does, with the
    highest score.
    """
    boxes = [
        torch.as_tensor(f.boxes) + torch.tensor([t.x, t.y, t.x, t.y]) for t, f in zip(tiles, found)
    ]
    cut = [_cut_off(b, t, height, width) for b, t in zip(boxes, tiles)]
    first = np.cumsum([0, *(len(f) for f in found)])
    matches = []
    for i, j in _neighbours(tiles):
        agreement = _agreement(boxes[i], boxes[j], cut[i], cut[j], tiles[i], tiles[j])
        agreement[torch.as_tensor(found[i].labels)[:, None] != torch.as_tensor(found[j].labels)] = 0
        matches += [
            (float(agreement[p, q]), first[i] + p, first[j] + q)
            for p, q in agreement.nonzero().tolist()
        ]
    tile_of = np.repeat(np.arange(len(tiles)), [len(f) for f in found])
    groups = _group(matches, tile_of)
    all_boxes, all_cut = torch.cat(boxes).numpy(), torch.cat(cut).numpy()
    scores, labels = (
        np.concatenate([f.scores for f in found]),
        np.concatenate([f.labels for f in found]),
    )
    masks = None
    if all(f.masks is not None for f in found):
        masks = [_move(m, t, height, width) for t, f in zip(tiles, found) for m in f.masks]
    chosen = []
    for members in groups:
        whole = [m for m in members if not all_cut[m]]
        best = max(whole or members, key=lambda m: scores[m])
        used = [best] if whole else members
        corners = np.concatenate([all_boxes[used, :2].min(0), all_boxes[used, 2:].max(0)])
        merged = coco_mask.merge([masks[m] for m in used]) if masks is not None else None
        chosen.append((scores[best], corners, labels[best], merged))
    chosen.sort(key=lambda entry: -entry[0])
    return Objects(
        boxes=np.array([entry[1] for entry in chosen], dtype=np.float32).reshape(-1, 4),
        scores=np.array([entry[0] for entry in chosen], dtype=np.float32),
        labels=np.array([entry[2] for entry in chosen], dtype=np.int64),
        masks=None if masks is None else [entry[3] for entry in chosen],
    )


def _neighbours(tiles: Sequence[Tile]) -> Iterator[tuple[int, int]]:
    """Pairs of tiles that overlap."""
    corners = np.array([tile.box for tile in tiles])
    for i, (x1, y1, x2, y2) in enumerate(corners):
        after = corners[i + 1 :]
        meet = (after[:, 0] < x2) & (after[:, 2] > x1) & (after[:, 1] < y2) & (after[:, 3] > y1)
        yield from ((i, i + 1 + int(j)) for j in np.flatnonzero(meet))


def _cut_off(boxes: torch.Tensor, tile: Tile, height: int, width: int) -> torch.Tensor:
    """Which boxes reach a side of their tile that is none of the image's."""
    near = max(0.01 * max(tile.width, tile.height), 2)
    x1, y1, x2, y2 = tile.box
    inner = torch.tensor([x1 > 0, y1 > 0, x2 < width, y2 < height])
    low = boxes[:, :2] < torch.tensor([x1 + near, y1 + near])
    high = boxes[:, 2:] > torch.tensor([x2 - near, y2 - near])
    return (torch.cat([low, high], 1) & inner).any(1)


def _agreement(
    a: torch.Tensor,
    b: torch.Tensor,
    a_cut: torch.Tensor,
    b_cut: torch.Tensor,
    one: Tile,
    other: Tile,
) -> torch.Tensor:
    """Overlap (A, B) of boxes within two tiles' common part; 0 where they are taken for different objects."""
    x1, y1, x2, y2 = one.box
    u1, v1, u2, v2 = other.box
    low, high = (
        torch.tensor([max(x1, u1), max(y1, v1)] * 2),
        torch.tensor([min(x2, u2), min(y2, v2)] * 2),
    )
    a, b = a.clamp(low, high), b.clamp(low, high)
    # Boxes outside of the common part have no area there.
    iou = box_iou(a, b).nan_to_num(0)
    area_a, area_b = ((c[:, 2] - c[:, 0]) * (c[:, 3] - c[:, 1]) for c in (a, b))
    common = iou / (1 + iou) * (area_a[:, None] + area_b)
    inside = (common >= WITHIN * area_a[:, None]) & a_cut[:, None] | (
        common >= WITHIN * area_b
    ) & b_cut
    return iou * ((iou >= SAME) | inside)


def _group(matches: Iterable[tuple[float, int, int]], tile_of: np.ndarray) -> list[list[int]]:
    """Join finds, the best matches first. A tile tells its own objects apart: no group holds two finds of one tile."""
    groups = [[index] for index in range(len(tile_of))]
    for _, a, b in sorted(matches, reverse=True):
        if groups[a] is not groups[b] and {tile_of[m] for m in groups[a]}.isdisjoint(
            tile_of[m] for m in groups[b]
        ):
            groups[a].extend(groups[b])
            for member in groups[b]:
                groups[member] = groups[a]
    return list({id(group): group for group in groups}.values())


def _move(mask: dict, tile: Tile, height: int, width: int) -> dict:
    """A tile's mask as one of the image, by its run lengths: full maps of a large image would take seconds."""
    # A row of zeros ends every column, so that no run goes on into the next.
    columns = np.pad(coco_mask.decode(mask), ((0, 1), (0, 0))).T
    steps = np.diff(columns.ravel(), prepend=0).astype(np.int8)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    column, row = np.divmod(starts, tile.height + 1)
    moved = (tile.x + column) * height + tile.y + row
    edges = np.stack([moved, moved + ends - starts], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    # merge() joins runs that meet where a column ends and the next begins.
    return coco_mask.merge(
        [coco_mask.frPyObjects(dict(size=[height, width], counts=counts.tolist()), height, width)]
    )


def merge_logits(
    rows: Sequence[Sequence[Tile]],
    logits: Iterable[np.ndarray],
    height: int,
    width: int,
    overlap: int,
    threshold: float | None = None,
) -> np.ndarray:
    """The class of each pixel (H, W) from the weighted mean of the tiles' logits (C, h, w).

    A tile's weight falls linearly towards its inner sides, where it saw little of what is around. Memory holds the
    logits of one row of tiles.

    Args:
        logits: of each tile, row by row.
        threshold: of the probability, for a model with one channel.
    """
    labels = np.zeros((height, width), dtype=np.int32)
    stream = iter(logits)
    band = total = None
    for index, row in enumerate(rows):
        for tile in row:
            part = next(stream)
            if band is None:
                band = np.zeros((len(part), tile.height, width), dtype=np.float32)
                total = np.zeros((tile.height, width), dtype=np.float32)
            weight = np.outer(
                _ramp(tile.y, tile.height, height, overlap),
                _ramp(tile.x, tile.width, width, overlap),
            ).astype(np.float32)
            columns = slice(tile.x, tile.x + tile.width)
            band[:, :, columns] += part * weight
            total[:, columns] += weight
        top = row[0].y
        done = (rows[index + 1][0].y if index + 1 < len(rows) else height) - top
        ready = band[:, :done]
        # The largest sum is the largest mean.
        labels[top : top + done] = (
            ready.argmax(0) if len(ready) > 1 else ready[0] > threshold * total[:done]
        )
        kept = len(total) - done
        band[:, :kept], total[:kept] = band[:, done:], total[done:]
        band[:, kept:], total[kept:] = 0, 0
    return labels


def _ramp(start: int, length: int, whole: int, overlap: int) -> np.ndarray:
    """Weights along one side of a tile: 1, falling over `overlap` pixels towards ends that are none of the image's."""
    steps = (np.arange(length) + 0.5) / max(overlap, 1)
    weights = np.ones(length)
    if start > 0:
        weights = np.minimum(weights, steps)
    if start + length < whole:
        weights = np.minimum(weights, steps[::-1])
    return weights
