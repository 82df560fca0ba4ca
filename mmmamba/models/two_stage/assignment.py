"""mmdet's assignment and sampling of boxes in operations that leave a GPU running.

The originals read a number back from the GPU for each ground truth, and draw among 250,000 anchors
on the CPU. Shape suffixes: B images, G ground truths, P priors, K samples.

Assigned indices (`gt_inds`) are mmdet's: they count from 1, 0 is background and -1 is ignored.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.task_modules.assigners import AssignResult, BboxOverlaps2D, MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler
from mmengine.registry import TASK_UTILS
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .box_coding import overlaps

MAX_OVERLAPS = 2**25
"""Held at once while a batch is assigned: some ten tensors of this many numbers."""


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
            and type(self.iou_calculator) is BboxOverlaps2D
            and self.iou_calculator.scale == 1
            and self.iou_calculator.dtype is None
            and not one_prior_each
        )

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign the priors of one image by `overlaps` `(G, P)`."""
        # Nothing is largest along an empty axis; and a single prior for each ground truth is a
        # choice that mmdet makes in turn.
        if 0 in overlaps.shape or (self.match_low_quality and not self.gt_max_assign_all):
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        gt_P, max_P = self._match(overlaps)
        labels_P = torch.where(gt_P > 0, gt_labels[(gt_P - 1).clamp(min=0)], -1)
        return AssignResult(len(overlaps), gt_P, max_P, labels=labels_P)

    def assign_batch(
        self, gts_BG4: Tensor, count: Sequence[int], priors_BP4: Tensor, valid_BP: Tensor
    ) -> Tensor:
        """Assign the priors of several images at once.

        Args:
            gts_BG4: ground truths of each image, filled up.
            count: how many of them are there.
            priors_BP4: of each image.
            valid_BP: where a prior counts.

        Returns:
            Assigned indices `(B, P)`, -1 where a prior does not count.

        Raises:
            NotImplementedError: `batches` is false.
        """
        if not self.batches:
            raise NotImplementedError(
                "assign_batch ignores no regions, repeats no boxes and stays on the device; use "
                "assign with these settings"
            )
        # A few images at a time: overlaps of all with all would fill the memory.
        step = max(MAX_OVERLAPS // max(gts_BG4.shape[1] * priors_BP4.shape[1], 1), 1)
        given_BG = count_mask(count, gts_BG4.shape[1], gts_BG4.device)
        pieces = zip(
            gts_BG4.split(step), given_BG.split(step), priors_BP4.split(step), valid_BP.split(step)
        )
        parts = []
        for gts, given, priors, valid in pieces:
            # No overlap is negative: at -1 what does not count stays below every threshold, and a
            # prior that does not comes out as ignored.
            counts = given[:, :, None] & valid[:, None]
            shares = overlaps(gts, priors).masked_fill_(~counts, -1)
            gt, _ = self._match(shares)
            # Without ground truths all is background.
            parts.append(torch.where(valid & ~given.any(dim=1, keepdim=True), 0, gt))
        return torch.cat(parts)

    def _match(self, overlaps: Tensor) -> tuple[Tensor, Tensor]:
        """Assigned indices and largest overlap `(..., P)` by overlaps `(..., G, P)`."""
        max_P, argmax_P = overlaps.max(dim=-2)
        low, high = 0, self.neg_iou_thr
        if isinstance(self.neg_iou_thr, tuple):
            low, high = self.neg_iou_thr
        gt_P = torch.where((max_P >= low) & (max_P < high), 0, -1)
        gt_P = torch.where(max_P >= self.pos_iou_thr, argmax_P + 1, gt_P)
        if not self.match_low_quality:
            return gt_P, max_P
        # Each ground truth also gets the priors nearest to it, however far off they are. mmdet goes
        # through the ground truths in turn, so that of several for one prior the last one gets it.
        best_G1 = overlaps.amax(dim=-1, keepdim=True)
        # A ground truth that only fills up has -1 for its best, which the 0 shuts out.
        near = (overlaps == best_G1) & (best_G1 >= max(self.min_pos_iou, 0))
        turn_G = torch.arange(1, overlaps.shape[-2] + 1, dtype=torch.int32, device=overlaps.device)
        last_P = torch.where(near, turn_G[:, None], 0).amax(dim=-2)
        return torch.where(last_P > 0, last_P, gt_P), max_P


class Drawn(NamedTuple):
    """Samples of each image, in ascending order; images with fewer are filled up at the end."""

    index_BK: Tensor
    meant_BK: Tensor
    """False for what only fills an image up."""


@TASK_UTILS.register_module()
class DeviceRandomSampler(RandomSampler):
    """mmdet's `RandomSampler` that draws where the boxes are.

    `sample` gives on a CPU the same draw, on a GPU another; `draw` samples a whole batch.
    """

    def random_choice(self, gallery: Tensor, num: int) -> Tensor:
        """`num` entries of `gallery` `(P,)`, each at most once."""
        return gallery[torch.randperm(len(gallery), device=gallery.device)[:num]]

    def draw(self, gt_BP: Tensor) -> tuple[Drawn, Drawn]:
        """Draw positives and negatives of each image by its assigned indices.

        Without a look at how many there are.
        """
        priors = gt_BP.shape[1]
        # Candidates with the largest keys are drawn, so that each is drawn equally often.
        key_BP = torch.rand(gt_BP.shape, device=gt_BP.device)
        most = min(int(self.num * self.pos_fraction), priors)
        positive = _largest(key_BP, gt_BP > 0, most)
        found_B1 = positive.meant_BK.sum(dim=1, keepdim=True)
        wanted_B1 = self.num - found_B1
        if self.neg_pos_ub >= 0:
            # mmdet allows negatives as if there were one positive at least.
            wanted_B1 = torch.minimum(wanted_B1, (self.neg_pos_ub * found_B1.clamp(min=1)).long())
        negative = _largest(key_BP, gt_BP == 0, min(self.num, priors), wanted_B1)
        return positive, negative


def _largest(
    key_BP: Tensor, candidate_BP: Tensor, most: int, wanted_B1: Tensor | None = None
) -> Drawn:
    """The candidates with the largest keys, `most` or `wanted` at most."""
    value_BK, index_BK = torch.where(candidate_BP, key_BP, -1).topk(most, dim=1)
    # Keys of candidates lie in [0, 1), so at -1 there is none.
    meant_BK = value_BK >= 0
    if wanted_B1 is not None:
        meant_BK &= torch.arange(most, device=value_BK.device) < wanted_B1
    # What is not meant is sorted behind all others, then moved to an index that exists.
    end = key_BP.shape[1]
    index_BK = index_BK.masked_fill(~meant_BK, end).sort(dim=1).values
    return Drawn(index_BK.clamp(max=max(end - 1, 0)), meant_BK)


def pad_boxes(tensors: Sequence[Tensor]) -> Tensor:
    """`(G, ...)` of each image to `(B, largest G but at least 1, ...)`, filled with zeros."""
    padded = pad_sequence(list(tensors), batch_first=True)
    return padded if padded.shape[1] else F.pad(padded, (0, 0) * (padded.dim() - 2) + (0, 1))


def count_mask(count: Sequence[int], length: int, device: torch.device) -> Tensor:
    """`(B, length)`: the first `count` are True."""
    count_B1 = torch.tensor(count).to(device, non_blocking=True)[:, None]
    return torch.arange(length, device=device) < count_B1


def pick(values_BN4: Tensor, index_BK: Tensor) -> Tensor:
    """Values `(B, N, 4)` at index `(B, K)`: `(B, K, 4)`."""
    return values_BN4.gather(1, index_BK[..., None].expand(-1, -1, values_BN4.shape[-1]))
