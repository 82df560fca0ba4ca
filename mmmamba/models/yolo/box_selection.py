"""From the scores and boxes of all priors to those that are detected, for a whole batch at once.

Shape suffixes: B images, P priors, C classes, K pairs of prior and class, N candidates of the image
with most of them; images with fewer are filled up.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmcv.ops import batched_nms
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmmamba.ops import grouped_nms

SPLIT = 10_000
"""From so many boxes on mmcv suppresses class by class, several times faster on a CPU."""

ABSENT = -1
"""The score of what fills an image up. Scores are sigmoids, so that it comes last."""


class Candidates(NamedTuple):
    """Pairs of a prior and a class that may be detected, best first."""

    scores_BN: Tensor
    labels_BN: Tensor
    boxes_BN4: Tensor
    there_BN: Tensor
    """False for what only fills an image up."""


class Choice(NamedTuple):
    """Which candidates are detected."""

    index_BN: Tensor
    """Places of candidates, best first."""
    counts: list[int]
    """How many at the start of an image's row mean something."""


def select_boxes(
    scores_BPC: Tensor,
    boxes_BP4: Tensor,
    metas: Sequence[dict],
    cfg: ConfigDict,
    rescale: bool = False,
    with_nms: bool = True,
) -> list[InstanceData]:
    """`scores`, `labels` and `bboxes` of each image, best first.

    Plain suppression waits three times for the GPU, whatever the number of images; any other is
    left to mmcv, image by image.

    Args:
        scores_BPC: between 0 and 1.
        boxes_BP4: corners in pixels of the input.
        metas: of each image, read with `rescale` only.
        cfg: the `test_cfg` of `YOLODFLHead`.
        rescale: give boxes in pixels of the original images.
        with_nms: suppress, and keep no more than `cfg.max_per_img`.
    """
    candidates = _candidates(scores_BPC, boxes_BP4, cfg)
    if not with_nms:
        choice = _present(candidates)
    elif _suppressed_at_once(candidates, cfg.nms):
        choice = _present(_without_suppressed(candidates, cfg.nms.iou_threshold))
    else:
        choice = _kept_by_mmcv(candidates, cfg.nms)
    limited = with_nms and cfg.max_per_img > 0
    index_BN = choice.index_BN[:, : cfg.max_per_img] if limited else choice.index_BN

    scores_BN = candidates.scores_BN.gather(1, index_BN)
    labels_BN = candidates.labels_BN.gather(1, index_BN)
    boxes_BN4 = candidates.boxes_BN4.take_along_dim(index_BN[..., None], 1)
    if rescale:
        boxes_BN4 = _to_original(boxes_BN4, metas)
    return [
        InstanceData(scores=scores_N[:count], labels=labels_N[:count], bboxes=boxes_N4[:count])
        for scores_N, labels_N, boxes_N4, count in zip(
            scores_BN, labels_BN, boxes_BN4, choice.counts
        )
    ]


def _candidates(scores_BPC: Tensor, boxes_BP4: Tensor, cfg: ConfigDict) -> Candidates:
    """The best `nms_pre` of each image above `score_thr`."""
    if not cfg.get("multi_label", True):
        # Of each prior only the best class keeps its score; zeros do not pass the threshold.
        best_BP1, labels_BP1 = scores_BPC.max(2, keepdim=True)
        scores_BPC = torch.zeros_like(scores_BPC).scatter(2, labels_BP1, best_BP1)
    scores_BK = scores_BPC.flatten(1)
    above_BK = scores_BK > cfg.score_thr
    # The first of three waits is for the largest count; `nonzero` is the second, `tolist` in
    # `_present` the third.
    count_B = above_BK.sum(1)
    # At least one place, even if nothing is above: an empty row has no largest coordinate.
    places = max(int(count_B.max()), 1)
    there_BN = torch.arange(places, device=count_B.device) < count_B[:, None]
    # `nonzero` goes through the images in turn, as `masked_scatter` does.
    pair_BN = torch.zeros_like(there_BN, dtype=torch.long)
    pair_BN = pair_BN.masked_scatter(there_BN, above_BK.nonzero()[:, 1])
    scores_BN = scores_BK.gather(1, pair_BN).where(there_BN, ABSENT)
    # A stable sort: of equal scores the first prior goes first, as it would image by image.
    scores_BN, order_BN = scores_BN.sort(dim=1, descending=True, stable=True)
    best = slice(cfg.nms_pre if cfg.nms_pre > 0 else None)
    pair_BN = pair_BN.gather(1, order_BN[:, best])
    classes = scores_BPC.shape[2]
    prior_BN = pair_BN // classes
    return Candidates(
        scores_BN=scores_BN[:, best],
        labels_BN=pair_BN % classes,
        boxes_BN4=boxes_BP4.take_along_dim(prior_BN[..., None], 1),
        # Present ones come first before sorting and after it.
        there_BN=there_BN[:, best],
    )


