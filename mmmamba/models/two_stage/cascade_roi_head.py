"""Cascade R-CNN's region heads with losses and detections of all images at once.

Shape suffixes: B images, P proposals, K places for samples, R regions of all images.
"""

from collections.abc import Sequence
from functools import partial

import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .assignment import GroundTruth
from .batched_results import BatchedResults, BoxOutputs
from .box_coding import clip, decode, image_corners
from .known import knows_box_head, knows_mask_loss, knows_sampling, unchanged
from .mask_head import crops_targets
from .proposals import Padded, pad_proposals, to_rois
from .region_losses import (
    BoxHeadLosses,
    box_head_losses,
    mask_head_losses,
    mask_of_class,
    of_class,
)
from .regions import Regions, sample_regions
from .roi_extractor import maps_for_pooling


@MODELS.register_module()
class BatchedCascadeRoIHead(BatchedResults, CascadeRoIHead):
    """mmdet's `CascadeRoIHead`, batched as `BatchedRoIHead` is.

    Box heads with batch normalisation take a look in each stage of training: what fills a batch up
    would count in their means.
    """

    def loss(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
        truth: GroundTruth | None = None,
    ) -> dict:
        """Losses of all stages on maps `x` and proposals.

        Args:
            truth: that of the samples, if it is filled up already.
        """
        gts, _, metas = unpack_gt_instances(batch_data_samples)
        if not self._batches_losses(gts):
            return super().loss(x, rpn_results_list, batch_data_samples)
        maps = maps_for_pooling(x, training=True)
        truth = GroundTruth.of(gts) if truth is None else truth
        proposals = pad_proposals(rpn_results_list)
        losses = {}
        for stage, head in enumerate(self.bbox_head):
            self.current_stage = stage
            sampler, cfg = self.bbox_sampler[stage], self.train_cfg[stage]
            regions = sample_regions(
                self.bbox_assigner[stage], sampler, proposals, truth, head.num_classes
            )
            boxes = box_head_losses(head, partial(self._bbox_forward, stage, maps), regions, cfg)
            found = boxes.losses
            if self.with_mask:
                forward = partial(self._mask_forward, stage, maps)
                found |= mask_head_losses(
                    self.mask_head[stage], forward, regions, gts, sampler, cfg
                )
            weight = self.stage_loss_weights[stage]
            for name, value in found.items():
                losses[f"s{stage}.{name}"] = value * weight if "loss" in name else value
            if stage < self.num_stages - 1:
                proposals = _refine(head, boxes, regions, metas)
        return losses

    def _batches_losses(self, gts: Sequence[InstanceData]) -> bool:
        masks = not self.with_mask or (
            not self.share_roi_extractor
            and all(knows_mask_loss(head) for head in self.mask_head)
            and all(crops_targets(head, gts) for head in self.mask_head)
        )
        sampling = zip(self.bbox_assigner, self.bbox_sampler)
        return (
            masks
            and all(knows_sampling(*pair) for pair in sampling)
            and all(knows_box_head(head) for head in self.bbox_head)
            and unchanged(self, CascadeRoIHead, "bbox_loss", "mask_loss")
        )

    def _batches_results(self, metas: Sequence[dict]) -> bool:
        own = unchanged(self, CascadeRoIHead, "predict_bbox", "predict_mask", "_refine_roi")
        return own and super()._batches_results(metas)

    def _box_heads(self) -> nn.ModuleList:
        return self.bbox_head

    def _mask_heads(self) -> nn.ModuleList:
        return self.mask_head

    def _box_outputs(
        self, maps: tuple[Tensor, ...], boxes_BP4: Tensor, corners_B14: Tensor
    ) -> BoxOutputs:
        scores = []
        for stage, head in enumerate(self.bbox_head):
            found = self._bbox_forward(stage, maps, to_rois(boxes_BP4))
            scores.append(found["cls_score"])
            if stage < self.num_stages - 1:
                # The next stage starts from the boxes of this one's likeliest classes.
                labels_R = found["cls_score"][:, :-1].argmax(1)
                deltas_R4 = of_class(head, found["bbox_pred"], labels_R)
                moved_BP4 = decode(head.bbox_coder, boxes_BP4, deltas_R4.view_as(boxes_BP4))
                boxes_BP4 = clip(moved_BP4, corners_B14)
        return BoxOutputs(sum(scores) / float(len(scores)), found["bbox_pred"], boxes_BP4)

    def _mask_shares(self, maps: tuple[Tensor, ...], rois_R5: Tensor, labels_R: Tensor) -> Tensor:
        shares = []
        for stage, head in enumerate(self.mask_head):
            logits = self._mask_forward(stage, maps, rois_R5)["mask_preds"]
            shares.append(mask_of_class(head, logits, labels_R).sigmoid())
        return torch.stack(shares).mean(0)


@torch.no_grad()
def _refine(
    head: nn.Module, boxes: BoxHeadLosses, regions: Regions, metas: Sequence[dict]
) -> Padded:
    """Regions moved to where a stage sees their objects: proposals for the next one."""
    flat = boxes.regions
    labels_R = torch.where(flat.positive, flat.labels, boxes.scores_RC[:, :-1].argmax(1))
    moved_R4 = decode(head.bbox_coder, flat.boxes, of_class(head, boxes.deltas, labels_R))
    corners_B4 = image_corners(metas, moved_R4.device)
    moved_R4 = clip(moved_R4, corners_B4[flat.rois[:, 0].long()])
    if boxes.rows is not None:
        everywhere_R4 = torch.zeros_like(regions.boxes).flatten(0, 1)
        moved_R4 = everywhere_R4.index_copy(0, boxes.rows, moved_R4)
    # Ground truths are added again by the next stage.
    return Padded(moved_R4.view_as(regions.boxes), regions.meant & ~regions.is_gt)
