"""Instance masks as bits, the last thing before a sample is packed."""

from mmcv.transforms import BaseTransform
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import TRANSFORMS

from ...structures.packed_masks import PackedMasks


@TRANSFORMS.register_module()
class PackMasks(BaseTransform):
    """`gt_masks` from `BitmapMasks` to `PackedMasks`, an eighth of the bytes on the way to the GPU.

    Goes right before `PackDetInputs`; in front of other transforms it costs time, as they unpack
    what they read.

    Raises:
        TypeError: the masks are polygons (`LoadAnnotations(poly2mask=False)`).
    """

    def transform(self, results: dict) -> dict:
        masks = results["gt_masks"]
        if not isinstance(masks, BitmapMasks):
            raise TypeError(
                f"PackMasks takes BitmapMasks, not {type(masks).__name__}; set poly2mask=True in "
                "LoadAnnotations, or leave PackMasks out"
            )
        return {**results, "gt_masks": PackedMasks.of(masks)}
