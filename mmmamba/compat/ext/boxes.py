"""Suppression and overlap of boxes (x1, y1, x2, y2).

As `mmcv.ops.nms` and `mmcv.ops.bbox` call them.
"""

import numpy as np
import torch
import torchvision
from torch import Tensor

from .precision import widen

NAIVE, LINEAR, GAUSSIAN = range(3)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best score first; `offset=1` counts widths as x2 - x1 + 1."""
    boxes_N4, scores_N = widen(boxes, scores)
    if offset:
        # IoU with inclusive corners is the usual IoU once the far corner is moved by one.
        boxes_N4 = boxes_N4 + boxes_N4.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes_N4, scores_N, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al. 2017, fig. 2 and eq. 1-3) on CPU tensors.

    `method` is 0 (naive), 1 (linear) or 2 (gaussian).

    Writes (x1, y1, x2, y2, decayed score) of the kept boxes to the first rows of `dets` (N, 5)
    and returns their indices, in the order of selection. A box whose decayed score is below
    `min_score` is dropped.

    Raises:
        ValueError: `method` is none of 0, 1, 2.
    """
    if method not in (NAIVE, LINEAR, GAUSSIAN):
        raise ValueError(
            f"softnms: method is {method}, but must be 0 (naive), 1 (linear) or 2 (gaussian)"
        )
    # NumPy, because the loop runs once per kept box on small arrays, where torch's overhead per
    # call dominates.
    boxes_N4, scores_N = (t.numpy().copy() for t in widen(boxes.detach(), scores.detach()))
    boxes_N4[:, 2:] += offset
    index_N = np.arange(len(scores_N))
    kept, kept_scores = [], []
    while len(index_N):
        best = int(scores_N.argmax())
        kept.append(int(index_N[best]))
        kept_scores.append(float(scores_N[best]))
        rest_N = np.arange(len(index_N)) != best
        overlap_N = _overlap(boxes_N4[best], boxes_N4[rest_N])
        scores_N = scores_N[rest_N] * _decay(overlap_N, iou_threshold, sigma, method)
        # The best box is kept, however low its score: only decayed ones can be dropped.
        alive_N = scores_N >= min_score
        boxes_N4 = boxes_N4[rest_N][alive_N]
        index_N = index_N[rest_N][alive_N]
        scores_N = scores_N[alive_N]
    keep_K = torch.tensor(kept, dtype=torch.long)
    # Coordinates as they were given, without the offset.
    dets[: len(kept), :4] = boxes[keep_K].to(dets.dtype)
    dets[: len(kept), 4] = torch.tensor(kept_scores, dtype=dets.dtype)
    return keep_K


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Each box that NMS keeps, best score first, and behind it those that it suppresses.

    Suppressed ones stand in the order of their scores.

    dets (N, 5) on the CPU, as (x1, y1, x2, y2, score). A box goes to the first one that it overlaps
    by `iou_threshold` or more.
    """
    (dets_N5,) = (t.numpy() for t in widen(dets.detach()))
    left_N = np.argsort(-dets_N5[:, 4], kind="stable")
    groups = []
    while len(left_N):
        best, rest_N = left_N[0], left_N[1:]
        same_N = _overlap(dets_N5[best, :4], dets_N5[rest_N, :4]) >= iou_threshold
        groups.append([int(best), *rest_N[same_N].tolist()])
        left_N = rest_N[~same_N]
    return groups


def _overlap(box_4: np.ndarray, boxes_N4: np.ndarray) -> np.ndarray:
    """IoU of a box with each of others."""
    size_N2 = np.minimum(box_4[2:], boxes_N4[:, 2:]) - np.maximum(box_4[:2], boxes_N4[:, :2])
    shared_N = size_N2.clip(min=0).prod(axis=1)
    area, area_N = (box_4[2:] - box_4[:2]).prod(), (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(axis=1)
    union_N = area + area_N - shared_N
    # Two boxes without area share nothing: their overlap is 0, not 0/0.
    return np.divide(shared_N, union_N, out=np.zeros_like(shared_N), where=union_N > 0)


def _decay(overlap_N: np.ndarray, iou_threshold: float, sigma: float, method: int) -> np.ndarray:
    """What a score is multiplied by for overlapping a better box."""
    if method == GAUSSIAN:
        return np.exp(-(overlap_N**2) / sigma)
    beyond = 1 - overlap_N if method == LINEAR else np.zeros_like(overlap_N)
    return np.where(overlap_N >= iou_threshold, beyond, 1).astype(overlap_N.dtype)


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Writes IoU (mode 0) or intersection over the first box (mode 1) to `ious`.

    That is (M,) if aligned, else (M, N).
    """
    first, second = widen(bboxes1, bboxes2)
    # A second axis against which `second` spreads out.
    if not aligned:
        first = first[:, None]
    near_corner = torch.maximum(first[..., :2], second[..., :2])
    far_corner = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (far_corner - near_corner + offset).clamp(min=0).prod(dim=-1)
    area_first = (first[..., 2:] - first[..., :2] + offset).prod(dim=-1)
    area_second = (second[..., 2:] - second[..., :2] + offset).prod(dim=-1)
    whole = area_first + area_second - shared if mode == 0 else area_first
    ious.copy_(shared / whole)
