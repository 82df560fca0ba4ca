"""Mask R-CNN's second stage with regions assigned and sampled for all images at once.

Shape suffixes: B images, G ground truths, P proposals, S ground truths and proposals, R regions.
"""

from types import SimpleNamespace

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from .assignment import DeviceMaxIoUAssigner, DeviceRandomSampler, count_mask, pad_boxes


@MODELS.register_module()
class BatchedRoIHead(StandardRoIHead):
    """mmdet's `StandardRoIHead` that looks once at how many regions were sampled.

    mmdet looks many times for each image. Other assigners and samplers than `Device…` go mmdet's
    way.
    """

    def loss(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: list[InstanceData],
        batch_data_samples: list[DetDataSample],
    ) -> dict:
        """Losses of box and mask head on maps `x` and proposals."""
        assigner, sampler = self.bbox_assigner, self.bbox_sampler
        known = isinstance(assigner, DeviceMaxIoUAssigner) and assigner.batches
        if not (known and isinstance(sampler, DeviceRandomSampler)):
            return super().loss(x, rpn_results_list, batch_data_samples)
        gts, _, _ = unpack_gt_instances(batch_data_samples)
        samples = self._sample([found.bboxes for found in rpn_results_list], gts)
        maps = tuple(_for_roi_align(level) for level in x)
        boxes = self.bbox_loss(maps, samples)
        losses = dict(boxes["loss_bbox"])
        if self.with_mask:
            losses.update(self.mask_loss(maps, samples, boxes["bbox_feats"], gts)["loss_mask"])
        return losses

    def bbox_loss(self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]) -> dict:
        """mmdet's, with the positives of all images before the negatives.

        So targets are made once, as if all were of one image.
        """
        # mmdet's mask head then picks its features out of these, and expects them image by image.
        if self.with_mask and self.share_roi_extractor:
            return super().bbox_loss(x, sampling_results)
        positive_R5 = bbox2roi([one.pos_priors for one in sampling_results])
        negative_R5 = bbox2roi([one.neg_priors for one in sampling_results])
        rois_R5 = torch.cat([positive_R5, negative_R5])
        found = self._bbox_forward(x, rois_R5)
        together = SimpleNamespace(
            pos_priors=positive_R5[:, 1:],
            neg_priors=negative_R5[:, 1:],
            pos_gt_bboxes=torch.cat([one.pos_gt_bboxes for one in sampling_results]),
            pos_gt_labels=torch.cat([one.pos_gt_labels for one in sampling_results]),
        )
        losses = self.bbox_head.loss_and_target(
            cls_score=found["cls_score"],
            bbox_pred=found["bbox_pred"],
            rois=rois_R5,
            sampling_results=[together],
            rcnn_train_cfg=self.train_cfg,
        )
        return {**found, "loss_bbox": losses["loss_bbox"]}

    def _sample(self, proposals: list[Tensor], gts: list[InstanceData]) -> list[SamplingResult]:
        """mmdet's result for each image."""
        count = [len(found) for found in gts]
        gts_BG4 = pad_boxes([found.bboxes for found in gts])
        labels_BG = pad_boxes([found.labels for found in gts])
        priors_BS4 = pad_boxes(proposals)
        valid_BP = count_mask(
            [len(boxes) for boxes in proposals], priors_BS4.shape[1], gts_BG4.device
        )
        gt_BS = self.bbox_assigner.assign_batch(gts_BG4, count, priors_BS4, valid_BP)
        # mmdet's flags of the priors that are ground truths themselves.
        is_gt_S = gts_BG4.new_zeros(gt_BS.shape[1], dtype=torch.uint8)
        if self.bbox_sampler.add_gt_as_proposals:
            # They stand before the proposals, each assigned to itself, those that fill up to none.
            G = gts_BG4.shape[1]
            itself_BG = torch.arange(1, G + 1, device=gts_BG4.device).expand(len(gts), -1)
            itself_BG = torch.where(count_mask(count, G, gts_BG4.device), itself_BG, -1)
            priors_BS4 = torch.cat([gts_BG4, priors_BS4], dim=1)
            gt_BS = torch.cat([itself_BG, gt_BS], dim=1)
            is_gt_S = torch.cat([is_gt_S.new_ones(G), is_gt_S])
        labels_BS = torch.where(gt_BS > 0, labels_BG.gather(1, (gt_BS - 1).clamp(min=0)), -1)
        positive, negative = self.bbox_sampler.draw(gt_BS)
        # The one look: two numbers of each image.
        numbers = torch.stack([positive.meant_BK.sum(1), negative.meant_BK.sum(1)], dim=1)
        return [
            SamplingResult(
                pos_inds=positive.index_BK[i, :positives],
                neg_inds=negative.index_BK[i, :negatives],
                priors=priors_BS4[i],
                gt_bboxes=gts[i].bboxes,
                gt_flags=is_gt_S,
                assign_result=AssignResult(count[i], gt_BS[i], None, labels=labels_BS[i]),
            )
            for i, (positives, negatives) in enumerate(numbers.tolist())
        ]


def _for_roi_align(level: Tensor) -> Tensor:
    """A map as RoIAlign reads it: at least float32, rows of pixels.

    Autocast would convert it for each of both heads.
    """
    dtype = torch.promote_types(level.dtype, torch.float32)
    return level.to(dtype, memory_format=torch.contiguous_format)


@MODELS.register_module()
class SortedRoIExtractor(SingleRoIExtractor):
    """mmdet's `SingleRoIExtractor` that sorts regions by level once.

    mmdet searches for them and writes them back at each level. Regions stay float32 under autocast;
    mmdet rounds them to the features' type: in bfloat16 a corner at 1000 pixels moves by up to 2.
    Takes `RoIAlign` with `use_torchvision=True`, which computes in float32.
    """

    def forward(
        self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Features `(R, channels, h, w)` of regions `(R, 5)`: image, x1, y1, x2, y2."""
        if not torch.is_autocast_enabled(rois.device.type):
            rois = rois.type_as(feats[0])
        level_R = self.map_roi_levels(rois, len(feats))
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        order_R = level_R.argsort(stable=True)
        number_L = torch.arange(len(feats), device=rois.device)
        # One look at the GPU for all levels: how many regions each has.
        counts = (level_R[:, None] == number_L).sum(dim=0).tolist()
        parts = rois[order_R].split(counts)
        pooled = [layer(level, part) for layer, level, part in zip(self.roi_layers, feats, parts)]
        # The argsort of an order undoes it.
        return torch.cat(pooled)[order_R.argsort()]
