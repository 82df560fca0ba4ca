"""From the scores and boxes of all priors to those that are detected, for a whole batch at once.

A GPU is waited for once. How many pairs of a prior and a class pass the threshold is not asked
beforehand: there is room for `PLACES` of them, of which the best `COMPETING` are suppressed. The
numbers come with the result, and where the room was too small all is done once more with enough.

Shape suffixes: B images, P priors, C classes, K pairs of prior and class, N places for pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmcv.ops import batched_nms
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmmamba.acceleration.replays import Replays
from mmmamba.ops import grouped_nms

from .batches import image_numbers, pick

SPLIT = 10_000
"""From so many boxes on mmcv suppresses class by class, several times faster on a CPU."""

ABSENT = -1
"""The score of what fills an image up. Scores are sigmoids, so that it comes last."""

PLACES = 30_000
"""For candidates of an image at first, as many as `nms_pre` is in the field's configs."""

COMPETING = 4096
"""Candidates at first; what is kept of the best does not depend on the others."""


class Pairs(NamedTuple):
    """What may be detected: each prior with each class."""

    scores_BPC: Tensor
    """Between 0 and 1."""
    above_BPC: Tensor
    """True where a score passes the threshold."""
    boxes_BP4: Tensor
    labels_BP: Tensor | None = None
    """Where a prior has one score only (C is 1), of which class it is."""
    fit_BP: Tensor | None = None
    """False for boxes that take a candidate's place but are never detected, such as tiny ones."""
    levels: Sequence[int] | None = None
    """Priors of each level, if `nms_pre` is a number of candidates of each, not of all."""


class Candidates(NamedTuple):
    """Pairs that may be detected, best first."""

    scores_BN: Tensor
    labels_BN: Tensor
    boxes_BN4: Tensor
    there_BN: Tensor
    """False for what only fills an image up. What is there comes first."""
    complete_B: Tensor
    """False where more passed the threshold than there were places."""


class Choice(NamedTuple):
    """Which candidates are detected."""

    index_BN: Tensor
    """Places of candidates, best first."""
    counts: list[int]
    """How many at the start of an image's row mean something."""


class Guess(NamedTuple):
    """What is detected if there were places enough, best first: nothing is read back for it."""

    scores_BN: Tensor
    labels_BN: Tensor
    boxes_BN4: Tensor
    known_2B: Tensor
    """How many of each image mean something, and 1 where it is all that there is."""


class Detected(NamedTuple):
    """What is detected in each image, best first."""

    scores_BN: Tensor
    labels_BN: Tensor
    boxes_BN4: Tensor
    counts: list[int]
    """How many at the start of an image's row mean something."""

    def of_images(self) -> list[InstanceData]:
        """`scores`, `labels` and `bboxes` of each image."""
        return [
            InstanceData(scores=scores_N[:count], labels=labels_N[:count], bboxes=boxes_N4[:count])
            for scores_N, labels_N, boxes_N4, count in zip(*self)
        ]


def select_boxes(
    scores_BPC: Tensor,
    boxes_BP4: Tensor,
    metas: Sequence[dict],
    cfg: ConfigDict,
    rescale: bool = False,
    with_nms: bool = True,
    replays: Replays | None = None,
) -> list[InstanceData]:
    """`scores`, `labels` and `bboxes` of each image, best first.

    Args:
        scores_BPC: between 0 and 1.
        boxes_BP4: corners in pixels of the input.
        metas: of each image, read with `rescale` only.
        cfg: the `test_cfg` of `YOLODFLHead`.
        rescale: give boxes in pixels of the original images.
        with_nms: suppress, and keep no more than `cfg.max_per_img`.
        replays: as for `detect`.
    """
    labels_BP = None
    if not cfg.get("multi_label", True):
        scores_BPC, labels_BP1 = scores_BPC.max(2, keepdim=True)
        labels_BP = labels_BP1[..., 0]
    pairs = Pairs(scores_BPC, scores_BPC > cfg.score_thr, boxes_BP4, labels_BP)
    detected = detect(pairs, cfg, with_nms, replays)
    if rescale:
        detected = detected._replace(boxes_BN4=to_original(detected.boxes_BN4, metas))
    return detected.of_images()


