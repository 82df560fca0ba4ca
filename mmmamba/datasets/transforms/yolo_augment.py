"""Random changes of geometry and colour as YOLO detectors are trained with."""

import random
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.structures.bbox import autocast_box_type
from mmengine.registry import TRANSFORMS

from .letterbox import PAD


@TRANSFORMS.register_module()
class CenteredRandomAffine(BaseTransform):
    """Scaling about the image's centre and a shift, into an image of `size`.

    Boxes of which hardly anything remains are dropped; mmdet's `RandomAffine` scales about the
    corner and keeps any box that it still sees.

    Args:
        size: width and height that come out; of the image before a mosaic doubled it.
        max_translate_ratio: of the size, how far the centre moves at most.
        scaling_ratio_range: uniform.
        min_side, min_area_ratio, max_aspect: boxes below, below or above after clipping are
            dropped; the side in pixels, the area relative to the scaled box before.

    Raises:
        ValueError: there are masks, which it does not move.
    """

    def __init__(
        self,
        size: Sequence[int] = (640, 640),
        max_translate_ratio: float = 0.1,
        scaling_ratio_range: Sequence[float] = (0.5, 1.5),
        min_side: float = 2.0,
        min_area_ratio: float = 0.1,
        max_aspect: float = 100.0,
    ):
        self.size, self.max_translate_ratio = tuple(size), max_translate_ratio
        self.scaling_ratio_range = tuple(scaling_ratio_range)
        self.min_side, self.min_area_ratio, self.max_aspect = min_side, min_area_ratio, max_aspect

    @cache_randomness
    def _draw(self) -> tuple[float, float, float]:
        """Scale, and the centre's place in units of the size."""
        near, far = 0.5 - self.max_translate_ratio, 0.5 + self.max_translate_ratio
        return (
            random.uniform(*self.scaling_ratio_range),
            random.uniform(near, far),
            random.uniform(near, far),
        )

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        if "gt_masks" in results:
            raise ValueError(
                "CenteredRandomAffine moves boxes, not masks, and found gt_masks; load annotations "
                "with LoadAnnotations(with_bbox=True, with_mask=False)"
            )
        height, width = results["img"].shape[:2]
        scale, x, y = self._draw()
        # Scaled about its own centre, which then moves to x, y of the new size.
        matrix = np.array(
            [
                [scale, 0, x * self.size[0] - scale * width / 2],
                [0, scale, y * self.size[1] - scale * height / 2],
                [0, 0, 1],
            ],
            dtype=np.float32,
        )
        results["img"] = cv2.warpAffine(
            results["img"], matrix[:2], self.size, borderValue=(PAD,) * 3
        )
        results["img_shape"] = results["img"].shape[:2]
        boxes = results["gt_bboxes"]
        if len(boxes):
            # Taken before clipping: the share that is left is of the whole scaled box.
            area = boxes.areas * scale**2
            boxes.project_(matrix)
            boxes.clip_(results["img_shape"])
            widths, heights = boxes.widths, boxes.heights
            # The tiny number stands against division by 0 of boxes that clipping made flat.
            aspect = torch.maximum(widths / (heights + 1e-16), heights / (widths + 1e-16))
            keep = (
                (widths > self.min_side)
                & (heights > self.min_side)
                & (aspect < self.max_aspect)
                & (widths * heights / (area + 1e-16) > self.min_area_ratio)
            ).numpy()
            # Three lists with an entry for each box, which must stay in step.
            for name in ("gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags"):
                results[name] = results[name][keep]
        return results


@TRANSFORMS.register_module()
class HSVGain(BaseTransform):
    """Hue, saturation and value each times a factor in 1 ± gain.

    mmdet's `YOLOXHSVRandomAug` adds integers instead.
    """

    def __init__(self, hue: float = 0.015, saturation: float = 0.7, value: float = 0.4):
        self.gains = (hue, saturation, value)

    @cache_randomness
    def _draw(self) -> np.ndarray:
        return np.array([random.uniform(1 - gain, 1 + gain) for gain in self.gains])

    def transform(self, results: dict) -> dict:
        # All 256 values of each channel are changed once; pixels are then looked up, in eight bits.
        levels = np.arange(256)[:, None] * self._draw()
        # OpenCV's hue goes round in 180 steps.
        table = np.stack([levels[:, 0] % 180, *levels[:, 1:].clip(0, 255).T], -1).astype(np.uint8)
        hsv = cv2.LUT(cv2.cvtColor(results["img"], cv2.COLOR_BGR2HSV), table[None])
        results["img"] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        return results
