"""Data sets of small targets: images and masks, target or not, and lists of names."""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset


@DATASETS.register_module()
class SmallTargetDataset(BaseSegDataset):
    """mmseg's `BaseSegDataset` of two classes, whose masks say target by 255 or 1.

    Args:
        mask_values: values of the masks that mean target, beside 1. A mask that was smoothed has
            others too: `range(2, 256)` takes all of them, and 30 ms for an image of 512 x 512.
        kwargs: of `BaseSegDataset`; images and masks are PNG files unless said otherwise.
    """

    METAINFO = dict(classes=("background", "target"), palette=[(0, 0, 0), (220, 60, 60)])

    def __init__(
        self,
        ann_file: str = "",
        img_suffix: str = ".png",
        seg_map_suffix: str = ".png",
        mask_values: Sequence[int] = (255,),
        **kwargs: Any,
    ) -> None:
        self.mask_values = tuple(mask_values)
        super().__init__(ann_file, img_suffix, seg_map_suffix, **kwargs)

    def get_label_map(self, new_classes: Sequence | None = None) -> dict[int, int]:
        """What `LoadAnnotations` makes of the values of a mask."""
        return dict.fromkeys(self.mask_values, 1)
