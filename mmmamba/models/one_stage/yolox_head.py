"""YOLOX's head (arXiv 2107.08430) for all images at once.

Shape suffixes: B images, G ground truths, P priors over all levels, C classes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import YOLOXHead
from mmdet.models.losses import CrossEntropyLoss, IoULoss, L1Loss
from mmdet.models.task_modules.assigners import SimOTAAssigner
from mmdet.utils import reduce_mean
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmmamba.acceleration.replays import Replays
from mmmamba.models.yolo.batches import (
    PriorCache,
    Truth,
    by_images,
    image_numbers,
    in_one_row,
    pad_truth,
    pick,
)
from mmmamba.models.yolo.box_selection import Pairs, detect
from mmmamba.models.yolo.box_selection import is_plain as is_plain_nms

from .matching import Matched, at_labels, match, overlap_cost
from .overlaps import iou, is_plain

OUTSIDE = 100_000.0
"""What a prior costs that is not in a box and near its centre: more than anything else; mmdet's."""


@MODELS.register_module()
class BatchedYOLOXHead(YOLOXHead):
    """mmdet's `YOLOXHead`: the same losses and boxes, for all images at once.

    Training reads nothing from the GPU, and prediction waits for it once. From the head's maps on
    all is computed in full precision; mmdet's places cells in the precision of its maps.

    What the batched way does not know (other assigners and losses than YOLOX's, another
    suppression, no suppression) goes mmdet's way. Like mmdet's it keeps all boxes that are not
    suppressed, whatever `max_per_img` says.
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
        objectnesses: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """`loss_cls`, `loss_bbox`, `loss_obj`, with `use_l1` also `loss_l1`.

        By `(B, channels, H, W)` of each level. As in mmdet, boxes to be ignored are not looked at.
        """
        plain = all(isinstance(found.bboxes, Tensor) for found in batch_gt_instances)
        if not (plain and self._batches_losses()):
            return super().loss_by_feat(
                cls_scores,
                bbox_preds,
                objectnesses,
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
            )
        logits_BPC, raw_BP4 = in_one_row(cls_scores), in_one_row(bbox_preds)
        objects_BP1 = in_one_row(objectnesses)
        priors_P4 = self._priors(cls_scores, logits_BPC)
        boxes_BP4 = _boxes_of(priors_P4, raw_BP4)
        truth = pad_truth(batch_gt_instances, boxes_BP4)
        with torch.no_grad():
            scores_BPC = (logits_BPC.sigmoid() * objects_BP1.sigmoid()).sqrt()
            matched = self._assign(priors_P4, boxes_BP4, scores_BPC, truth)
            positive_BP1 = matched.positive_BP[..., None]
            weight_BP1 = positive_BP1.to(logits_BPC.dtype)
            average = reduce_mean(weight_BP1.sum()).clamp(min=1)
            labels_BP1 = truth.labels_BG.gather(1, matched.gt_BP)[..., None]
            soft_BPC = torch.zeros_like(logits_BPC)
            soft_BPC = soft_BPC.scatter_(2, labels_BP1, matched.overlaps_BP[..., None])
            targets_BP4 = pick(truth.boxes_BG4, matched.gt_BP)
        # All priors, of which background weighs nothing: to pick the positives would be to wait
        # for their number. Their boxes may be of any size, and infinity times nothing is no number.
        near_BP4 = boxes_BP4.where(positive_BP1, 0)
        overlaps_BP1 = iou(near_BP4, targets_BP4).clamp(min=self.loss_bbox.eps)[..., None]
        losses = dict(
            loss_cls=self.loss_cls.loss_weight * _entropy(logits_BPC, soft_BPC, weight_BP1),
            loss_bbox=self.loss_bbox.loss_weight * ((1 - overlaps_BP1**2) * weight_BP1).sum(),
            loss_obj=self.loss_obj.loss_weight * _entropy(objects_BP1, weight_BP1),
        )
        if self.use_l1:
            off_BP4 = (raw_BP4 - _l1_targets(priors_P4, targets_BP4)).abs()
            losses["loss_l1"] = self.loss_l1.loss_weight * off_BP4.where(positive_BP1, 0).sum()
        return {name: loss / average for name, loss in losses.items()}

    def _batches_losses(self) -> bool:
        """Whether the batched way knows these settings."""
        return (
            type(self.assigner) is SimOTAAssigner
            and is_plain(self.assigner.iou_calculator)
            and _is_plain_entropy(self.loss_cls)
            and _is_plain_entropy(self.loss_obj)
            and type(self.loss_bbox) is IoULoss
            and self.loss_bbox.mode == "square"
            and type(self.loss_l1) is L1Loss
            and self.loss_bbox.reduction == self.loss_l1.reduction == "sum"
        )

    def _assign(
        self, priors_P4: Tensor, boxes_BP4: Tensor, scores_BPC: Tensor, truth: Truth
    ) -> Matched:
        """What mmdet's `SimOTAAssigner` assigns."""
        assigner = self.assigner
        # Targets are found with priors in the middle of their cells, boxes decoded at the corner.
        centres_P2 = priors_P4[:, :2] + priors_P4[:, 2:] * 0.5
        reach_P2 = assigner.center_radius * priors_P4[:, 2:]

        def assign(boxes_BP4: Tensor, scores_BPC: Tensor, *truth: Tensor) -> Matched:
            gts_BG4, labels_BG, given_BG = truth
            first_BG12, last_BG12 = gts_BG4[:, :, None].split(2, dim=-1)
            middle_BG12 = (first_BG12 + last_BG12) / 2
            in_box_BGP = _inside(centres_P2, first_BG12, last_BG12)
            in_centre_BGP = _inside(centres_P2, middle_BG12 - reach_P2, middle_BG12 + reach_P2)
            candidate_BGP = (in_box_BGP | in_centre_BGP) & given_BG[..., None]

            overlaps_BGP = iou(boxes_BP4[:, None], gts_BG4[:, :, None])
            # What each prior's scores cost where they should be 0; at the label another does.
            zero_BPC = -torch.log1p(-scores_BPC).clamp(min=-100)
            label_BGP = -at_labels(scores_BPC, labels_BG).log().clamp(min=-100)
            others_BGP = zero_BPC.sum(-1)[:, None] - at_labels(zero_BPC, labels_BG)
            cost_BGP = (
                (label_BGP + others_BGP) * assigner.cls_weight
                + overlap_cost(overlaps_BGP, assigner.iou_weight)
                + ~(in_box_BGP & in_centre_BGP) * OUTSIDE
            )
            counts_BGP = candidate_BGP.any(1, keepdim=True) & given_BG[..., None]
            return match(cost_BGP, overlaps_BGP, counts_BGP, assigner.candidate_topk)

        pairs = len(priors_P4) * truth.boxes_BG4.shape[1]
        return by_images(assign, pairs, boxes_BP4, scores_BPC, *truth)

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        objectnesses: list[Tensor],
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """`scores`, `labels` and `bboxes` of each image, best first.

        With `rescale` in pixels of the original image.
        """
        cfg = ConfigDict(self.test_cfg if cfg is None else cfg)
        if not (with_nms and is_plain_nms(cfg.nms)):
            return super().predict_by_feat(
                cls_scores, bbox_preds, objectnesses, batch_img_metas, cfg, rescale, with_nms
            )
        scores_BPC = in_one_row(cls_scores).sigmoid()
        priors_P4 = self._priors(cls_scores, scores_BPC)
        boxes_BP4 = _boxes_of(priors_P4, in_one_row(bbox_preds))
        if rescale:
            factors = [[[*meta["scale_factor"]] * 2] for meta in batch_img_metas]
            boxes_BP4 = boxes_BP4 / image_numbers(factors, boxes_BP4)
        best_BP1, labels_BP1 = scores_BPC.max(2, keepdim=True)
        best_BP1 = best_BP1 * in_one_row(objectnesses).sigmoid()
        above_BP1 = best_BP1 >= cfg.score_thr
        pairs = Pairs(best_BP1, above_BP1, boxes_BP4, labels_BP1[..., 0])
        cfg = ConfigDict(nms_pre=-1, nms=cfg.nms, max_per_img=-1)
        return detect(pairs, cfg, replays=self.replays).of_images()


