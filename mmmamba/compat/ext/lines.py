"""Suppression of lanes by their mean distance in shared rows (CLRNet, Zheng et al. 2022)."""

import torch
from torch import Tensor

from .precision import widen


def line_nms_forward(boxes: Tensor, scores: Tensor, overlap: float, top_k: int) -> list[Tensor]:
    """Keeps at most `top_k` lanes, each nearer to no better one than `overlap`.

    boxes (N, 5 + R): column 2 is the lane's first row in units of the last one, column 4 how many
    rows it has, and from column 5 on there is one place for each of R rows. Lanes without a shared
    row are not compared.

    Returns the kept lanes, best first, in the first elements of (N,); how many there are; and for
    every lane the number, from 1, of the last kept one that it is near to or is, else 0.
    """
    order = scores.argsort(descending=True, stable=True)
    (lanes_NC,) = widen(boxes[order])
    place_NR = lanes_NC[:, 5:]
    row_R = torch.arange(place_NR.shape[1], device=boxes.device)
    first_N1 = (lanes_NC[:, 2:3] * (len(row_R) - 1) + 0.5).trunc()
    covered_NR = (row_R >= first_N1) & (row_R < first_N1 + lanes_NC[:, 4:5].floor())
    # A loop: whether a lane is kept depends on all that were kept before it.
    kept: list[int] = []
    parent = torch.zeros_like(order)
    for lane in range(len(order)):
        if len(kept) == top_k:
            break
        if parent[lane] > 0:
            continue
        kept.append(lane)
        shared = covered_NR[lane:] & covered_NR[lane]
        distance = (place_NR[lane:] - place_NR[lane]).abs().masked_fill(~shared, 0).sum(dim=1)
        # Without division, so that lanes that share no row are not near: 0 is not below 0.
        near = distance < overlap * shared.sum(dim=1)
        # A lane without rows shares none with itself either, but belongs to itself all the same.
        near[0] = True
        parent[lane:][near] = len(kept)
    # Back from the order of scores to the caller's.
    keep = torch.zeros_like(order)
    keep[: len(kept)] = order[kept]
    parents = torch.zeros_like(order).scatter(0, order, parent)
    return [keep, torch.tensor(len(kept), device=boxes.device), parents]
