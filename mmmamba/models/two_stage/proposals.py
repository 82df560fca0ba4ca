"""Proposals of a batch, filled up to one number in each image.

Shape suffixes: B images, N proposals.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmmamba.ops.waiting import places

from .assignment import count_mask, pad_boxes


class Padded(NamedTuple):
    """Boxes of each image, and which of them are there."""

    boxes_BN4: Tensor
    there_BN: Tensor


class Proposals(Sequence[InstanceData]):
    """What mmdet takes for a list of each image's `bboxes`, `scores` and `labels`, best first.

    How many there are is read back from the GPU when an image's are asked for; `pad_proposals`
    does without.
    """

    def __init__(self, boxes_BN4: Tensor, scores_BN: Tensor, count_B: Tensor):
        self._boxes_BN4, self._scores_BN, self._count_B = boxes_BN4, scores_BN, count_B

    def __len__(self) -> int:
        return len(self._boxes_BN4)

    def __getitem__(self, image: int) -> InstanceData:
        return self._images[image]

    def __iter__(self) -> Iterator[InstanceData]:
        return iter(self._images)

    @property
    def padded(self) -> Padded:
        place_N = places(self._boxes_BN4.shape[1], self._count_B.device)
        return Padded(self._boxes_BN4, place_N < self._count_B[:, None])

    @cached_property
    def _images(self) -> list[InstanceData]:
        labels_N = torch.zeros_like(self._scores_BN[0], dtype=torch.long)
        return [
            InstanceData(bboxes=boxes[:count], scores=scores[:count], labels=labels_N[:count])
            for boxes, scores, count in zip(
                self._boxes_BN4, self._scores_BN, self._count_B.tolist()
            )
        ]


def pad_proposals(proposals: Sequence[InstanceData]) -> Padded:
    """Proposals of each image, those of mmdet's own heads and of data sets too."""
    if isinstance(proposals, Proposals):
        return proposals.padded
    boxes = [found.bboxes for found in proposals]
    boxes_BN4 = pad_boxes(boxes)
    there_BN = count_mask([len(one) for one in boxes], boxes_BN4.shape[1], boxes_BN4.device)
    return Padded(boxes_BN4, there_BN)


def to_rois(boxes_BN4: Tensor) -> Tensor:
    """`(B * N, 5)`: image, x1, y1, x2, y2."""
    image_B11 = places(boxes_BN4.shape[0], boxes_BN4.device, boxes_BN4.dtype)[:, None, None]
    image_BN1 = image_B11.expand(-1, boxes_BN4.shape[1], -1)
    return torch.cat([image_BN1, boxes_BN4], dim=2).flatten(0, 1)
