"""Mask R-CNN's second stage with losses and detections of all images at once.

Shape suffixes: B images, P proposals, R regions of all images.
"""

from collections.abc import Sequence
from functools import partial

from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .assignment import GroundTruth
from .batched_results import BatchedResults, BoxOutputs
from .known import knows_box_head, knows_mask_loss, knows_sampling, unchanged
from .mask_head import crops_targets
from .proposals import pad_proposals, to_rois
from .region_losses import box_head_losses, mask_head_losses, mask_of_class
from .regions import sample_regions
from .roi_extractor import maps_for_pooling


@MODELS.register_module()
class BatchedRoIHead(BatchedResults, StandardRoIHead):
    """mmdet's `StandardRoIHead` that does not look at how many regions it has.

    mmdet looks many times for each image; here prediction looks once, at how many objects were
    detected. What the batched way does not know (`known.py`: other assigners and samplers than
    `Device…`, other losses and suppressions; in training other mask heads than `PackedFCNMaskHead`,
    polygons, features that both heads share) goes mmdet's way.
    """

    def loss(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
        truth: GroundTruth | None = None,
    ) -> dict:
        """Losses of box and mask head on maps `x` and proposals.

        Args:
            truth: that of the samples, if it is filled up already.
        """
        gts, _, _ = unpack_gt_instances(batch_data_samples)
        if not self._batches_losses(gts):
            return super().loss(x, rpn_results_list, batch_data_samples)
        regions = sample_regions(
            self.bbox_assigner,
            self.bbox_sampler,
            pad_proposals(rpn_results_list),
            GroundTruth.of(gts) if truth is None else truth,
            self.bbox_head.num_classes,
        )
        maps = maps_for_pooling(x, training=True)
        forward = partial(self._bbox_forward, maps)
        losses = box_head_losses(self.bbox_head, forward, regions, self.train_cfg).losses
        if self.with_mask:
            forward = partial(self._mask_forward, maps)
            losses |= mask_head_losses(
                self.mask_head, forward, regions, gts, self.bbox_sampler, self.train_cfg
            )
        return losses

    def _batches_losses(self, gts: Sequence[InstanceData]) -> bool:
        masks = not self.with_mask or (
            not self.share_roi_extractor
            and knows_mask_loss(self.mask_head)
            and crops_targets(self.mask_head, gts)
        )
        return (
            masks
            and knows_sampling(self.bbox_assigner, self.bbox_sampler)
            and knows_box_head(self.bbox_head)
            and unchanged(self, StandardRoIHead, "bbox_loss", "mask_loss")
        )

    def _batches_results(self, metas: Sequence[dict]) -> bool:
        own = unchanged(self, StandardRoIHead, "predict_bbox", "predict_mask")
        return own and super()._batches_results(metas)

    def _box_heads(self) -> list[nn.Module]:
        return [self.bbox_head]

    def _mask_heads(self) -> list[nn.Module]:
        return [self.mask_head]

    def _box_outputs(
        self, maps: tuple[Tensor, ...], boxes_BP4: Tensor, corners_B14: Tensor
    ) -> BoxOutputs:
        found = self._bbox_forward(maps, to_rois(boxes_BP4))
        return BoxOutputs(found["cls_score"], found["bbox_pred"], boxes_BP4)

    def _mask_shares(self, maps: tuple[Tensor, ...], rois_R5: Tensor, labels_R: Tensor) -> Tensor:
        logits = self._mask_forward(maps, rois_R5)["mask_preds"]
        return mask_of_class(self.mask_head, logits, labels_R).sigmoid()