def detect(
    pairs: Pairs, cfg: ConfigDict, with_nms: bool = True, replays: Replays | None = None
) -> Detected:
    """What is detected of pairs.

    Suppression that is not plain is mmcv's, image by image.

    Args:
        cfg: `nms_pre`, `nms` and `max_per_img`, as for `YOLODFLHead`.
        replays: replays what is done before the GPU is waited for.
    """
    most = cfg.max_per_img if with_nms and cfg.max_per_img > 0 else None
    threshold = cfg.nms.iou_threshold if with_nms and is_plain(cfg.nms) else None
    if _guesses(pairs.scores_BPC) and (threshold is not None or not with_nms):
        *tensors, levels = pairs
        rest = (None if levels is None else tuple(levels), cfg.nms_pre, threshold, most)
        found = _guess(*tensors, *rest) if replays is None else replays(_guess, tensors, *rest)
        *values, known_2B = found
        # The one wait for the GPU.
        counts, enough = known_2B.tolist()
        if all(enough):
            return Detected(*values, counts)
    places = max(int(pairs.above_BPC.sum((1, 2)).max()), 1)
    candidates = _candidates(pairs, cfg.nms_pre, places)
    scores_BN = candidates.scores_BN
    slow = not scores_BN.is_cuda and scores_BN.shape[1] >= SPLIT
    if with_nms and (threshold is None or slow):
        choice = _kept_by_mmcv(candidates, cfg.nms, most)
    else:
        index_BN, known_2B = _chosen(candidates, threshold, most)
        choice = Choice(index_BN, known_2B[0].tolist())
    return Detected(*_at(candidates, choice.index_BN), choice.counts)


def _guess(
    scores_BPC: Tensor,
    above_BPC: Tensor,
    boxes_BP4: Tensor,
    labels_BP: Tensor | None,
    fit_BP: Tensor | None,
    levels: Sequence[int] | None,
    nms_pre: int,
    threshold: float | None,
    most: int | None,
) -> Guess:
    """What is detected of pairs, with `PLACES` for candidates of which `COMPETING` compete."""
    pairs = Pairs(scores_BPC, above_BPC, boxes_BP4, labels_BP, fit_BP, levels)
    candidates = _candidates(pairs, nms_pre, PLACES)
    index_BN, known_2B = _chosen(candidates, threshold, most, COMPETING)
    return Guess(*_at(candidates, index_BN), known_2B)


