"""mmdet's `DeltaXYWHBBoxCoder` without its copies to the GPU, two for each call, that wait for it.

The same numbers. Boxes and deltas have any number of axes before the last, of 4.
"""

import math
from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from torch import Tensor

from .waiting import on_device

LARGEST_LOG = abs(math.log(16 / 1000))
"""Logarithms of widths and heights are clipped here: mmdet's `wh_ratio_clip`."""


def knows_coder(coder: object) -> bool:
    """Whether `decode`, `encode` and `clip` compute what this coder does."""
    return (
        type(coder) is DeltaXYWHBBoxCoder
        and coder.clip_border
        and not coder.add_ctr_clamp
        and not coder.use_box_type
    )


def decode(coder: DeltaXYWHBBoxCoder, priors: Tensor, deltas: Tensor) -> Tensor:
    """Boxes by deltas from priors, not clipped."""
    if any(std != 1 for std in coder.stds):
        deltas = deltas * on_device(tuple(coder.stds), deltas.dtype, deltas.device)
    if any(coder.means):
        deltas = deltas + on_device(tuple(coder.means), deltas.dtype, deltas.device)
    begin, end = priors[..., :2], priors[..., 2:]
    size = end - begin
    centre = (begin + end) * 0.5 + size * deltas[..., :2]
    half = size * deltas[..., 2:].clamp(-LARGEST_LOG, LARGEST_LOG).exp() * 0.5
    return torch.cat([centre - half, centre + half], dim=-1)


def encode(coder: DeltaXYWHBBoxCoder, priors: Tensor, boxes: Tensor) -> Tensor:
    """Deltas from priors to boxes, in float32."""
    priors, boxes = priors.float(), boxes.float()
    size = priors[..., 2:] - priors[..., :2]
    centre = (priors[..., :2] + priors[..., 2:]) * 0.5
    offset = (boxes[..., :2] + boxes[..., 2:]) * 0.5 - centre
    ratio = (boxes[..., 2:] - boxes[..., :2]) / size
    deltas = torch.cat([offset / size, ratio.log()], dim=-1)
    if any(coder.means):
        deltas = deltas - on_device(tuple(coder.means), deltas.dtype, deltas.device)
    return deltas / on_device(tuple(coder.stds), deltas.dtype, deltas.device)


def image_corners(metas: Sequence[dict], device: torch.device) -> Tensor:
    """`(B, 4)`: width, height, width, height of each image as the network sees it."""
    corners = tuple((*meta["img_shape"][1::-1],) * 2 for meta in metas)
    return on_device(corners, torch.float32, device)


def clip(boxes: Tensor, corners: Tensor) -> Tensor:
    """Boxes within the image, whose `image_corners` broadcast against them."""
    return boxes.clamp(min=0).minimum(corners)
