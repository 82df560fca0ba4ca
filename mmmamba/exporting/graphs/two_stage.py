"""Mask R-CNN, Faster R-CNN and Cascade R-CNN from images to detections.

Shape suffixes: B images, N detections of each.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from mmdet.models.detectors import TwoStageDetector
from torch import Tensor

from ...models.two_stage.candidates import Flat
from ...models.two_stage.roi_extractor import maps_for_pooling
from ...models.two_stage.twins import batched_roi_head, batched_rpn_head
from .base import IMAGE_SIZES, IMAGES, Graph
from .two_stage_limits import check_two_stage


class TwoStageGraph(Graph):
    """What mmdet's `predict` finds with `rescale=False`, in as many places as there can be.

    Outputs are `boxes`, `scores`, `labels` and, with a mask head, `masks`, all within their boxes.
    A place without a detection has a score of 0, a label of -1, and zeros for box and mask.

    Args:
        model: of mmdet's own classes or of our batched ones, whose parameters it shares.

    Raises:
        UsageError: the detector has a part that cannot be exported.
    """

    task: ClassVar[str] = "detection"
    input_names = (IMAGES, IMAGE_SIZES)

    def __init__(self, model: TwoStageDetector):
        super().__init__()
        check_two_stage(model)
        self.backbone = model.backbone
        self.neck = model.neck if model.with_neck else None
        self.rpn_head = batched_rpn_head(model.rpn_head)
        self.roi_head = batched_roi_head(model.roi_head)
        found = ("boxes", "scores", "labels")
        self.output_names = (*found, "masks") if self.roi_head.with_mask else found

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        images, image_sizes = inputs
        maps = self.backbone(images)
        if self.neck is not None:
            maps = self.neck(maps)
        height_B, width_B = image_sizes.float().unbind(1)
        corners_B4 = torch.stack([width_B, height_B, width_B, height_B], dim=1)
        flat = Flat(*self.rpn_head(maps))
        proposals = self.rpn_head.propose(flat, corners_B4, self.rpn_head.test_cfg).padded
        maps = maps_for_pooling(maps, training=False)
        found = self.roi_head.detect(maps, proposals, corners_B4)
        there_BN = torch.arange(found.scores_BN.shape[1], device=images.device)
        there_BN = there_BN < found.count_B[:, None]
        boxes_BN4 = found.boxes_BN4.where(there_BN[..., None], 0)
        outputs = [
            boxes_BN4,
            found.scores_BN.where(there_BN, 0),
            found.labels_BN.where(there_BN, -1),
        ]
        if self.roi_head.with_mask:
            masks_BNhw = self.roi_head.masks(maps, boxes_BN4, found.labels_BN)
            outputs.append(masks_BNhw.where(there_BN[..., None, None], 0))
        missing = self.roi_head.test_cfg.max_per_img - there_BN.shape[1]
        if missing > 0:
            outputs = [_fill_up(one, missing, -1 if one is outputs[2] else 0) for one in outputs]
        return tuple(outputs)


def _fill_up(rows_BN: Tensor, missing: int, value: int) -> Tensor:
    """More places at the end of each row."""
    # `F.pad` counts axes from the last one.
    return F.pad(rows_BN, (0, 0) * (rows_BN.dim() - 2) + (0, missing), value=value)