def _at(candidates: Candidates, index_BN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, labels and boxes of candidates at these places."""
    return (
        candidates.scores_BN.gather(1, index_BN),
        candidates.labels_BN.gather(1, index_BN),
        pick(candidates.boxes_BN4, index_BN),
    )


def is_plain(nms: ConfigDict | None) -> bool:
    """Whether `grouped_nms` knows this suppression."""
    # Any further key, such as `max_num` or `class_agnostic`, changes what mmcv does.
    return nms is not None and set(nms) == {"type", "iou_threshold"} and nms.type == "nms"


def _guesses(scores_BPC: Tensor) -> bool:
    """Whether to wait for the number of candidates costs more than too much room for them."""
    return scores_BPC.is_cuda


def _candidates(pairs: Pairs, nms_pre: int, places: int) -> Candidates:
    """The first pairs above the threshold for which there are places; of them the best `nms_pre`.

    Of equal scores the first prior goes first, and of a prior the first class.
    """
    scores_BK = pairs.scores_BPC.flatten(1)
    places = min(places, scores_BK.shape[1])
    above_BPC, fit_BP = pairs.above_BPC, pairs.fit_BP
    limited = 0 < nms_pre < places
    if fit_BP is not None and not limited:
        above_BPC = above_BPC & fit_BP[..., None]
    pair_BN, above_B = _first(above_BPC.flatten(1), places)
    there_BN = torch.arange(places, device=above_B.device) < above_B[:, None]
    scores_BN, pair_BN = _best_first(scores_BK, pair_BN, there_BN)
    classes = pairs.scores_BPC.shape[2]
    if limited:
        there_BN = scores_BN > ABSENT
        if pairs.levels is None:
            there_BN[:, nms_pre:] = False
        else:
            there_BN &= _best_of_levels(pair_BN // classes, there_BN, pairs.levels, nms_pre)
        if fit_BP is not None:
            there_BN &= fit_BP.gather(1, pair_BN // classes)
        scores_BN, pair_BN = _best_first(scores_BK, pair_BN, there_BN)
        if pairs.levels is None:
            scores_BN, pair_BN = scores_BN[:, :nms_pre], pair_BN[:, :nms_pre]
    prior_BN = pair_BN // classes
    one_label = pairs.labels_BP is not None
    return Candidates(
        scores_BN=scores_BN,
        labels_BN=pairs.labels_BP.gather(1, prior_BN) if one_label else pair_BN % classes,
        boxes_BN4=pick(pairs.boxes_BP4, prior_BN),
        there_BN=scores_BN > ABSENT,
        complete_B=above_B <= places,
    )


def _best_first(scores_BK: Tensor, pair_BN: Tensor, there_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and pairs `(B, N)` sorted, with `ABSENT` for what is not there, which comes last."""
    scores_BN = scores_BK.gather(1, pair_BN).where(there_BN, ABSENT)
    # Stable, so that equal scores keep their order.
    scores_BN, order_BN = scores_BN.sort(dim=1, descending=True, stable=True)
    return scores_BN, pair_BN.gather(1, order_BN)


def _best_of_levels(prior_BN: Tensor, there_BN: Tensor, levels: Sequence[int], most: int) -> Tensor:
    """Which of sorted candidates are among the best `most` of their level, `(B, N)`."""
    best_BN = torch.zeros_like(there_BN)
    first = 0
    for size in levels:
        here_BN = there_BN & (prior_BN >= first) & (prior_BN < first + size)
        best_BN |= here_BN & (here_BN.cumsum(1) <= most)
        first += size
    return best_BN


def _first(mask_BK: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Where the first `most` True of each row are, in order, and how many there are in all.

    Rows with fewer are filled up with some place. As `nonzero`, which waits for their number.
    """
    rows, length = mask_BK.shape
    # In one long row, over which a GPU sums in parallel.
    number = mask_BK.flatten().cumsum(0, dtype=torch.int32)
    last_B = number.view(rows, length)[:, -1]
    before_B = torch.nn.functional.pad(last_B[:-1], (1, 0))
    wanted_N = torch.arange(1, most + 1, dtype=torch.int32, device=mask_BK.device)
    place_BN = torch.searchsorted(number, before_B[:, None] + wanted_N)
    begin_B = torch.arange(0, rows * length, length, device=mask_BK.device)
    return (place_BN - begin_B[:, None]).clamp(max=length - 1), last_B - before_B


def _chosen(
    candidates: Candidates, threshold: float | None, most: int | None, competing: int | None = None
) -> tuple[Tensor, Tensor]:
    """Places of those that are not suppressed, and what is known of them (`Guess.known_2B`).

    Args:
        threshold: of suppression; without it all are chosen.
        most: no more than these.
        competing: only so many of the best are looked at; without it all.
    """
    there_BN = kept_BN = candidates.there_BN
    enough_B = candidates.complete_B
    if threshold is not None:
        # The boxes that do not compete have a say in how far classes are moved apart.
        compete_BN = there_BN[:, :competing]
        # Present ones come first, and a GPU looks at no other; a CPU would have to read the counts.
        count_B = compete_BN.sum(1) if compete_BN.is_cuda else None
        moved_BN4 = apart(candidates.boxes_BN4, candidates.labels_BN, there_BN)
        kept_BN = grouped_nms(moved_BN4[:, :competing], threshold, count_B) & compete_BN
        all_B = ~there_BN[:, kept_BN.shape[1] :].any(1)
        if most is not None:
            all_B |= kept_BN.sum(1) >= most
        enough_B = enough_B & all_B
    index_BN, count_B = _first(kept_BN, min(most or kept_BN.shape[1], kept_BN.shape[1]))
    return index_BN, torch.stack([count_B.clamp(max=index_BN.shape[1]), enough_B])


def apart(boxes_BN4: Tensor, labels_BN: Tensor, there_BN: Tensor) -> Tensor:
    """Boxes of each class moved away from the others', as `batched_nms` moves them.

    To the same rounding. What fills an image up comes last, where it suppresses nothing that is
    there.
    """
    boxes_BN4 = boxes_BN4.float()
    largest_B = boxes_BN4.amax(2).where(there_BN, -torch.inf).amax(1)
    offset_BN = labels_BN * (largest_B[:, None] + 1)
    return boxes_BN4 + offset_BN[..., None]


def _kept_by_mmcv(candidates: Candidates, nms: ConfigDict | None, most: int | None) -> Choice:
    """Any suppression that mmcv knows, image by image."""
    keeps = []
    for image, count in enumerate(candidates.there_BN.sum(1).tolist()):
        labels_N = candidates.labels_BN[image, :count]
        if count == 0:
            # `batched_nms` does not take none.
            keeps.append(labels_N)
            continue
        boxes_N4 = candidates.boxes_BN4[image, :count].float()
        scores_N = candidates.scores_BN[image, :count].float()
        keeps.append(batched_nms(boxes_N4, scores_N, labels_N, nms)[1][:most])
    return Choice(pad_sequence(keeps, batch_first=True), [len(keep) for keep in keeps])


def to_original(boxes_BN4: Tensor, metas: Sequence[dict]) -> Tensor:
    """From pixels of the input to those of the image files: letterbox off, scaled, clipped."""
    values_B34 = []
    for meta in metas:
        # `pad_param` is top, bottom, left, right; `ori_shape` is height, then width.
        top, _, left, _ = meta.get("pad_param", (0, 0, 0, 0))
        corner = [left, top] * 2
        factor = [*meta["scale_factor"]] * 2
        limit = [*meta["ori_shape"][1::-1]] * 2
        values_B34.append([corner, factor, limit])
    values = image_numbers(values_B34, boxes_BN4)
    corner_B14, factor_B14, limit_B14 = values[:, :, None].unbind(1)
    return ((boxes_BN4 - corner_B14) / factor_B14).clamp(min=0).minimum(limit_B14)
