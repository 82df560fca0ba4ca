"""Transforms that hold instance masks in another way."""

from __future__ import annotations

from abc import abstractmethod

from mmcv.transforms import BaseTransform
from mmdet.structures.mask import BitmapMasks


class HoldMasks(BaseTransform):
    """`gt_masks` from `BitmapMasks` to a class that holds the same masks.

    Raises:
        TypeError: the masks are polygons (`LoadAnnotations(poly2mask=False)`).
    """

    @abstractmethod
    def hold(self, masks: BitmapMasks) -> BitmapMasks:
        """The same masks."""

    def transform(self, results: dict) -> dict:
        masks = results["gt_masks"]
        if not isinstance(masks, BitmapMasks):
            name = type(self).__name__
            raise TypeError(
                f"{name} takes BitmapMasks, not {type(masks).__name__}; set poly2mask=True in "
                f"LoadAnnotations, or leave {name} out"
            )
        return {**results, "gt_masks": self.hold(masks)}
