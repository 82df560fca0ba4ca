"""Which prior learns which box: task-aligned assignment (TOOD, arXiv 2108.07755, section 3.2).

Shape suffixes: B images, P priors, G ground truths, C classes.
"""

from typing import NamedTuple

import torch
from mmdet.models.task_modules.assigners import AssignResult, TaskAlignedAssigner
from mmengine.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from .batches import Truth, by_images, pad_truth
from .loss import ciou


@TASK_UTILS.register_module()
class CIoUOverlaps:
    """CIoU, at least 0, of each box of one set `(..., N, 4)` with each of another `(..., M, 4)`.

    `(..., N, M)`.
    """

    def __call__(self, boxes_N4: Tensor, boxes_M4: Tensor) -> Tensor:
        return ciou(boxes_N4[..., :, None, :], boxes_M4[..., None, :, :]).clamp(min=0)


class Assigned(NamedTuple):
    """What each prior of a batch learns."""

    positive_BP: Tensor
    """False for background."""
    gt_BP: Tensor
    """Which ground truth, 0 for background."""
    scores_BP: Tensor
    """The score to learn at that box's class, 0 for background."""
    overlaps_BP: Tensor
    """With that box, 0 for background."""


@TASK_UTILS.register_module()
class NormalizedTaskAlignedAssigner(TaskAlignedAssigner):
    """The assigner of YOLO detectors, which differs from mmdet's `TaskAlignedAssigner`.

    Only priors strictly inside a box count, and they do before the `topk` are chosen; one that
    several boxes chose goes to the box it overlaps most, of all boxes; `assign_metrics` are target
    scores, which reach for each box the largest overlap among its priors.

    Args:
        topk: priors a box chooses, over all levels.
        alpha, beta: powers of score and overlap in the alignment metric.
        eps: in pixels what "strictly inside" means, and what keeps the normalisation from dividing
            by zero.
        iou_calculator: gives overlaps `(B, G, P)` of boxes `(B, G, 4)` and `(B, P, 4)`.
    """

    def __init__(
        self,
        topk: int = 10,
        alpha: float = 0.5,
        beta: float = 6.0,
        eps: float = 1e-9,
        iou_calculator: dict | None = None,
    ):
        super().__init__(topk, iou_calculator or dict(type=CIoUOverlaps))
        self.alpha, self.beta, self.eps = alpha, beta, eps

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign the priors of one image, as `assign_batch` does.

        Args:
            pred_instances: `priors` `(P, 2 or more)`, centres first; `bboxes` `(P, 4)` and `scores`
                `(P, classes)`.
            gt_instances: `bboxes` `(G, 4)` as corners in pixels, and `labels` `(G,)`.
            gt_instances_ignore: not looked at; boxes to be ignored are background here, as in the
                original.

        Returns:
            mmdet's result with the target scores `(P,)` as `assign_metrics`, 0 for background.
        """
        boxes_P4 = pred_instances.bboxes
        truth = pad_truth([gt_instances], boxes_P4)
        assigned = self.assign_batch(
            pred_instances.priors, boxes_P4[None], pred_instances.scores[None], truth
        )
        positive_P, gt_P, scores_P, overlaps_P = (part[0] for part in assigned)
        # mmdet counts boxes from 1, as 0 is background.
        result = AssignResult(
            len(gt_instances),
            torch.where(positive_P, gt_P + 1, 0),
            overlaps_P,
            labels=torch.where(positive_P, truth.labels_BG[0, gt_P], -1),
        )
        result.assign_metrics = scores_P
        return result

    @torch.no_grad()
    def assign_batch(
        self, priors_P4: Tensor, boxes_BP4: Tensor, scores_BPC: Tensor, truth: Truth
    ) -> Assigned:
        """Assign the priors of all images, without a look at what comes of it.

        Args:
            priors_P4: centres first.
            boxes_BP4: what the head predicts, as corners in pixels.
            scores_BPC: the same, between 0 and 1.
        """
        P, G = boxes_BP4.shape[1], truth.boxes_BG4.shape[1]
        # Over no priors there is no largest metric to take.
        if P == 0:
            none = scores_BPC.new_zeros(len(boxes_BP4), 0)
            return Assigned(none.bool(), none.long(), none, none)

        def assign(boxes_BP4: Tensor, scores_BPC: Tensor, *truth: Tensor) -> Assigned:
            return self._assign(priors_P4[:, :2], boxes_BP4, scores_BPC, Truth(*truth))

        return by_images(assign, P * G, boxes_BP4, scores_BPC, *truth)

    def _assign(
        self, priors_P2: Tensor, boxes_BP4: Tensor, scores_BPC: Tensor, truth: Truth
    ) -> Assigned:
        first_BG12, last_BG12 = truth.boxes_BG4[:, :, None].split(2, dim=-1)
        room_BGP4 = torch.cat([priors_P2 - first_BG12, last_BG12 - priors_P2], -1)
        # Nothing is inside of the boxes of zeros that fill an image up.
        inside_BGP = room_BGP4.amin(-1) > self.eps
        overlaps_BGP = self.iou_calculator(truth.boxes_BG4, boxes_BP4) * inside_BGP
        labels_BGP = truth.labels_BG[:, :, None].expand_as(inside_BGP)
        scores_BGP = scores_BPC.transpose(1, 2).gather(1, labels_BGP) * inside_BGP
        metric_BGP = scores_BGP**self.alpha * overlaps_BGP**self.beta

        chosen_BGK = metric_BGP.topk(min(self.topk, len(priors_P2))).indices
        # Among priors of metric 0 the choice of `topk` is arbitrary, and their target scores would
        # be 0 anyhow.
        candidates_BGP = torch.zeros_like(inside_BGP).scatter_(2, chosen_BGK, True)
        candidates_BGP &= metric_BGP > 0
        # By how many boxes each prior was chosen; of several the one it overlaps most gets it.
        wanted_BP = candidates_BGP.sum(1)
        only_BP = candidates_BGP.byte().argmax(1)
        gt_BP = torch.where(wanted_BP > 1, overlaps_BGP.argmax(1), only_BP)
        positive_BP = wanted_BP > 0
        positive_BGP = torch.zeros_like(inside_BGP).scatter_(
            1, gt_BP[:, None], positive_BP[:, None]
        )

        # The best prior of a box gets that box's largest overlap as its target, the others less.
        metric_BGP = metric_BGP * positive_BGP
        best_BG = (overlaps_BGP * positive_BGP).amax(2)
        scale_BG = best_BG / (metric_BGP.amax(2) + self.eps)
        return Assigned(
            positive_BP=positive_BP,
            gt_BP=gt_BP,
            scores_BP=(metric_BGP * scale_BG[..., None]).amax(1),
            overlaps_BP=overlaps_BGP.gather(1, gt_BP[:, None])[:, 0] * positive_BP,
        )
