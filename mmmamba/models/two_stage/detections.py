"""From the scores and boxes of all proposals to what is detected, for all images at once.

Shape suffixes: B images, P proposals, C classes, N detections at most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmmamba.ops import grouped_nms
from mmmamba.ops.best import best
from mmmamba.ops.paste_masks import paste_masks, pastes_masks
from mmmamba.ops.waiting import costs_a_wait, on_device

from .assignment import pick

ABSENT = -1
"""The score of what does not count. Scores are shares, so that it comes last."""


class Detections(NamedTuple):
    """The best of each image, best first; images with fewer are filled up."""

    boxes_BN4: Tensor
    scores_BN: Tensor
    labels_BN: Tensor
    count_B: Tensor
    """How many at the start of an image's row there are."""

    def shortened(self) -> "Detections":
        """Without places that are empty in all images, where to look for them costs no wait."""
        if costs_a_wait(self.count_B):
            return self
        places = max(int(self.count_B.max()), 1)
        rows = (self.boxes_BN4, self.scores_BN, self.labels_BN)
        return Detections(*(one[:, :places] for one in rows), self.count_B)


def select_detections(
    scores_BPC: Tensor, boxes_BPC4: Tensor, there_BP: Tensor, cfg: ConfigDict
) -> Detections:
    """What mmdet's `multiclass_nms` leaves of each image.

    Classes are suppressed side by side, each within as many places as there are proposals: so
    nothing has to be counted first.

    Args:
        scores_BPC: between 0 and 1, without the background's.
        boxes_BPC4: of each class, or `(B, P, 1, 4)` for all of them.
        there_BP: which proposals count.
        cfg: `score_thr`, `nms.iou_threshold` and `max_per_img`.
    """
    classes = scores_BPC.shape[2]
    above_BCP = ((scores_BPC > cfg.score_thr) & there_BP[..., None]).transpose(1, 2)
    scores_BCP = scores_BPC.transpose(1, 2).where(above_BCP, ABSENT)
    # Here and below: of equal scores the first proposal goes first, as in mmdet.
    sorted_BCP, order_BCP = best(scores_BCP, scores_BCP.shape[2])
    boxes_BCP4 = boxes_BPC4.transpose(1, 2).expand(-1, classes, -1, -1)
    largest_B = boxes_BCP4.where(above_BCP[..., None], 0).flatten(1).amax(1)
    # Moved away from other classes' boxes for one thing: so mmdet rounds them.
    offset_C = torch.arange(classes, device=largest_B.device)
    offset_BC = offset_C * (largest_B[:, None] + 1)
    index_BCP4 = order_BCP[..., None].expand(-1, -1, -1, 4)
    apart_BCP4 = boxes_BCP4.gather(2, index_BCP4) + offset_BC[:, :, None, None]
    kept_BCP = grouped_nms(
        apart_BCP4.flatten(0, 1),
        cfg.nms.iou_threshold,
        above_BCP.sum(2, dtype=torch.int32).flatten(),
        cfg.max_per_img,
    ).view_as(above_BCP)

    # Back in the order of proposals, then of classes.
    left_BCP = torch.empty_like(sorted_BCP).scatter(
        2, order_BCP, sorted_BCP.where(kept_BCP, ABSENT)
    )
    left_BK = left_BCP.transpose(1, 2).flatten(1)
    found_BN, pair_BN = best(left_BK, min(cfg.max_per_img, left_BK.shape[1]))
    labels_BN = pair_BN % classes
    if boxes_BPC4.shape[2] == 1:
        pair_BN = pair_BN // classes
    return Detections(
        pick(boxes_BPC4.flatten(1, 2), pair_BN),
        found_BN,
        labels_BN,
        kept_BCP.sum((1, 2)).clamp(max=cfg.max_per_img),
    )


class Shape(NamedTuple):
    """Where the results of an image go."""

    size: tuple[int, int]
    """Height and width of its masks."""
    empty_size: tuple[int, int]
    """The same if there are none."""


def mask_shapes(metas: Sequence[dict], rescale: bool) -> list[Shape]:
    """Sizes of the original images, or, without rescaling, of those that the network sees."""
    shapes = []
    for meta in metas:
        original = tuple(meta["ori_shape"][:2])
        seen = tuple(
            round(length * float(np.float32(factor)))
            for length, factor in zip(original, meta["scale_factor"][::-1])
        )
        shapes.append(Shape(original if rescale else seen, original))
    return shapes


def scale_factors(metas: Sequence[dict], device: torch.device) -> Tensor:
    """`(B, 1, 4)`, pixels that the network sees to a pixel of the original image."""
    factors = tuple((tuple(meta["scale_factor"]) * 2,) for meta in metas)
    return on_device(factors, torch.float32, device)


def enlargements(metas: Sequence[dict], device: torch.device) -> Tensor:
    """`(B, 1, 4)`, pixels of the original image to a pixel that the network sees."""
    scales = [meta["scale_factor"] for meta in metas]
    factors = tuple(((1 / width, 1 / height) * 2,) for width, height in scales)
    return on_device(factors, torch.float32, device)


def unpad(
    detections: Detections,
    counts: Sequence[int],
    masks_BNhw: Tensor | None = None,
    shapes: Sequence[Shape] = (),
    threshold: float = 0.5,
) -> list[InstanceData]:
    """`bboxes`, `scores`, `labels` and, with masks, `masks` of each image.

    Args:
        counts: of `detections`, on the CPU.
        masks_BNhw: shares within the boxes.
        shapes: of the masks of each image.
        threshold: what a pixel of a mask reaches.
    """
    results = []
    for image, count in enumerate(counts):
        boxes_N4 = detections.boxes_BN4[image, :count]
        found = InstanceData(
            bboxes=boxes_N4,
            scores=detections.scores_BN[image, :count],
            labels=detections.labels_BN[image, :count],
        )
        if masks_BNhw is not None:
            shape = shapes[image]
            size = shape.size if count else shape.empty_size
            found.masks = _paste(masks_BNhw[image, :count], boxes_N4, size, threshold)
        results.append(found)
    return results


def _paste(masks_Nhw: Tensor, boxes_N4: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Masks `(N, *size)` of booleans."""
    if pastes_masks(masks_Nhw):
        return paste_masks(masks_Nhw, boxes_N4, size, threshold)
    pasted = torch.zeros(len(masks_Nhw), *size, dtype=torch.bool, device=masks_Nhw.device)
    # mmdet's way on a CPU: one by one, each no larger than its box.
    for place_HW, mask_hw, box_4 in zip(pasted, masks_Nhw, boxes_N4):
        shares, region = _do_paste_mask(mask_hw[None, None], box_4[None], *size, skip_empty=True)
        place_HW[region] = shares[0] >= threshold
    return pasted
