"""Mask R-CNN and Cascade R-CNN that do not copy their ground truth for the proposal network."""

from mmdet.models.detectors import CascadeRCNN, MaskRCNN
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from torch import Tensor

from .assignment import GroundTruth
from .cascade_roi_head import BatchedCascadeRoIHead
from .roi_head import BatchedRoIHead
from .rpn_head import BatchedRPNHead


class _NoCopy:
    """Both stages are given the same samples.

    mmdet copies all that a sample holds, on the device, to set labels to 0 for the proposal
    network; `BatchedRPNHead` does without labels.
    """

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict:
        if not (self.with_rpn and isinstance(self.rpn_head, BatchedRPNHead)):
            return super().loss(batch_inputs, batch_data_samples)
        x = self.extract_feat(batch_inputs)
        cfg = self.train_cfg.get("rpn_proposal", self.test_cfg.rpn)
        # Both stages want it filled up.
        truth = GroundTruth.of([sample.gt_instances for sample in batch_data_samples])
        losses, proposals = self.rpn_head.loss_and_predict(x, batch_data_samples, cfg, truth)
        batched = isinstance(self.roi_head, (BatchedRoIHead, BatchedCascadeRoIHead))
        own = dict(truth=truth) if batched else {}
        return {**losses, **self.roi_head.loss(x, proposals, batch_data_samples, **own)}


@MODELS.register_module()
class NoCopyMaskRCNN(_NoCopy, MaskRCNN):
    """mmdet's `MaskRCNN`; with another `rpn_head` than `BatchedRPNHead` it is the same."""


@MODELS.register_module()
class NoCopyCascadeRCNN(_NoCopy, CascadeRCNN):
    """mmdet's `CascadeRCNN`; with another `rpn_head` than `BatchedRPNHead` it is the same."""
