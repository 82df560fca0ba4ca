"""A file that finds objects, as a detector of mmdet's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models import BaseDetector
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from torch import Tensor

from ...errors import UsageError
from ...models.two_stage.detections import Detections, mask_shapes, scale_factors, unpad
from ...models.yolo.box_selection import to_original
from .base import RunsFile
from .batches import run_batch
from .preprocessor import as_arrays


@MODELS.register_module()
class ExportedDetector(RunsFile, BaseDetector):
    """An exported detector, with what a runtime of its format finds.

    Raises:
        UsageError: the file holds boxes without suppression.
    """

    task = "detection"

    def __init__(self, path: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(path, *args, **kwargs)
        if "labels" not in self.metadata.outputs:
            raise UsageError(
                f"{path} holds the boxes of all places without suppression (--no-nms), which no "
                "results can be made of here. Export it without --no-nms"
            )

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Boxes, scores, labels and, where the file has them, masks of each image."""
        metas = [sample.metainfo for sample in batch_data_samples]
        sizes_B2 = torch.tensor([meta["img_shape"][:2] for meta in metas])
        inputs = as_arrays(images=batch_inputs, image_sizes=sizes_B2)
        found = run_batch(self.runtime, {name: inputs[name] for name in self.metadata.inputs.names})
        results = self._results(found, metas, rescale, batch_inputs.device)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _results(
        self,
        found: Mapping[str, np.ndarray],
        metas: Sequence[dict],
        rescale: bool,
        device: torch.device,
    ) -> list[Any]:
        """mmdet's results of each image, in pixels of its original with `rescale`."""
        # A pipeline that resizes nothing leaves no factor.
        metas = [{"scale_factor": (1.0, 1.0), **meta} for meta in metas]
        held = {name: torch.from_numpy(value).to(device) for name, value in found.items()}
        boxes_BN4, labels_BN = held["boxes"], held["labels"]
        # What fills an image's row up has no label.
        count_B = (labels_BN >= 0).sum(1)
        if rescale and self.metadata.clip_boxes:
            boxes_BN4 = to_original(boxes_BN4, metas)
        elif rescale:
            boxes_BN4 = moved(boxes_BN4, metas) / scale_factors(metas, boxes_BN4.device)
        detections = Detections(boxes_BN4, held["scores"], labels_BN, count_B)
        if "masks" not in held:
            return unpad(detections, count_B.tolist())
        shapes = mask_shapes(metas, rescale)
        threshold = self.metadata.mask_threshold
        return unpad(detections, count_B.tolist(), held["masks"], shapes, threshold)


def moved(boxes_BN4: Tensor, metas: Sequence[dict]) -> Tensor:
    """Boxes without the padding above and on the left of their images."""
    corners = [[*meta.get("pad_param", (0, 0, 0, 0))[2::-2]] * 2 for meta in metas]
    return boxes_BN4 - torch.tensor(corners, device=boxes_BN4.device)[:, None]
