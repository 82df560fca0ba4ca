"""mmdet's assignment and sampling of boxes in operations that leave a GPU running.

The originals read a number back from the GPU for each ground truth, and draw among 250,000 anchors
on the CPU. Shape suffixes: B images, G ground truths, P priors.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.task_modules.assigners import AssignResult, MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler
from mmengine.registry import TASK_UTILS
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# Overlaps held at once while a batch is assigned: some ten tensors of this many numbers.
MAX_OVERLAPS = 2**25


@TASK_UTILS.register_module()
class DeviceMaxIoUAssigner(MaxIoUAssigner):
    """mmdet's `MaxIoUAssigner`, the same assignment for all ground truths at once."""

    @property
    def batches(self) -> bool:
        """Its settings are among those that `assign_batch` knows."""
        one_prior_each = self.match_low_quality and not self.gt_max_assign_all
        return (
            self.ignore_iof_thr <= 0
            and self.gpu_assign_thr <= 0
            and self.perm_repeat_gt_cfg is None
            and not one_prior_each
        )

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign by `overlaps` `(G, P)`; the result's `gt_inds` count from 1, 0 is background, -1
        ignored.
        """
        if 0 in overlaps.shape or (self.match_low_quality and not self.gt_max_assign_all):
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        gt_P, max_P = self._match(overlaps)
        labels_P = torch.where(gt_P > 0, gt_labels[(gt_P - 1).clamp(min=0)], -1)
        return AssignResult(len(overlaps), gt_P, max_P, labels=labels_P)

    def assign_batch(
        self, gts_BG4: Tensor, count: Sequence[int], priors_BP4: Tensor, valid_BP: Tensor
    ) -> Tensor:
        """`gt_inds` `(B, P)` of images with `count` ground truths each; -1 where a prior is not
        valid.
        """
        if not self.batches:
            raise NotImplementedError(
                "assign_batch ignores no regions, repeats no boxes and stays on the device; use "
                "assign with these settings"
            )
        step = max(MAX_OVERLAPS // max(gts_BG4.shape[1] * priors_BP4.shape[1], 1), 1)
        given_BG = count_mask(count, gts_BG4.shape[1], gts_BG4.device)
        parts = []
        for gts, given, priors, valid in zip(
            *(t.split(step) for t in (gts_BG4, given_BG, priors_BP4, valid_BP))
        ):
            overlaps = self.iou_calculator(gts, priors)
            gt, _ = self._match(overlaps.masked_fill_(~(given[:, :, None] & valid[:, None]), -1))
            # Without ground truths all is background.
            parts.append(torch.where(valid & ~given.any(dim=1, keepdim=True), 0, gt))
        return torch.cat(parts)

    def _match(self, overlaps: Tensor) -> tuple[Tensor, Tensor]:
        """`gt_inds` and largest overlap `(..., P)` by overlaps `(..., G, P)`."""
        max_P, argmax_P = overlaps.max(dim=-2)
        low, high = (
            self.neg_iou_thr if isinstance(self.neg_iou_thr, tuple) else (0, self.neg_iou_thr)
        )
        gt_P = torch.where((max_P >= low) & (max_P < high), 0, -1)
        gt_P = torch.where(max_P >= self.pos_iou_thr, argmax_P + 1, gt_P)
        if self.match_low_quality:
            best_G1 = overlaps.amax(dim=-1, keepdim=True)
            order_G1 = torch.arange(
                1, overlaps.shape[-2] + 1, dtype=torch.int32, device=overlaps.device
            )[:, None]
            near = (overlaps == best_G1) & (best_G1 >= max(self.min_pos_iou, 0))
            # Of several ground truths that are nearest to one prior the last one gets it.
            chosen_P = torch.where(near, order_G1, 0).amax(dim=-2)
            gt_P = torch.where(chosen_P > 0, chosen_P, gt_P)
        return gt_P, max_P


@TASK_UTILS.register_module()
class DeviceRandomSampler(RandomSampler):
    """mmdet's `RandomSampler` that draws where the boxes are: `sample` gives on a CPU the same
    draw, on a GPU another.

    `draw` samples a whole batch.
    """

    def random_choice(self, gallery: Tensor, num: int) -> Tensor:
        """`num` entries of `gallery` `(P,)`, each at most once."""
        return gallery[torch.randperm(len(gallery), device=gallery.device)[:num]]

    def draw(self, gt_BP: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Random positives and negatives of each image by assigned `gt_inds`, without a look at how
        many there are.

        Returns:
            Indices of positives `(B, K)` in ascending order and whether there is one `(B, K)`,
            first those that are; the same of negatives.
        """
        priors = gt_BP.shape[1]
        key_BP = torch.rand(gt_BP.shape, device=gt_BP.device)
        positive = _first(key_BP, gt_BP > 0, min(int(self.num * self.pos_fraction), priors))
        found_B1 = positive[1].sum(dim=1, keepdim=True)
        wanted_B1 = self.num - found_B1
        if self.neg_pos_ub >= 0:
            wanted_B1 = torch.minimum(wanted_B1, (self.neg_pos_ub * found_B1.clamp(min=1)).long())
        return *positive, *_first(key_BP, gt_BP == 0, min(self.num, priors), wanted_B1)


def _first(
    key_BP: Tensor, candidate_BP: Tensor, most: int, wanted_B1: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Indices `(B, most)` of candidates with the largest keys, and which are meant: `wanted` at
    most.
    """
    value, index = torch.where(candidate_BP, key_BP, -1).topk(most, dim=1)
    meant = value >= 0
    if wanted_B1 is not None:
        meant &= torch.arange(most, device=value.device) < wanted_B1
    end = key_BP.shape[1]
    index = index.masked_fill(~meant, end).sort(dim=1).values
    return index.clamp(max=max(end - 1, 0)), meant


def pad_boxes(tensors: Sequence[Tensor]) -> Tensor:
    """`(G, ...)` of each image to `(B, largest G but at least 1, ...)`, filled with zeros."""
    padded = pad_sequence(list(tensors), batch_first=True)
    return padded if padded.shape[1] else F.pad(padded, (0, 0) * (padded.dim() - 2) + (0, 1))


def count_mask(count: Sequence[int], length: int, device: torch.device) -> Tensor:
    """`(B, length)`: the first `count` are True."""
    count_B1 = torch.tensor(count).to(device, non_blocking=True)[:, None]
    return torch.arange(length, device=device) < count_B1
