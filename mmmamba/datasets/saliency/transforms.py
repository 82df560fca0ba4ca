"""Steps of pipelines that load and pack maps of saliency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.fileio import get
from mmengine.registry import TRANSFORMS
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs

from .files import moved_fixations, read_fixations, read_saliency, resized_saliency

MAPS = ("gt_saliency_map", "gt_fixation_map")
META_KEYS = (
    "img_path",
    "ori_shape",
    "img_shape",
    "pad_shape",
    "scale_factor",
    "flip",
    "flip_direction",
    "condition",
)


@TRANSFORMS.register_module()
class LoadSaliencyAnnotations(BaseTransform):
    """Loads the saliency map and, where the data set has them, the fixations of an image.

    They are fields of segmentation to the steps that follow, so that flips and crops take them
    along. Steps that resize have to stand before it: they would lose fixations.

    Args:
        fit: bring both to the size that the image has by now, as training wants them; without, they
            keep the sizes of their files, at which metrics compare.
        backend_args: of `mmengine.fileio`.

    Raises:
        ValueError: a file is no such map.
    """

    def __init__(self, fit: bool = False, backend_args: dict | None = None):
        self.fit, self.backend_args = fit, backend_args

    def transform(self, results: dict) -> dict:
        path, size = results["saliency_map_path"], tuple(results["img_shape"][:2])
        map_HW = read_saliency(get(path, self.backend_args), path)
        results["gt_saliency_map"] = resized_saliency(map_HW, size) if self.fit else map_HW
        fields = ["gt_saliency_map"]
        if "fixation_map_path" in results:
            path = results["fixation_map_path"]
            fixation_HW = read_fixations(get(path, self.backend_args), path)
            moved_HW = moved_fixations(fixation_HW, size) if self.fit else fixation_HW
            results["gt_fixation_map"] = moved_HW
            fields.append("gt_fixation_map")
        results["seg_fields"] = [*results.get("seg_fields", []), *fields]
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(fit={self.fit})"


@TRANSFORMS.register_module()
class PackSaliencyInputs(PackSegInputs):
    """mmseg's `PackSegInputs` with `gt_saliency` and `gt_fixation`, each a map `(1, H, W)`.

    Args:
        meta_keys: what the sample says of itself; `condition` is among it.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS):
        super().__init__(meta_keys)

    def transform(self, results: dict) -> dict:
        packed = super().transform(results)
        for key in MAPS:
            if key in results:
                # A flipped map is a view with strides below 0, which PyTorch has not.
                data = torch.from_numpy(np.ascontiguousarray(results[key][None]))
                name = key.removesuffix("_map")
                packed["data_samples"].set_data({name: PixelData(data=data)})
        return packed
