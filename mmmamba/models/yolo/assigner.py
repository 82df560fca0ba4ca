"""Which prior learns which box: task-aligned assignment (TOOD, arXiv 2108.07755, section 3.2).

Shape suffixes: P priors, G ground truths.
"""

import torch
from mmdet.models.task_modules.assigners import AssignResult, TaskAlignedAssigner
from mmengine.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from .loss import ciou


@TASK_UTILS.register_module()
class CIoUOverlaps:
    """CIoU, at least 0, of each box of one set `(P, 4)` with each of another `(G, 4)`: `(P, G)`."""

    def __call__(self, boxes_P4: Tensor, boxes_G4: Tensor) -> Tensor:
        return ciou(boxes_P4[:, None], boxes_G4[None]).clamp(min=0)


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
        """Assign the priors of one image.

        Args:
            pred_instances: `priors` `(P, 2 or more)`, centres first; `bboxes` `(P, 4)` and `scores`
                `(P, classes)`.
            gt_instances: `bboxes` `(G, 4)` as corners in pixels, and `labels` `(G,)`.
            gt_instances_ignore: not looked at; boxes to be ignored are background here, as in the
                original.

        Returns:
            mmdet's result with the target scores `(P,)` as `assign_metrics`, 0 for background.
        """
        priors_P2 = pred_instances.priors[:, :2]
        gt_G4 = gt_instances.bboxes
        labels_G = gt_instances.labels
        P, G = len(priors_P2), len(gt_G4)
        gt_inds_P = labels_G.new_zeros(P)
        # Over no boxes there is no largest overlap to take.
        if P == 0 or G == 0:
            scores_P = pred_instances.scores.new_zeros(P)
            return self._result(G, gt_inds_P, scores_P, scores_P, labels_G.new_full((P,), -1))

        to_corner_PG2 = priors_P2[:, None] - gt_G4[None, :, :2]
        from_corner_PG2 = gt_G4[None, :, 2:] - priors_P2[:, None]
        inside_PG = torch.cat([to_corner_PG2, from_corner_PG2], -1).amin(-1) > self.eps
        overlaps_PG = self.iou_calculator(pred_instances.bboxes, gt_G4.to(pred_instances.bboxes))
        overlaps_PG = overlaps_PG * inside_PG
        scores_PG = pred_instances.scores[:, labels_G] * inside_PG
        metric_PG = scores_PG**self.alpha * overlaps_PG**self.beta

        chosen = metric_PG.topk(min(self.topk, P), dim=0).indices
        # Among priors of metric 0 the choice of `topk` is arbitrary, and their target scores would
        # be 0 anyhow.
        candidates_PG = torch.zeros_like(inside_PG).scatter_(0, chosen, True) & (metric_PG > 0)
        # By how many boxes each prior was chosen; of several the one it overlaps most gets it.
        wanted_P = candidates_PG.sum(1)
        gt_P = torch.where(wanted_P > 1, overlaps_PG.argmax(1), candidates_PG.int().argmax(1))
        positive_P = wanted_P > 0
        positive_PG = torch.zeros_like(inside_PG).scatter_(1, gt_P[:, None], positive_P[:, None])

        # The best prior of a box gets that box's largest overlap as its target, the others less.
        metric_PG = metric_PG * positive_PG
        scale_G = (overlaps_PG * positive_PG).amax(0) / (metric_PG.amax(0) + self.eps)
        # mmdet counts boxes from 1, as 0 is background.
        gt_inds_P[positive_P] = gt_P[positive_P] + 1
        labels_P = torch.where(positive_P, labels_G[gt_P], -1)
        overlap_P = overlaps_PG.gather(1, gt_P[:, None])[:, 0] * positive_P
        return self._result(G, gt_inds_P, (metric_PG * scale_G).amax(1), overlap_P, labels_P)

    @staticmethod
    def _result(
        num_gts: int, gt_inds: Tensor, target_scores: Tensor, overlaps: Tensor, labels: Tensor
    ) -> AssignResult:
        result = AssignResult(num_gts, gt_inds, overlaps, labels=labels)
        result.assign_metrics = target_scores
        return result
