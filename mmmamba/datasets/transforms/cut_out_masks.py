"""Instance masks cut out around their objects, right after they are loaded."""

from mmdet.structures.mask import BitmapMasks
from mmengine.registry import TRANSFORMS

from ...structures.region_masks import RegionMasks
from .held_masks import HoldMasks


@TRANSFORMS.register_module()
class CutOutMasks(HoldMasks):
    """`gt_masks` from `BitmapMasks` to `RegionMasks`, which are resized and flipped in no time.

    Goes right behind `LoadAnnotations`, with `PackMasks` before `PackDetInputs`.

    Raises:
        TypeError: the masks are polygons (`LoadAnnotations(poly2mask=False)`).
    """

    def hold(self, masks: BitmapMasks) -> BitmapMasks:
        return RegionMasks(masks.masks, masks.height, masks.width)
