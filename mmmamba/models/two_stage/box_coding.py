"""mmdet's coder, overlaps and losses of boxes, without what they wait for the GPU for.

The same numbers. A call of `DeltaXYWHBBoxCoder` copies two constants to the GPU, one of
`bbox_overlaps` another, and losses of boxes ask whether there are any. Boxes and deltas have any
number of axes before the last, of 4.
"""

import math
from collections.abc import Sequence

import torch
from mmdet.models.losses import GIoULoss
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from torch import Tensor, nn

from mmmamba.ops.waiting import on_device

LARGEST_LOG = abs(math.log(16 / 1000))
"""Logarithms of widths and heights are clipped here: mmdet's `wh_ratio_clip`."""

LEAST_UNION = 1e-6
"""mmdet's `eps` of overlaps."""

EPSILON = torch.finfo(torch.float32).eps
"""mmdet adds it to what it divides a loss by."""


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
    both = torch.stack([priors.float(), boxes.float()])
    size, target_size = both[..., 2:] - both[..., :2]
    centre, target = (both[..., :2] + both[..., 2:]) * 0.5
    deltas = torch.cat([(target - centre) / size, (target_size / size).log()], dim=-1)
    if any(coder.means):
        deltas = deltas - on_device(tuple(coder.means), deltas.dtype, deltas.device)
    if any(std != 1 for std in coder.stds):
        deltas = deltas / on_device(tuple(coder.stds), deltas.dtype, deltas.device)
    return deltas


def image_corners(metas: Sequence[dict], device: torch.device) -> Tensor:
    """`(B, 4)`: width, height, width, height of each image as the network sees it."""
    corners = tuple((*meta["img_shape"][1::-1],) * 2 for meta in metas)
    return on_device(corners, torch.float32, device)


def clip(boxes: Tensor, corners: Tensor) -> Tensor:
    """Boxes within the image, whose `image_corners` broadcast against them."""
    return boxes.clamp(min=0).minimum(corners)


def overlaps(gts_BG4: Tensor, priors_BP4: Tensor) -> Tensor:
    """Intersections over unions `(B, G, P)`."""
    common, union = _common_and_union(gts_BG4[:, :, None], priors_BP4[:, None], LEAST_UNION)
    return common / union


def _common_and_union(first: Tensor, second: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Areas of pairs of boxes `(..., 4)` that broadcast against each other."""
    begin = torch.maximum(first[..., :2], second[..., :2])
    end = torch.minimum(first[..., 2:], second[..., 2:])
    common = _area(begin, end)
    areas = [(one[..., 2:] - one[..., :2]).prod(-1) for one in (first, second)]
    return common, (areas[0] + areas[1] - common).clamp(min=least)


def _area(begin: Tensor, end: Tensor) -> Tensor:
    width, height = (end - begin).clamp(min=0).unbind(-1)
    return width * height


def _giou_loss(boxes_R4: Tensor, targets_R4: Tensor, least: float) -> Tensor:
    """1 - GIoU (Rezatofighi et al. 2019) of each box with its target."""
    common_R, union_R = _common_and_union(boxes_R4, targets_R4, least)
    begin = torch.minimum(boxes_R4[..., :2], targets_R4[..., :2])
    end = torch.maximum(boxes_R4[..., 2:], targets_R4[..., 2:])
    hull_R = _area(begin, end).clamp(min=least)
    return 1 - (common_R / union_R - (hull_R - union_R) / hull_R)


def box_loss(
    loss: nn.Module, boxes_R4: Tensor, targets_R4: Tensor, weights_R: Tensor, average: Tensor
) -> Tensor:
    """The sum of a loss over boxes or deltas, divided by `average`."""
    # Weights are not handed over: mmdet's losses ask on the CPU whether one is above 0.
    if type(loss) is GIoULoss:
        each = loss.loss_weight * _giou_loss(boxes_R4, targets_R4, loss.eps)
    else:
        each = loss(boxes_R4, targets_R4, reduction_override="none")
    # One number for each coordinate, or one for each box.
    each_R = each.sum(1) if each.dim() > 1 else each
    return (each_R * weights_R).sum() / (average + EPSILON)
