"""Instance masks cut out around their objects, while the data pipeline resizes and flips them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
from mmdet.structures.mask import BitmapMasks


class Region(NamedTuple):
    """The part of a mask that has an object, and where it begins."""

    top: int
    left: int
    pixels_HW: np.ndarray


class RegionMasks(BitmapMasks):
    """Masks of which only the rectangle around each object is held.

    Three quarters of the time to load an image go into its masks, which are nearly all zeros.
    `rescale` by the nearest pixel, `flip` and a choice of masks work on the rectangles, with the
    results of `BitmapMasks`; whatever else mmdet does goes by `masks`, and gives `BitmapMasks`.

    Args:
        masks: `(N, height, width)`.
    """

    def __init__(self, masks: np.ndarray | list[np.ndarray], height: int, width: int):
        masks_NHW = BitmapMasks(masks, height, width).masks
        self.height, self.width = height, width
        self.regions = [_cut(mask_HW) for mask_HW in masks_NHW]

    @property
    def masks(self) -> np.ndarray:
        """`(N, height, width)` of uint8."""
        masks_NHW = np.zeros((len(self), self.height, self.width), dtype=np.uint8)
        for mask_HW, (top, left, pixels_HW) in zip(masks_NHW, self.regions):
            height, width = pixels_HW.shape
            mask_HW[top : top + height, left : left + width] = pixels_HW
        return masks_NHW

    def rescale(self, scale: Any, interpolation: str = "nearest") -> BitmapMasks:
        if interpolation != "nearest":
            return super().rescale(scale, interpolation)
        width, height = mmcv.rescale_size((self.width, self.height), scale)
        rows, columns = _nearest(self.height, height), _nearest(self.width, width)
        return self._with([_take(one, rows, columns) for one in self.regions], height, width)

    def flip(self, flip_direction: str = "horizontal") -> BitmapMasks:
        if flip_direction not in ("horizontal", "vertical", "diagonal"):
            return super().flip(flip_direction)
        regions = self.regions
        if flip_direction != "vertical":
            regions = [
                Region(top, self.width - left - pixels_HW.shape[1], pixels_HW[:, ::-1])
                for top, left, pixels_HW in regions
            ]
        if flip_direction != "horizontal":
            regions = [
                Region(self.height - top - pixels_HW.shape[0], left, pixels_HW[::-1])
                for top, left, pixels_HW in regions
            ]
        return self._with(regions, self.height, self.width)

    def __len__(self) -> int:
        return len(self.regions)

    def __getitem__(self, index: Any) -> RegionMasks:
        chosen = np.arange(len(self))[index].reshape(-1)
        return self._with([self.regions[number] for number in chosen], self.height, self.width)

    def _with(self, regions: Sequence[Region], height: int, width: int) -> RegionMasks:
        other = type(self)([], height, width)
        other.regions = list(regions)
        return other


def _cut(mask_HW: np.ndarray) -> Region:
    top, bottom = _span(mask_HW.max(axis=1, initial=0))
    left, right = _span(mask_HW[top:bottom].max(axis=0, initial=0))
    # A copy, which lets go of the whole mask.
    return Region(top, left, mask_HW[top:bottom, left:right].copy())


def _span(line: np.ndarray) -> tuple[int, int]:
    """Where what is not zero begins and ends."""
    found = line.nonzero()[0]
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


def _nearest(old: int, new: int) -> np.ndarray:
    """Which pixel each one of a resized line is: cv2 itself is asked, as mmcv resizes by it."""
    line_1L = np.arange(old, dtype=np.float32)[None]
    return cv2.resize(line_1L, (new, 1), interpolation=cv2.INTER_NEAREST)[0].astype(np.int64)


def _take(region: Region, rows: np.ndarray, columns: np.ndarray) -> Region:
    """The region of the resized mask, of which `rows` and `columns` say where they come from."""
    height, width = region.pixels_HW.shape
    first_row, last_row = np.searchsorted(rows, (region.top, region.top + height))
    first_column, last_column = np.searchsorted(columns, (region.left, region.left + width))
    row = rows[first_row:last_row] - region.top
    column = columns[first_column:last_column] - region.left
    # Columns first: a row is then copied as a whole.
    pixels_HW = region.pixels_HW.take(column, axis=1).take(row, axis=0)
    return Region(int(first_row), int(first_column), pixels_HW)
