"""Priors shared out among ground truths by cost: SimOTA (YOLOX, arXiv 2107.08430, section 2.1).

A ground truth takes as many priors as the overlaps of the best with it add up to, the cheapest
ones. Shape suffixes: B images, G ground truths, P priors.
"""

from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-7
"""Added to overlaps, so that the logarithm of one that is 0 exists; mmdet's."""


class Matched(NamedTuple):
    """What each prior of a batch learns."""

    positive_BP: Tensor
    """False for background."""
    gt_BP: Tensor
    """Which ground truth, 0 for background."""
    overlaps_BP: Tensor
    """With that box, 0 for background."""


def match(cost_BGP: Tensor, overlaps_BGP: Tensor, counts_BGP: Tensor, topk: int) -> Matched:
    """Share the priors out, without a look at what comes of it.

    Of equal costs any may be taken.

    Args:
        counts_BGP: False where a prior or a ground truth does not take part.
        topk: how many overlaps are added up, and so the most that a ground truth takes.
    """
    absent_BGP = ~counts_BGP
    # What takes part stays below infinity, however far off it is.
    cost_BGP = cost_BGP.clamp(max=torch.finfo(cost_BGP.dtype).max)
    cost_BGP = cost_BGP.masked_fill(absent_BGP, torch.inf)
    overlaps_BGP = overlaps_BGP.masked_fill(absent_BGP, 0)

    topk = min(topk, cost_BGP.shape[2])
    wanted_BG1 = overlaps_BGP.topk(topk).values.sum(2, keepdim=True).clamp(min=1)
    cost_BGK, index_BGK = cost_BGP.topk(topk, largest=False)
    number_K = torch.arange(1, topk + 1, device=cost_BGP.device)
    taken_BGK = (number_K <= wanted_BG1) & (cost_BGK < torch.inf)
    # In bytes, as the largest of booleans is not defined.
    taken_BGP = torch.zeros_like(cost_BGP, dtype=torch.uint8)
    taken_BGP.scatter_(2, index_BGK, taken_BGK.view(torch.uint8))

    # Whom several took goes to the one for which it is cheapest, whether it took it or not.
    takers_BP = taken_BGP.sum(1)
    gt_BP = torch.where(takers_BP > 1, cost_BGP.argmin(1), taken_BGP.argmax(1))
    positive_BP = takers_BP > 0
    overlaps_BP = overlaps_BGP.gather(1, gt_BP[:, None])[:, 0] * positive_BP
    return Matched(positive_BP, gt_BP, overlaps_BP)


def at_labels(values_BPC: Tensor, labels_BG: Tensor) -> Tensor:
    """What each prior has at the class of each ground truth, `(B, G, P)`."""
    index_BGP = labels_BG[..., None].expand(-1, -1, values_BPC.shape[1])
    return values_BPC.transpose(1, 2).gather(1, index_BGP)


def overlap_cost(overlaps_BGP: Tensor, weight: float) -> Tensor:
    """The negative logarithm, weighted."""
    return torch.log(overlaps_BGP + EPS) * -weight
