"""mmdet's assignment and sampling of boxes in operations that leave a GPU running.

The originals read a number back from the GPU for each ground truth, and draw among 250,000 anchors
on the CPU. Shape suffixes: B images, G ground truths, P priors, K samples.

Assigned indices (`gt_inds`) are mmdet's: they count from 1, 0 is background and -1 is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.task_modules.assigners import AssignResult, BboxOverlaps2D, MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler
from mmengine.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmmamba.ops.match_boxes import Thresholds, match_boxes, matches_boxes
from mmmamba.ops.waiting import on_device, places, where

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

    @property
    def thresholds(self) -> Thresholds:
        low, high = 0.0, self.neg_iou_thr
        if isinstance(self.neg_iou_thr, tuple):
            low, high = self.neg_iou_thr
        # No overlap is negative, so that -1, where nothing counts, is below all of them.
        nearest = max(self.min_pos_iou, 0.0) if self.match_low_quality else None
        return Thresholds(low, high, self.pos_iou_thr, nearest)

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign the priors of one image by `overlaps` `(G, P)`."""
        # Nothing is largest along an empty axis; and a single prior for each ground truth is a
        # choice that mmdet makes in turn.
        if 0 in overlaps.shape or (self.match_low_quality and not self.gt_max_assign_all):
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        gt_P, max_P = self._match(overlaps)
        labels_P = torch.where(gt_P > 0, gt_labels[(gt_P - 1).clamp(min=0)], -1)
        return AssignResult(len(overlaps), gt_P, max_P, labels=labels_P)

    def assign_batch(self, gts: GroundTruth, priors_BP4: Tensor, valid_BP: Tensor) -> Tensor:
        """Assign the priors of several images at once.

        Args:
            gts: of each image.
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
        if matches_boxes(gts.boxes_BG4, priors_BP4):
            return match_boxes(gts.boxes_BG4, gts.there_BG, priors_BP4, valid_BP, self.thresholds)
        # A few images at a time: overlaps of all with all would fill the memory.
        step = max(MAX_OVERLAPS // max(gts.boxes_BG4.shape[1] * priors_BP4.shape[1], 1), 1)
        pieces = zip(
            gts.boxes_BG4.split(step),
            gts.there_BG.split(step),
            priors_BP4.split(step),
            valid_BP.split(step),
        )
        parts = []
        for boxes, there, priors, valid in pieces:
            # No overlap is negative: at -1 what does not count stays below every threshold, and a
            # prior that does not comes out as ignored.
            counts = there[:, :, None] & valid[:, None]
            gt, _ = self._match(where(counts, overlaps(boxes, priors), -1))
            parts.append(gt)
        gt_BP = parts[0] if len(parts) == 1 else torch.cat(parts)
        if all(gts.counts):
            return gt_BP
        # Without ground truths all is background.
        return where(gts.there_BG.any(dim=1, keepdim=True) | ~valid_BP, gt_BP, 0)

    def _match(self, overlaps: Tensor) -> tuple[Tensor, Tensor]:
        """Assigned indices and largest overlap `(..., P)` by overlaps `(..., G, P)`."""
        max_P, argmax_P = overlaps.max(dim=-2)
        low, high, foreground, nearest = self.thresholds
        background_P = (max_P >= low) & (max_P < high)
        # A boolean less 1: 0 for background, -1 for what is ignored.
        gt_P = torch.where(max_P >= foreground, argmax_P + 1, background_P.add(-1))
        if nearest is None:
            return gt_P, max_P
        # Each ground truth also gets the priors nearest to it, however far off they are. mmdet goes
        # through the ground truths in turn, so that of several for one prior the last one gets it.
        best_G1 = overlaps.amax(dim=-1, keepdim=True)
        # Raised to the threshold, a best below it is nobody's overlap; nor is one that only fills
        # up, of -1.
        near = overlaps == best_G1.clamp(min=nearest)
        turn_G1 = places(overlaps.shape[-2] + 1, overlaps.device)[1:, None].int()
        last_P = (near * turn_G1).amax(dim=-2)
        return torch.where(last_P > 0, last_P, gt_P), max_P


class GroundTruth(NamedTuple):
    """Boxes and labels of each image, filled up."""

    boxes_BG4: Tensor
    labels_BG: Tensor
    there_BG: Tensor
    """False for what only fills an image up."""
    counts: list[int]

    @classmethod
    def of(cls, gts: Sequence[InstanceData]) -> GroundTruth:
        boxes_BG4, counts = pad_boxes([found.bboxes for found in gts]), [len(one) for one in gts]
        return cls(
            boxes_BG4,
            pad_boxes([found.labels for found in gts]),
            count_mask(counts, boxes_BG4.shape[1], boxes_BG4.device),
            counts,
        )


class Drawn(NamedTuple):
    """Samples of each image, in ascending order; images with fewer are filled up at the end."""

    index_BK: Tensor
    meant_BK: Tensor
    """False for what only fills an image up."""


class Draw(NamedTuple):
    """Positives, then negatives of each image, in one tensor."""

    index_2BK: Tensor
    meant_2BK: Tensor
    found_2B1: Tensor
    """How many of each kind are meant."""
    most: int
    """Positives at most; their further places are empty."""

    @property
    def positive(self) -> Drawn:
        return Drawn(self.index_2BK[0, :, : self.most], self.meant_2BK[0, :, : self.most])

    @property
    def negative(self) -> Drawn:
        return Drawn(self.index_2BK[1], self.meant_2BK[1])

    @property
    def index_BM(self) -> Tensor:
        """Those of positives and negatives after each other."""
        return torch.cat([self.positive.index_BK, self.negative.index_BK], dim=1)

    @property
    def meant_BM(self) -> Tensor:
        return torch.cat([self.positive.meant_BK, self.negative.meant_BK], dim=1)


@TASK_UTILS.register_module()
class DeviceRandomSampler(RandomSampler):
    """mmdet's `RandomSampler` that draws where the boxes are.

    `sample` gives on a CPU the same draw, on a GPU another; `draw` samples a whole batch.
    """

    def random_choice(self, gallery: Tensor, num: int) -> Tensor:
        """`num` entries of `gallery` `(P,)`, each at most once."""
        return gallery[torch.randperm(len(gallery), device=gallery.device)[:num]]

    def draw(self, gt_BP: Tensor) -> Draw:
        """Draw positives and negatives of each image by its assigned indices.

        Without a look at how many there are.
        """
        priors, device = gt_BP.shape[1], gt_BP.device
        num, most = min(self.num, priors), min(int(self.num * self.pos_fraction), priors)
        # Candidates with the largest keys are drawn, so that each is drawn equally often.
        key_BP = torch.rand(gt_BP.shape, device=device)
        kind_211 = on_device((((1,),), ((0,),)), gt_BP.dtype, device)
        # Keys of candidates lie in [0, 1), so at -1 there is none.
        key_2BP = where(gt_BP.clamp(max=1) == kind_211, key_BP, -1)
        value_2BK, index_2BK = key_2BP.topk(num, dim=2)
        there_2BK = value_2BK >= 0
        found_B1 = there_2BK[0, :, :most].sum(dim=1, keepdim=True)
        wanted_B1 = self.num - found_B1
        if self.neg_pos_ub >= 0:
            # mmdet allows negatives as if there were one positive at least.
            wanted_B1 = torch.minimum(wanted_B1, (self.neg_pos_ub * found_B1.clamp(min=1)).long())
        meant_2BK = there_2BK & (places(num, device) < torch.stack([found_B1, wanted_B1]))
        # What is not meant is sorted behind all others, then moved to an index that exists.
        index_2BK = where(meant_2BK, index_2BK, priors).sort(dim=2).values
        return Draw(
            index_2BK.clamp(max=max(priors - 1, 0)),
            meant_2BK,
            meant_2BK.sum(dim=2, keepdim=True),
            most,
        )


def pad_boxes(tensors: Sequence[Tensor]) -> Tensor:
    """`(G, ...)` of each image to `(B, largest G but at least 1, ...)`, filled with zeros."""
    padded = pad_sequence(list(tensors), batch_first=True)
    return padded if padded.shape[1] else F.pad(padded, (0, 0) * (padded.dim() - 2) + (0, 1))


def count_mask(count: Sequence[int], length: int, device: torch.device) -> Tensor:
    """`(B, length)`: the first `count` are True."""
    count_B1 = torch.tensor(count).to(device, non_blocking=True)[:, None]
    return places(length, device) < count_B1


def pick(values_BN4: Tensor, index_BK: Tensor) -> Tensor:
    """Values `(B, N, 4)` at index `(B, K)`: `(B, K, 4)`."""
    return values_BN4.gather(1, index_BK[..., None].expand(-1, -1, values_BN4.shape[-1]))
