"""Instance masks cut out around their objects, right after they are loaded."""

from mmcv.transforms import BaseTransform
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import TRANSFORMS

from ...structures.region_masks import RegionMasks


@TRANSFORMS.register_module()
class CutOutMasks(BaseTransform):
    """`gt_masks` from `BitmapMasks` to `RegionMasks`, which are resized and flipped in no time.

    Goes right behind `LoadAnnotations`, with `PackMasks` before `PackDetInputs`.

    Raises:
        TypeError: the masks are polygons (`LoadAnnotations(poly2mask=False)`).
    """

    def transform(self, results: dict) -> dict:
        masks = results["gt_masks"]
        if not isinstance(masks, BitmapMasks):
            raise TypeError(
                f"CutOutMasks takes BitmapMasks, not {type(masks).__name__}; set poly2mask=True in "
                "LoadAnnotations, or leave CutOutMasks out"
            )
        return {**results, "gt_masks": RegionMasks(masks.masks, masks.height, masks.width)}
