"""From what a dense head says of all priors to what is detected, with the shape known beforehand.

What `predict` does, without a look at how many candidates there are: what is not there has the
score `ABSENT` and comes last.

Shape suffixes: B images, P priors, C classes, K pairs of prior and class, N candidates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmamba.models.yolo.batches import pick
from mmmamba.models.yolo.box_selection import ABSENT, apart
from mmmamba.ops.best import best
from mmmamba.ops.grouped_nms import grouped_nms


class Seen(NamedTuple):
    """What a head says of all priors."""

    scores: Sequence[Tensor]
    """Between 0 and 1, `(B, P, C)` of each group of priors that has candidates of its own."""
    boxes_BP4: Tensor
    """Of all groups in a row, corners in pixels of the input."""
    factor_BP: Tensor | None = None
    """What scores are multiplied by, such as centerness or objectness."""
    labels_BP: Tensor | None = None
    """Where a prior has one score only (C is 1), of which class it is."""


class Limits(NamedTuple):
    """Which pairs of a prior and a class are detected."""

    most: int
    """Of an image."""
    overlap: float
    """Above it the worse one of two boxes of a class is suppressed."""
    score: float
    including: bool = False
    """Whether a score that is just `score` passes."""
    candidates: int | None = None
    """Of each group; None: all."""
    single: bool = False
    """A prior is a candidate of its best class only; with a factor it competes by the product."""
    side: float = -1
    """Boxes of which a side is no longer take a candidate's place but are never detected."""


def detected(seen: Seen, limits: Limits) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes `(B, most, 4)`, scores and labels `(B, most)`, best first.

    What is not there has the box 0, the score 0 and the label -1.
    """
    found = _candidates(_of_best_class(seen) if limits.single else seen, limits)
    # Boxes of zeros suppress nothing.
    boxes_BN4 = apart(*found[1:]).where(found.there_BN[..., None], 0)
    kept_BN = grouped_nms(boxes_BN4, limits.overlap) & found.there_BN
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
    scores_BPC = torch.cat([*seen.scores], dim=1)
    if seen.factor_BP is not None:
        scores_BPC = scores_BPC * seen.factor_BP[..., None]
    return seen.boxes_BP4, scores_BPC


def _of_best_class(seen: Seen) -> Seen:
    scores_BP, labels_BP = torch.cat([*seen.scores], dim=1).max(2)
    if seen.factor_BP is not None:
        scores_BP = scores_BP * seen.factor_BP
    return Seen([scores_BP[..., None]], seen.boxes_BP4, labels_BP=labels_BP)


def _candidates(seen: Seen, limits: Limits) -> _Found:
    """Pairs of which boxes compete; of equal ones the first prior comes first, then class."""
    taken = []
    start = 0
    for scores_BPC in seen.scores:
        scores_BN, pair_BN = _of_group(scores_BPC, limits)
        taken.append((scores_BN, start * scores_BPC.shape[2] + pair_BN))
        start = start + scores_BPC.shape[1]
    scores_BN, pair_BN = (torch.cat(parts, dim=1) for parts in zip(*taken))
    classes = seen.scores[0].shape[2]
    there_BN = scores_BN > ABSENT
    if limits.side >= 0:
        fit_BP = (seen.boxes_BP4[..., 2:] - seen.boxes_BP4[..., :2] > limits.side).all(-1)
        there_BN = there_BN & fit_BP.gather(1, pair_BN // classes)
    if seen.factor_BP is not None:
        scores_BN = scores_BN * seen.factor_BP.gather(1, pair_BN // classes)
    scores_BN, order_BN = best(scores_BN.where(there_BN, ABSENT), scores_BN.shape[1])
    pair_BN = pair_BN.gather(1, order_BN)
    prior_BN, labels_BN = pair_BN // classes, pair_BN % classes
    if seen.labels_BP is not None:
        labels_BN = seen.labels_BP.gather(1, prior_BN)
    return _Found(scores_BN, pick(seen.boxes_BP4, prior_BN), labels_BN, scores_BN > ABSENT)


def _of_group(scores_BPC: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Scores and numbers of the best pairs of a group of priors."""
    scores_BK = scores_BPC.flatten(1)
    pass_BK = scores_BK >= limits.score if limits.including else scores_BK > limits.score
    scores_BK = scores_BK.where(pass_BK, ABSENT)
    pairs, wanted = scores_BK.shape[1], limits.candidates
    if wanted is None or (isinstance(pairs, int) and pairs <= wanted):
        pair_K = torch.arange(pairs, device=scores_BK.device)
        return scores_BK, pair_K.expand(scores_BK.shape[0], -1)
    return _best(scores_BK, wanted)


def _best(scores_BK: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The best and their places; as many as there are if that is known and there are fewer."""
    length = scores_BK.shape[1]
    if isinstance(length, int):
        return best(scores_BK, min(most, length))
    # A number that is not known while tracing: filled up, so that there always are enough.
    scores_BN, index_BN = best(F.pad(scores_BK, (0, most), value=ABSENT), most)
    return scores_BN, index_BN.where(scores_BN > ABSENT, 0)

