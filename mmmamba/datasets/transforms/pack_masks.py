"""Instance masks as bits, the last thing before a sample is packed."""

from mmdet.structures.mask import BitmapMasks
from mmengine.registry import TRANSFORMS

from ...structures.packed_masks import PackedMasks
from .held_masks import HoldMasks


@TRANSFORMS.register_module()
class PackMasks(HoldMasks):
    """`gt_masks` from `BitmapMasks` to `PackedMasks`, an eighth of the bytes on the way to the GPU.

    Goes right before `PackDetInputs`; in front of other transforms it costs time, as they unpack
    what they read.

    Raises:
        TypeError: the masks are polygons (`LoadAnnotations(poly2mask=False)`).
    """

    def hold(self, masks: BitmapMasks) -> BitmapMasks:
        return PackedMasks.of(masks)