def _boxes_of(priors_P4: Tensor, raw_BP4: Tensor) -> Tensor:
    """Corners of boxes: their centres from the cells', and logarithms of sides, both in strides."""
    points_P2, stride_P2 = priors_P4.split(2, dim=-1)
    moved_BP2, sides_BP2 = raw_BP4.split(2, dim=-1)
    centres_BP2 = moved_BP2 * stride_P2 + points_P2
    halves_BP2 = sides_BP2.exp() * stride_P2 / 2
    return torch.cat([centres_BP2 - halves_BP2, centres_BP2 + halves_BP2], dim=-1)


def _is_plain_entropy(loss: nn.Module) -> bool:
    """Whether `_entropy` times its weight is this loss."""
    return (
        type(loss) is CrossEntropyLoss
        and loss.use_sigmoid
        and loss.reduction == "sum"
        and loss.class_weight is None
    )


def _entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, weights, reduction="sum")


def _inside(points: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Whether points `(..., 2)` lie strictly between corners."""
    return ((points > first) & (points < last)).all(-1)


def _l1_targets(priors_P4: Tensor, gts_BP4: Tensor) -> Tensor:
    """What the head should say of boxes for `_boxes_of` to give them."""
    points_P2, stride_P2 = priors_P4.split(2, dim=-1)
    first_BP2, last_BP2 = gts_BP4.split(2, dim=-1)
    centres_BP2 = ((first_BP2 + last_BP2) / 2 - points_P2) / stride_P2
    # A box of zeros fills an image up; mmdet's eps.
    sides_BP2 = torch.log((last_BP2 - first_BP2) / stride_P2 + 1e-8)
    return torch.cat([centres_BP2, sides_BP2], dim=-1)
