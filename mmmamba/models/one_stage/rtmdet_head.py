"""RTMDet's head (arXiv 2212.07784) for all images at once.

Shape suffixes: B images, G ground truths, P priors over all levels, C classes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RTMDetSepBNHead
from mmdet.models.losses import GIoULoss, QualityFocalLoss
from mmdet.models.task_modules.assigners import DynamicSoftLabelAssigner
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmdet.models.task_modules.samplers import PseudoSampler
from mmdet.utils import reduce_mean
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmmamba.acceleration.replays import Replays
from mmmamba.models.yolo.batches import (
    PriorCache,
    Truth,
    boxes_of,
    by_images,
    image_numbers,
    in_one_row,
    pad_truth,
    pick,
)
from mmmamba.models.yolo.box_selection import Pairs, detect
from mmmamba.models.yolo.box_selection import is_plain as is_plain_nms

from .matching import Matched, at_labels, match, overlap_cost
from .overlaps import giou, iou, is_plain


@MODELS.register_module()
class BatchedRTMDetHead(RTMDetSepBNHead):
    """mmdet's `RTMDetSepBNHead`: the same losses and boxes, for all images at once.

    Training reads nothing from the GPU, and prediction waits for it once. Losses come as one number
    each, not one a level. From the head's maps on all is computed in full precision.

    What the batched way does not know (other assigners, samplers, losses, coders and priors than
    RTMDet's, `pos_weight`, `allowed_border`, masks, another suppression, no suppression) goes
    mmdet's way.
    """

    replays: Replays | None = None
    """Set by `graph_model`."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._priors = PriorCache(self.prior_generator)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """`loss_cls` and `loss_bbox` by `(B, channels, H, W)` of each level.

        As in mmdet, boxes to be ignored are not looked at.
        """
        if not (self._batches_losses() and all(map(_has_plain_boxes, batch_gt_instances))):
            return super().loss_by_feat(
                cls_scores,
                bbox_preds,
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
            )
        logits_BPC = in_one_row(cls_scores)
        priors_P4 = self._priors(cls_scores, logits_BPC)
        boxes_BP4 = boxes_of(priors_P4, in_one_row(bbox_preds))
        truth = pad_truth(batch_gt_instances, boxes_BP4)
        with torch.no_grad():
            valid_BP = self._valid(priors_P4, batch_img_metas)
            matched = self._assign(priors_P4, boxes_BP4, logits_BPC, valid_BP, truth)
            # A batch without objects has no overlap at all.
            average = reduce_mean(matched.overlaps_BP.sum()).clamp(min=1)
            labels_BP1 = truth.labels_BG.gather(1, matched.gt_BP)[..., None]
            soft_BPC = torch.zeros_like(logits_BPC)
            soft_BPC = soft_BPC.scatter_(2, labels_BP1, matched.overlaps_BP[..., None])
            targets_BP4 = pick(truth.boxes_BG4, matched.gt_BP)
        # All priors, of which background weighs nothing: to pick the positives would be to wait
        # for their number. Their boxes may be of any size, and infinity times nothing is no number.
        boxes_BP4 = boxes_BP4.where(matched.positive_BP[..., None], 0)
        loss_bbox = 1 - giou(boxes_BP4, targets_BP4, self.loss_bbox.eps)
        loss_bbox = (loss_bbox * matched.overlaps_BP).sum() * self.loss_bbox.loss_weight
        loss_cls = _quality_focal_loss(logits_BPC, soft_BPC, self.loss_cls.beta)
        loss_cls = (loss_cls * valid_BP[..., None]).sum() * self.loss_cls.loss_weight
        return dict(loss_cls=loss_cls / average, loss_bbox=loss_bbox / average)

    def _batches_losses(self) -> bool:
        """Whether the batched way knows these settings."""
        return (
            type(self.assigner) is DynamicSoftLabelAssigner
            and is_plain(self.assigner.iou_calculator)
            and isinstance(self.sampler, PseudoSampler)
            and type(self.loss_cls) is QualityFocalLoss
            and not self.loss_cls.activated
            and self.loss_cls.reduction == "mean"
            and type(self.loss_bbox) is GIoULoss
            and self.loss_bbox.reduction == "mean"
            and self._has_square_points()
            and self.train_cfg["allowed_border"] < 0
            and self.train_cfg["pos_weight"] <= 0
        )

    def _has_square_points(self) -> bool:
        generator = self.prior_generator
        square = all(across == down for across, down in generator.strides)
        return type(generator) is MlvlPointGenerator and square

    def _valid(self, priors_P4: Tensor, metas: list[dict]) -> Tensor:
        """Where a prior's cell begins inside of the padded image, `(B, P)`."""
        # Height, then width.
        sides_B12 = image_numbers([[meta["pad_shape"][1::-1]] for meta in metas], priors_P4)
        corner_P2 = priors_P4[:, :2] - self.prior_generator.offset * priors_P4[:, 2:]
        return (corner_P2 < sides_B12).all(-1)

    def _assign(
        self,
        priors_P4: Tensor,
        boxes_BP4: Tensor,
        logits_BPC: Tensor,
        valid_BP: Tensor,
        truth: Truth,
    ) -> Matched:
        """What mmdet's `DynamicSoftLabelAssigner` assigns."""
        assigner = self.assigner
        probable_BPC = logits_BPC.sigmoid()
        # What each prior's scores cost where they should be 0; at the label something else does.
        zero_BPC = F.softplus(logits_BPC) * probable_BPC.square()

        def assign(
            boxes_BP4: Tensor,
            logits_BPC: Tensor,
            zero_BPC: Tensor,
            valid_BP: Tensor,
            *truth: Tensor,
        ) -> Matched:
            gts_BG4, labels_BG, given_BG = truth
            points_P2, stride_P = priors_P4[:, :2], priors_P4[:, 2]
            first_BG12, last_BG12 = gts_BG4[:, :, None].split(2, dim=-1)
            # Nothing is inside of the boxes of zeros that fill an image up.
            inside_BGP = ((points_P2 > first_BG12) & (points_P2 < last_BG12)).all(-1)
            valid_BP = valid_BP & inside_BGP.any(1)
            away_BGP2 = points_P2 - (first_BG12 + last_BG12) / 2
            distance_BGP = away_BGP2.square().sum(-1).sqrt() / stride_P
            centre_BGP = torch.pow(10, distance_BGP - assigner.soft_center_radius)

            overlaps_BGP = iou(boxes_BP4[:, None], gts_BG4[:, :, None])
            logits_BGP = at_labels(logits_BPC, labels_BG)
            soft_BGP = _quality_focal_loss(logits_BGP, overlaps_BGP, beta=2.0)
            others_BGP = zero_BPC.sum(-1)[:, None] - at_labels(zero_BPC, labels_BG)
            overlap_BGP = overlap_cost(overlaps_BGP, assigner.iou_weight)
            cost_BGP = soft_BGP + others_BGP + overlap_BGP + centre_BGP
            counts_BGP = valid_BP[:, None] & given_BG[..., None]
            return match(cost_BGP, overlaps_BGP, counts_BGP, assigner.topk)

        pairs = len(priors_P4) * truth.boxes_BG4.shape[1]
        return by_images(assign, pairs, boxes_BP4, logits_BPC, zero_BPC, valid_BP, *truth)

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        score_factors: list[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """`scores`, `labels` and `bboxes` of each image, best first.

        With `rescale` in pixels of the original image.
        """
        cfg = ConfigDict(self.test_cfg if cfg is None else cfg)
        if not (with_nms and score_factors is None and self._batches_boxes(cfg)):
            return super().predict_by_feat(
                cls_scores, bbox_preds, score_factors, batch_img_metas, cfg, rescale, with_nms
            )
        scores_BPC = in_one_row(cls_scores).sigmoid()
        priors_P4 = self._priors(cls_scores, scores_BPC)
        boxes_BP4 = boxes_of(priors_P4, in_one_row(bbox_preds))
        limits, factors = [], []
        for meta in batch_img_metas:
            limits.append([*meta["img_shape"][1::-1]] * 2)
            factors.append(
                [1 / factor for factor in meta["scale_factor"]] * 2 if rescale else [1] * 4
            )
        limit_B14, factor_B14 = image_numbers([limits, factors], boxes_BP4)[:, :, None].unbind()
        if self.bbox_coder.clip_border:
            boxes_BP4 = boxes_BP4.clamp(min=0).minimum(limit_B14)
        boxes_BP4 = boxes_BP4 * factor_B14
        smallest = cfg.get("min_bbox_size", -1)
        fit_BP = None
        if smallest >= 0:
            fit_BP = (boxes_BP4[..., 2:] - boxes_BP4[..., :2] > smallest).all(-1)
        pairs = Pairs(
            scores_BPC=scores_BPC,
            above_BPC=scores_BPC > cfg.get("score_thr", 0),
            boxes_BP4=boxes_BP4,
            fit_BP=fit_BP,
            levels=[level[0, 0].numel() for level in cls_scores],
        )
        return detect(pairs, cfg, replays=self.replays).of_images()

    def _batches_boxes(self, cfg: ConfigDict) -> bool:
        """Whether the batched way knows these settings."""
        return (
            is_plain_nms(cfg.nms)
            and cfg.get("nms_pre", -1) > 0
            and cfg.max_per_img > 0
            and type(self.bbox_coder) is DistancePointBBoxCoder
            and not self.bbox_coder.use_box_type
            and type(self.prior_generator) is MlvlPointGenerator
            and self.use_sigmoid_cls
            and not getattr(self.loss_cls, "custom_cls_channels", False)
        )


def _has_plain_boxes(found: InstanceData) -> bool:
    """Whether these ground truths are corners; mmdet's assigner has other centres for masks."""
    return isinstance(found.bboxes, Tensor) and "masks" not in found


def _quality_focal_loss(logits: Tensor, targets: Tensor, beta: float) -> Tensor:
    """Quality focal loss (arXiv 2006.04388, equation 2) of each logit."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    off = targets - logits.sigmoid()
    return entropy * (off.square() if beta == 2 else off.abs().pow(beta))
