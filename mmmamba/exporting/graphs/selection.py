"""From what a dense head says of all priors to what is detected, with the shape known beforehand.

What `predict` does, without a look at how many candidates there are: what is not there has the
score `ABSENT` and comes last.

Shape suffixes: B images, P priors, C classes, K pairs of prior and class, N candidates.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmamba.models.yolo.batches import pick
from mmmamba.models.yolo.box_selection import ABSENT, apart
from mmmamba.ops.best import best
from mmmamba.ops.grouped_nms import grouped_nms


class Group(NamedTuple):
    """What a head says of priors that have candidates of their own, such as those of a level."""

    scores_BPC: Tensor
    """Between 0 and 1."""
    told_BPX: Tensor
    """What boxes are made of."""
    factor_BP: Tensor | None = None
    """What scores are multiplied by, such as centerness or objectness."""
    labels_BP: Tensor | None = None
    """Where a prior has one score only (C is 1), of which class it is."""


class Seen(NamedTuple):
    """What a head says of all priors."""

    groups: Sequence[Group]
    boxes: Callable[[Tensor], Tensor]
    """Makes corners in pixels of the input of what is told.

    After the choice of candidates, whose number is known while tracing and much smaller.
    """


class Limits(NamedTuple):
    """Which pairs of a prior and a class are detected."""

    most: int
    """Boxes that are detected in an image, at the most."""
    overlap: float
    """Above it the worse one of two boxes of a class is suppressed."""
    score: float
    including: bool = False
    """Whether a score that is just `score` passes."""
    candidates: int | None = None
    """In each group; None: all."""
    single: bool = False
    """A prior is a candidate of its best class only; with a factor it competes by the product."""
    side: float = -1
    """Boxes of which a side is no longer take a candidate's place but are never detected."""


def detected(seen: Seen, limits: Limits) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes `(B, most, 4)`, scores and labels `(B, most)`, best first.

    What is not there has the box 0, the score 0 and the label -1.
    """
    found = _candidates(seen, limits)
    moved_BN4 = apart(*found[1:])
    kept_BN = grouped_nms(moved_BN4, limits.overlap, found.there_BN.sum(1), limits.most)
    kept_BN = kept_BN & found.there_BN
    scores_BN, index_BN = _best(found.scores_BN.where(kept_BN, ABSENT), limits.most)
    lacking = limits.most - scores_BN.shape[1]
    if lacking:
        scores_BN = F.pad(scores_BN, (0, lacking), value=ABSENT)
        index_BN = F.pad(index_BN, (0, lacking))
    there_BN = scores_BN > ABSENT
    return (
        pick(found.boxes_BN4, index_BN).where(there_BN[..., None], 0),
        scores_BN.where(there_BN, 0),
        found.labels_BN.gather(1, index_BN).where(there_BN, -1),
    )


class _Found(NamedTuple):
    """Candidates, best first."""

    scores_BN: Tensor
    boxes_BN4: Tensor
    labels_BN: Tensor
    there_BN: Tensor


def everything(seen: Seen) -> tuple[Tensor, Tensor]:
    """Boxes `(B, P, 4)` and scores `(B, P, C)` of all priors."""
    scores = [
        group.scores_BPC
        if group.factor_BP is None
        else group.scores_BPC * group.factor_BP[..., None]
        for group in seen.groups
    ]
    told_BPX = torch.cat([group.told_BPX for group in seen.groups], dim=1)
    return seen.boxes(told_BPX), torch.cat(scores, dim=1)


def _of_best_class(group: Group) -> Group:
    scores_BP, labels_BP = group.scores_BPC.max(2)
    if group.factor_BP is not None:
        scores_BP = scores_BP * group.factor_BP
    return Group(scores_BP[..., None], group.told_BPX, labels_BP=labels_BP)


def _candidates(seen: Seen, limits: Limits) -> _Found:
    """Pairs of which boxes compete; of equal ones the first prior comes first, then class."""
    groups = [_of_best_class(group) if limits.single else group for group in seen.groups]
    taken = [_of_group(group, limits, len(groups) == 1) for group in groups]
    scores_BN, told_BNX, labels_BN = (torch.cat(parts, dim=1) for parts in zip(*taken))
    boxes_BN4 = seen.boxes(told_BNX)
    if limits.side >= 0:
        fit_BN = (boxes_BN4[..., 2:] - boxes_BN4[..., :2] > limits.side).all(-1)
        scores_BN = scores_BN.where(fit_BN, ABSENT)
    if len(groups) > 1 or limits.side >= 0 or groups[0].factor_BP is not None:
        scores_BN, order_BN = best(scores_BN, scores_BN.shape[1])
        boxes_BN4, labels_BN = pick(boxes_BN4, order_BN), labels_BN.gather(1, order_BN)
    return _Found(scores_BN, boxes_BN4, labels_BN, scores_BN > ABSENT)


def _of_group(group: Group, limits: Limits, in_order: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, what is told and labels of a group's candidates, best first if they have to be."""
    scores_BN = group.scores_BPC.flatten(1)
    pairs, wanted = scores_BN.shape[1], limits.candidates
    if wanted is not None and not (isinstance(pairs, int) and pairs <= wanted):
        scores_BN, pair_BN = _best(scores_BN, wanted)
    elif in_order:
        scores_BN, pair_BN = best(scores_BN, pairs)
    else:
        pair_BN = torch.arange(pairs, device=scores_BN.device).expand(scores_BN.shape[0], -1)
    # After the choice, which it does not change, as there may be thousands of times as many before.
    pass_BN = scores_BN >= limits.score if limits.including else scores_BN > limits.score
    scores_BN = scores_BN.where(pass_BN, ABSENT)
    classes = group.scores_BPC.shape[2]
    prior_BN, labels_BN = pair_BN // classes, pair_BN % classes
    if group.labels_BP is not None:
        labels_BN = group.labels_BP.gather(1, prior_BN)
    if group.factor_BP is not None:
        product_BN = scores_BN * group.factor_BP.gather(1, prior_BN)
        scores_BN = product_BN.where(scores_BN > ABSENT, ABSENT)
    return scores_BN, pick(group.told_BPX, prior_BN), labels_BN


def _best(scores_BK: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The best and their places; as many as there are if that is known and there are fewer."""
    length = scores_BK.shape[1]
    if isinstance(length, int):
        return best(scores_BK, min(most, length))
    # A number that is not known while tracing: filled up, so that there always are enough.
    scores_BN, index_BN = best(F.pad(scores_BK, (0, most), value=ABSENT), most)
    return scores_BN, index_BN.where(scores_BN > ABSENT, 0)
