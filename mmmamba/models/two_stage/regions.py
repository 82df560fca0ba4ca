"""Regions that are sampled for training, of all images at once.

Shape suffixes: B images, G ground truths, P proposals, S ground truths and proposals, K places for
samples, R regions of all images.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mmmamba.ops.waiting import costs_a_wait, places, where

from .assignment import (
    DeviceMaxIoUAssigner,
    DeviceRandomSampler,
    GroundTruth,
    pick,
)
from .proposals import Padded, to_rois


class Regions(NamedTuple):
    """What was sampled: positives first in each image, then negatives, then what fills it up.

    `(B, K)`, or `(R,)` after `flat`.
    """

    rois: Tensor
    """Image, x1, y1, x2, y2."""
    positive: Tensor
    meant: Tensor
    """False for what only fills an image up."""
    gt: Tensor
    """Which ground truth of its image a positive one has, from 0."""
    gt_boxes: Tensor
    """That ground truth's box."""
    labels: Tensor
    """That ground truth's class; the number of classes for those that are not positive."""
    is_gt: Tensor
    """A ground truth that was added to the proposals."""

    @property
    def boxes(self) -> Tensor:
        return self.rois[..., 1:]

    def first(self, places: int) -> Regions:
        """The first places of each image."""
        return Regions(*(one[:, :places] for one in self))

    def flat(self, rows_R: Tensor | None = None) -> Regions:
        """Those of all images after each other, or some of them."""
        flat = Regions(*(one.flatten(0, 1) for one in self))
        return flat if rows_R is None else Regions(*(one[rows_R] for one in flat))

    def rows_meant(self) -> Tensor:
        """Which rows of `flat()` do not only fill images up; the GPU is waited for."""
        return self.meant.flatten().nonzero()[:, 0]


def sample_regions(
    assigner: DeviceMaxIoUAssigner,
    sampler: DeviceRandomSampler,
    proposals: Padded,
    gts: GroundTruth,
    classes: int,
) -> Regions:
    """Sample as mmdet does, with one number of places in each image."""
    priors_BS4, gt_BS, added = _assign(assigner, sampler, proposals, gts)
    draw = sampler.draw(gt_BS)
    index_BK = draw.index_BM
    last = index_BK.shape[1] - 1
    found_B1, negatives_B1 = draw.found_2B1
    # Together they are never more than `num`.
    place_K = places(min(sampler.num, last + 1), gt_BS.device)
    positive_BK = place_K < found_B1
    total_B1 = found_B1 + negatives_B1
    # Negatives go right behind the positives that there are.
    at_BK = torch.where(positive_BK, place_K, place_K + (draw.most - found_B1)).clamp(max=last)
    index_BK = index_BK.gather(1, at_BK)

    gt_BK = (gt_BS.gather(1, index_BK) - 1).clamp(min=0)
    regions = Regions(
        rois=to_rois(pick(priors_BS4, index_BK)).unflatten(0, index_BK.shape),
        positive=positive_BK,
        meant=place_K < total_B1,
        gt=gt_BK,
        gt_boxes=pick(gts.boxes_BG4, gt_BK),
        labels=where(positive_BK, gts.labels_BG.gather(1, gt_BK), classes),
        is_gt=positive_BK & (index_BK < added),
    )
    return regions if costs_a_wait(gt_BS) else regions.first(max(int(total_B1.max()), 1))


def positives_of(regions: Regions, sampler: DeviceRandomSampler) -> Regions:
    """The places where positives may be: as many as there are at most."""
    most = min(int(sampler.num * sampler.pos_fraction), regions.positive.shape[1])
    if not costs_a_wait(regions.positive):
        most = int(regions.positive.sum(1).max())
    return regions.first(most)


def _assign(
    assigner: DeviceMaxIoUAssigner,
    sampler: DeviceRandomSampler,
    proposals: Padded,
    gts: GroundTruth,
) -> tuple[Tensor, Tensor, int]:
    """Boxes `(B, S, 4)`, their assigned indices, and how many at the start are ground truths."""
    priors_BS4, there_BP = proposals
    gt_BS = assigner.assign_batch(gts, priors_BS4, there_BP)
    if not sampler.add_gt_as_proposals:
        return priors_BS4, gt_BS, 0
    # They stand before the proposals, each assigned to itself, those that fill up to none.
    added = gts.boxes_BG4.shape[1]
    itself_BG = where(gts.there_BG, places(added + 1, gt_BS.device)[1:], -1)
    return (
        torch.cat([gts.boxes_BG4, priors_BS4], dim=1),
        torch.cat([itself_BG, gt_BS], dim=1),
        added,
    )
