"""mmdet's assignment and sampling of boxes in operations that leave a GPU running.

The originals read a number back from the GPU for each ground truth, and draw among 250,000 anchors on the
CPU. Shape suffixes: G ground truths, P priors.
"""

import torch
from mmdet.models.task_modules.assigners import AssignResult, MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler
from mmengine.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class DeviceMaxIoUAssigner(MaxIoUAssigner):
    """mmdet's `MaxIoUAssigner`, the same assignment for all ground truths at once."""

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign by `overlaps` `(G, P)`; the result's `gt_inds` count from 1, 0 is background, -1 ignored."""
        if 0 in overlaps.shape or (self.match_low_quality and not self.gt_max_assign_all):
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        max_P, argmax_P = overlaps.max(dim=0)
        low, high = self.neg_iou_thr if isinstance(self.neg_iou_thr, tuple) else (0, self.neg_iou_thr)
        gt_P = torch.where((max_P >= low) & (max_P < high), 0, -1)
        gt_P = torch.where(max_P >= self.pos_iou_thr, argmax_P + 1, gt_P)
        if self.match_low_quality:
            best_G = overlaps.amax(dim=1, keepdim=True)
            order_G = torch.arange(1, len(overlaps) + 1, dtype=torch.int32, device=overlaps.device)[:, None]
            # Of several ground truths that are nearest to one prior the last one gets it.
            chosen_P = torch.where((overlaps == best_G) & (best_G >= self.min_pos_iou), order_G, 0).amax(dim=0)
            gt_P = torch.where(chosen_P > 0, chosen_P, gt_P)
        labels_P = torch.where(gt_P > 0, gt_labels[(gt_P - 1).clamp(min=0)], -1)
        return AssignResult(len(overlaps), gt_P, max_P, labels=labels_P)


@TASK_UTILS.register_module()
class DeviceRandomSampler(RandomSampler):
    """mmdet's `RandomSampler` that draws where the boxes are: on a CPU the same draw, on a GPU another one."""

    def random_choice(self, gallery: Tensor, num: int) -> Tensor:
        """`num` entries of `gallery` `(P,)`, each at most once."""
        return gallery[torch.randperm(len(gallery), device=gallery.device)[:num]]
