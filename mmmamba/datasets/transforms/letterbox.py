"""Scaling an image as a whole and padding it on all sides, as YOLO detectors are validated."""

import math

import mmcv
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import autocast_box_type
from mmengine.registry import TRANSFORMS

# The grey that YOLO detectors are trained and validated on.
PAD = 114


@TRANSFORMS.register_module()
class Letterbox(BaseTransform):
    """As large as fits into `size`, up or down, sides rounded up; then padding with 114, centred.

    Leaves `pad_param`, the pixels added at (top, bottom, left, right), and `scale_factor` (width,
    height); put both into the `meta_keys` of `PackDetInputs`, so that `YOLODFLHead` finds the way
    back. Moves `gt_bboxes`, if any.

    Args:
        size: a side of a square in pixels, or height and width.
        rect: pad to the smallest multiples of `size_divisor` above, and half of one, instead of to
            `size`.
    """

    def __init__(
        self, size: int | tuple[int, int] = 640, rect: bool = False, size_divisor: int = 32
    ):
        self.size, self.rect, self.size_divisor = size, rect, size_divisor

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        image = results["img"]
        old_height, old_width = image.shape[:2]
        most = (self.size, self.size) if isinstance(self.size, int) else self.size
        ratio = min(most[0] / old_height, most[1] / old_width)
        # Rounding up must not make a side a pixel too long.
        height = min(math.ceil(old_height * ratio), most[0])
        width = min(math.ceil(old_width * ratio), most[1])
        if ratio != 1:
            image = mmcv.imresize(image, (width, height), interpolation="bilinear", backend="cv2")
        down = self._side(old_height * ratio) if self.rect else most[0]
        right = self._side(old_width * ratio) if self.rect else most[1]
        top, bottom = _halves(down - height)
        left, right = _halves(right - width)
        image = mmcv.impad(image, padding=(left, top, right, bottom), pad_val=(PAD,) * 3)
        results.update(
            img=image,
            img_shape=image.shape[:2],
            pad_param=(top, bottom, left, right),
            scale_factor=(width / old_width, height / old_height),
            keep_ratio=True,
        )
        if len(boxes := results.get("gt_bboxes", ())):
            # Scaled first: the shift is in pixels of the scaled image.
            boxes.rescale_(results["scale_factor"])
            boxes.translate_((left, top))
        return results

    def _side(self, length: float) -> int:
        """How long a side becomes with its padding, where it is not that of `size`."""
        # The added half is published: without it a side that is a multiple would get no padding.
        return math.ceil(length / self.size_divisor + 0.5) * self.size_divisor


def _halves(pixels: int) -> tuple[int, int]:
    """The odd one of an odd number goes behind."""
    # `round` takes halves to the even number; 0.1 to either side leaves it none.
    return round(pixels / 2 - 0.1), round(pixels / 2 + 0.1)