def _present(candidates: Candidates) -> Choice:
    """All that are there."""
    # Sorted once more, as suppression left holes: they go to the end and the rest keeps its order.
    scores_BN = candidates.scores_BN.where(candidates.there_BN, ABSENT)
    order_BN = scores_BN.sort(dim=1, descending=True, stable=True).indices
    return Choice(order_BN, candidates.there_BN.sum(1).tolist())


def _suppressed_at_once(candidates: Candidates, nms: ConfigDict | None) -> bool:
    """Whether `grouped_nms` knows this suppression, and is not slower than mmcv."""
    # Any further key, such as `max_num` or `class_agnostic`, changes what mmcv does.
    plain = nms is not None and set(nms) == {"type", "iou_threshold"} and nms.type == "nms"
    scores_BN = candidates.scores_BN
    return plain and (scores_BN.is_cuda or scores_BN.shape[1] < SPLIT)


def _without_suppressed(candidates: Candidates, iou_threshold: float) -> Candidates:
    """What overlaps a better box of its class is no longer there."""
    kept_BN = grouped_nms(_apart(candidates), iou_threshold)
    return candidates._replace(there_BN=candidates.there_BN & kept_BN)


def _apart(candidates: Candidates) -> Tensor:
    """Boxes of each class moved away from the others', as `batched_nms` moves them.

    To the same rounding. What fills an image up comes last, where it suppresses nothing that is
    there.
    """
    boxes_BN4 = candidates.boxes_BN4.float()
    largest_B = boxes_BN4.where(candidates.there_BN[..., None], -torch.inf).amax((1, 2))
    offset_BN = candidates.labels_BN * (largest_B[:, None] + 1)
    return boxes_BN4 + offset_BN[..., None]


def _kept_by_mmcv(candidates: Candidates, nms: ConfigDict | None) -> Choice:
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
        keeps.append(batched_nms(boxes_N4, scores_N, labels_N, nms)[1])
    return Choice(pad_sequence(keeps, batch_first=True), [len(keep) for keep in keeps])


def _to_original(boxes_BN4: Tensor, metas: Sequence[dict]) -> Tensor:
    """From pixels of the input to those of the image files: letterbox off, scaled, clipped."""
    values_B34 = []
    for meta in metas:
        # `pad_param` is top, bottom, left, right; `ori_shape` is height, then width.
        top, _, left, _ = meta.get("pad_param", (0, 0, 0, 0))
        corner = [left, top] * 2
        factor = [*meta["scale_factor"]] * 2
        limit = [*meta["ori_shape"][1::-1]] * 2
        values_B34.append([corner, factor, limit])
    # One copy to the GPU, which is not waited for.
    values = torch.tensor(values_B34, dtype=boxes_BN4.dtype)
    values = values.to(boxes_BN4.device, non_blocking=True)
    corner_B14, factor_B14, limit_B14 = values[:, :, None].unbind(1)
    return ((boxes_BN4 - corner_B14) / factor_B14).clamp(min=0).minimum(limit_B14)
