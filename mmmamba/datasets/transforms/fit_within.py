"""Scaling an image until it fits into a size, whichever of its sides is the longer."""

from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FitWithin(BaseTransform):
    """As large as fits into `size`, keeping its shape.

    `Resize` with `keep_ratio` takes its scale for a long and a short side, and makes a portrait
    higher than `size`.

    Args:
        size: height and width.
        enlarge: images that are smaller are made larger; otherwise they stay as they are.
    """

    def __init__(self, size: tuple[int, int], enlarge: bool = True):
        self.size, self.enlarge = tuple(size), enlarge
        # That of the library whose config this is, which takes boxes, masks and label maps along.
        self.resize = TRANSFORMS.build(dict(type="Resize", scale=self.size[::-1]))

    def transform(self, results: dict) -> dict:
        height, width = results["img"].shape[:2]
        ratio = min(self.size[0] / height, self.size[1] / width)
        if ratio > 1 and not self.enlarge:
            ratio = 1.0
        # Rounded as mmcv rounds sides.
        self.resize.scale = (int(width * ratio + 0.5), int(height * ratio + 0.5))
        results = self.resize(results)
        results["keep_ratio"] = True
        return results
