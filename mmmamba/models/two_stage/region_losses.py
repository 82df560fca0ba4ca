"""Losses of box and mask heads at sampled regions, with weights in place of a choice of rows.

mmdet chooses positives by index, for which the GPU is waited for seven times a head. Shape
suffixes: R regions, C classes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmmamba.ops.waiting import on_device

from .assignment import DeviceRandomSampler
from .box_coding import box_loss, decode, encode
from .known import has_batch_norm
from .mask_head import PackedFCNMaskHead
from .regions import Regions, positives_of


class BoxHeadLosses(NamedTuple):
    """Losses of a box head, and what they were made from."""

    losses: dict[str, Tensor]
    regions: Regions
    """Flat."""
    rows: Tensor | None
    """Which of all places these are, if not all."""
    scores_RC: Tensor
    deltas: Tensor


def box_head_losses(
    head: BBoxHead, forward: Callable[[Tensor], dict], regions: Regions, cfg: ConfigDict
) -> BoxHeadLosses:
    """Losses of a box head; `forward` gives what it says of regions `(R, 5)`."""
    rows = regions.rows_meant() if has_batch_norm(head) else None
    flat = regions.flat(rows)
    found = forward(flat.rois)
    scores_RC, deltas = found["cls_score"], found["bbox_pred"]
    losses = _box_losses(head, scores_RC, deltas, flat, cfg)
    return BoxHeadLosses(losses, flat, rows, scores_RC, deltas)


def mask_head_losses(
    head: PackedFCNMaskHead,
    forward: Callable[[Tensor], dict],
    regions: Regions,
    gts: Sequence[InstanceData],
    sampler: DeviceRandomSampler,
    cfg: ConfigDict,
) -> dict[str, Tensor]:
    """Losses of a mask head; `forward` gives what it says of regions `(R, 5)`."""
    positives = positives_of(regions, sampler)
    # Of what there is only these are read; each would be a copy.
    rois_R5, positive_R, labels_R = (
        one.flatten(0, 1) for one in (positives.rois, positives.positive, positives.labels)
    )
    logits = forward(rois_R5)["mask_preds"]
    targets = head.crop_targets(
        positives.boxes.unbind(), positives.gt.unbind(), [found.masks for found in gts], cfg
    )
    return _mask_loss(head, logits, targets, positive_R, labels_R)


def _box_losses(
    head: BBoxHead, cls_score: Tensor, bbox_pred: Tensor, regions: Regions, cfg: ConfigDict
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and `acc`, the share of regions of the right class in percent."""
    meant_R, labels_R = regions.meant, regions.labels
    total = meant_R.sum()
    least_one = total.clamp(min=1)
    pos_weight = cfg.pos_weight if cfg.pos_weight > 0 else 1.0
    weights_R = meant_R.float()
    if pos_weight != 1:
        weights_R = torch.where(regions.positive, pos_weight, weights_R)
    loss_cls = head.loss_cls(cls_score, labels_R, weights_R, avg_factor=least_one.float())
    right = ((cls_score.argmax(1) == labels_R) & meant_R).sum(0, keepdim=True)
    return dict(
        loss_cls=loss_cls,
        acc=right * 100.0 / least_one,
        loss_bbox=_loss_bbox(head, bbox_pred, regions, total),
    )


def _loss_bbox(head: BBoxHead, bbox_pred: Tensor, regions: Regions, total: Tensor) -> Tensor:
    chosen_R4 = of_class(head, bbox_pred, regions.labels * regions.positive)
    # What is not positive gets a box of its own for target: numbers that times 0 are 0.
    unit = on_device((0.0, 0.0, 1.0, 1.0), regions.boxes.dtype, regions.boxes.device)
    positive_R1 = regions.positive[:, None]
    boxes_R4 = regions.boxes.where(positive_R1, unit)
    targets_R4 = regions.gt_boxes.where(positive_R1, unit)
    if head.reg_decoded_bbox:
        chosen_R4 = decode(head.bbox_coder, boxes_R4, chosen_R4)
    else:
        targets_R4 = encode(head.bbox_coder, boxes_R4, targets_R4)
    return box_loss(head.loss_bbox, chosen_R4, targets_R4, regions.positive, total)


def of_class(head: BBoxHead, bbox_pred: Tensor, labels_R: Tensor) -> Tensor:
    """Deltas `(R, 4)` of the classes of regions, or the only ones that a head has."""
    if head.reg_class_agnostic:
        return bbox_pred
    index_R14 = labels_R[:, None, None].expand(-1, 1, 4)
    return bbox_pred.unflatten(1, (-1, 4)).gather(1, index_R14).squeeze(1)


def _mask_loss(
    head: FCNMaskHead, mask_preds: Tensor, targets: Tensor, positive_R: Tensor, labels_R: Tensor
) -> dict[str, Tensor]:
    """`loss_mask` of logits `(R, C or 1, h, w)` at what is positive, by targets `(R, h, w)`."""
    logits = mask_of_class(head, mask_preds, labels_R * positive_R)
    loss_Rhw = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    loss_R = loss_Rhw.flatten(1).mean(1) * positive_R
    mean = loss_R.sum() / positive_R.sum().clamp(min=1)
    return dict(loss_mask=head.loss_mask.loss_weight * mean[None])


def mask_of_class(head: FCNMaskHead, mask_preds: Tensor, labels_R: Tensor) -> Tensor:
    """The mask `(R, h, w)` of each region's class."""
    if head.class_agnostic:
        return mask_preds[:, 0]
    index = labels_R[:, None, None, None].expand(-1, 1, *mask_preds.shape[2:])
    return mask_preds.gather(1, index).squeeze(1)
