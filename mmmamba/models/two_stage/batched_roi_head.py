"""Mask R-CNN's second stage with regions assigned and sampled for all images at once.

Shape suffixes: B images, G ground truths, P proposals, S ground truths and proposals.
"""

from types import SimpleNamespace

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from .device_assignment import DeviceMaxIoUAssigner, DeviceRandomSampler, count_mask, pad_boxes


@MODELS.register_module()
class BatchedRoIHead(StandardRoIHead):
    """mmdet's `StandardRoIHead` that looks once at how many regions were sampled, not many times
    for each image.

    Other assigners and samplers than `Device…` go mmdet's way.
    """

    def loss(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: list[InstanceData],
        batch_data_samples: list[DetDataSample],
    ) -> dict:
        """Losses of box and mask head on maps `x` and proposals."""
        assigner, sampler = self.bbox_assigner, self.bbox_sampler
        if not (
            isinstance(assigner, DeviceMaxIoUAssigner)
            and assigner.batches
            and isinstance(sampler, DeviceRandomSampler)
        ):
            return super().loss(x, rpn_results_list, batch_data_samples)
        gts, _, _ = unpack_gt_instances(batch_data_samples)
        samples = self._sample([found.bboxes for found in rpn_results_list], gts)
        # RoIAlign computes in float32 and reads rows of pixels; autocast would convert for each of
        # both heads.
        x = tuple(
            level.to(
                torch.promote_types(level.dtype, torch.float32),
                memory_format=torch.contiguous_format,
            )
            for level in x
        )
        boxes = self.bbox_loss(x, samples)
        losses = dict(boxes["loss_bbox"])
        if self.with_mask:
            losses.update(self.mask_loss(x, samples, boxes["bbox_feats"], gts)["loss_mask"])
        return losses

    def bbox_loss(self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]) -> dict:
        """As in mmdet, with the positives of all images before the negatives, so that targets are
        made once.
        """
        if self.with_mask and self.share_roi_extractor:
            return super().bbox_loss(x, sampling_results)
        positive, negative = (
            bbox2roi([getattr(one, name) for one in sampling_results])
            for name in ("pos_priors", "neg_priors")
        )
        rois = torch.cat([positive, negative])
        found = self._bbox_forward(x, rois)
        together = SimpleNamespace(
            pos_priors=positive[:, 1:],
            neg_priors=negative[:, 1:],
            pos_gt_bboxes=torch.cat([one.pos_gt_bboxes for one in sampling_results]),
            pos_gt_labels=torch.cat([one.pos_gt_labels for one in sampling_results]),
        )
        losses = self.bbox_head.loss_and_target(
            cls_score=found["cls_score"],
            bbox_pred=found["bbox_pred"],
            rois=rois,
            sampling_results=[together],
            rcnn_train_cfg=self.train_cfg,
        )
        return {**found, "loss_bbox": losses["loss_bbox"]}

    def _sample(self, proposals: list[Tensor], gts: list[InstanceData]) -> list[SamplingResult]:
        count = [len(found) for found in gts]
        gts_BG4, labels_BG = (
            pad_boxes([found[name] for found in gts]) for name in ("bboxes", "labels")
        )
        priors_BS4 = pad_boxes(proposals)
        valid_BP = count_mask(
            [len(boxes) for boxes in proposals], priors_BS4.shape[1], gts_BG4.device
        )
        gt_BS = self.bbox_assigner.assign_batch(gts_BG4, count, priors_BS4, valid_BP)
        is_gt_S = gts_BG4.new_zeros(gt_BS.shape[1], dtype=torch.uint8)
        if self.bbox_sampler.add_gt_as_proposals:
            itself_BG = torch.arange(1, gts_BG4.shape[1] + 1, device=gts_BG4.device).expand(
                len(gts), -1
            )
            itself_BG = torch.where(
                count_mask(count, gts_BG4.shape[1], gts_BG4.device), itself_BG, -1
            )
            priors_BS4, gt_BS = (
                torch.cat([gts_BG4, priors_BS4], dim=1),
                torch.cat([itself_BG, gt_BS], dim=1),
            )
            is_gt_S = torch.cat([is_gt_S.new_ones(gts_BG4.shape[1]), is_gt_S])
        labels_BS = torch.where(gt_BS > 0, labels_BG.gather(1, (gt_BS - 1).clamp(min=0)), -1)
        positive, meant, negative, meant_negative = self.bbox_sampler.draw(gt_BS)
        numbers = torch.stack([meant.sum(1), meant_negative.sum(1)], dim=1).tolist()
        return [
            SamplingResult(
                pos_inds=positive[i, :positives],
                neg_inds=negative[i, :negatives],
                priors=priors_BS4[i],
                gt_bboxes=gts[i].bboxes,
                gt_flags=is_gt_S,
                assign_result=AssignResult(count[i], gt_BS[i], None, labels=labels_BS[i]),
            )
            for i, (positives, negatives) in enumerate(numbers)
        ]
