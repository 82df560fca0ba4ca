"""From the scores and boxes of all priors to those that are detected, for all images of a batch at once.

Shape suffixes: B images, P priors, C classes, K pairs of prior and class, N candidates of the image with most of them.
"""

from collections.abc import Sequence

import torch
from mmcv.ops import batched_nms
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...ops import grouped_nms

SPLIT = 10_000
"""From so many boxes on mmcv suppresses class by class, which on a CPU is several times faster."""


def select_boxes(
    scores_BPC: Tensor,
    boxes_BP4: Tensor,
    metas: Sequence[dict],
    cfg: ConfigDict,
    rescale: bool = False,
    with_nms: bool = True,
) -> list[InstanceData]:
    """`scores`, `labels` and `bboxes` of each image, best first; with `rescale` in pixels of the original image.

    `cfg` is the `test_cfg` of `YOLODFLHead`. Plain suppression waits three times for the GPU, whatever the number of
    images; any other is left to mmcv, image by image.
    """
    scores_BN, labels_BN, boxes_BN4, there_BN = _candidates(scores_BPC, boxes_BP4, cfg)
    limit = cfg.max_per_img if with_nms and cfg.max_per_img > 0 else scores_BN.shape[1]
    if with_nms and not (_is_plain(cfg.nms) and (scores_BN.is_cuda or scores_BN.shape[1] < SPLIT)):
        keeps = [
            _keep(scores_BN[b, :n], labels_BN[b, :n], boxes_BN4[b, :n], cfg.nms)
            for b, n in enumerate(there_BN.sum(1).tolist())
        ]
        order_BN, counts = (
            pad_sequence(keeps, batch_first=True)[:, :limit],
            [len(keep) for keep in keeps],
        )
    else:
        if with_nms:
            there_BN = there_BN & grouped_nms(
                _apart(labels_BN, boxes_BN4, there_BN), cfg.nms.iou_threshold
            )
        # A score is above -1, so that what is not kept comes last.
        order_BN = (
            scores_BN.where(there_BN, -1)
            .sort(dim=1, descending=True, stable=True)
            .indices[:, :limit]
        )
        counts = there_BN.sum(1).tolist()
    scores_BN, labels_BN = scores_BN.gather(1, order_BN), labels_BN.gather(1, order_BN)
    boxes_BN4 = boxes_BN4.take_along_dim(order_BN[..., None], 1)
    if rescale:
        boxes_BN4 = _to_original(boxes_BN4, metas)
    return [
        InstanceData(scores=scores_N[:count], labels=labels_N[:count], bboxes=boxes_N4[:count])
        for scores_N, labels_N, boxes_N4, count in zip(scores_BN, labels_BN, boxes_BN4, counts)
    ]


def _candidates(
    scores_BPC: Tensor, boxes_BP4: Tensor, cfg: ConfigDict
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores, labels, boxes, and which of them are there: of each image the best `nms_pre`, best first, filled up."""
    classes = scores_BPC.shape[2]
    if not cfg.get("multi_label", True):
        best_BP1, labels_BP1 = scores_BPC.max(2, keepdim=True)
        scores_BPC = torch.zeros_like(scores_BPC).scatter(2, labels_BP1, best_BP1)
    scores_BK = scores_BPC.flatten(1)
    above_BK = scores_BK > cfg.score_thr
    count_B = above_BK.sum(1)
    # Of nothing there is no largest coordinate, so that there is always one place.
    there_BN = torch.arange(max(int(count_B.max()), 1), device=count_B.device) < count_B[:, None]
    index_BN = torch.zeros_like(there_BN, dtype=torch.long).masked_scatter(
        there_BN, above_BK.nonzero()[:, 1]
    )
    scores_BN, order_BN = (
        scores_BK.gather(1, index_BN).where(there_BN, -1).sort(dim=1, descending=True, stable=True)
    )
    best = slice(cfg.nms_pre if cfg.nms_pre > 0 else None)
    index_BN = index_BN.gather(1, order_BN[:, best])
    return (
        scores_BN[:, best],
        index_BN % classes,
        boxes_BP4.take_along_dim(index_BN[..., None] // classes, 1),
        there_BN[:, best],
    )


def _is_plain(nms: ConfigDict | None) -> bool:
    return nms is not None and set(nms) == {"type", "iou_threshold"} and nms.type == "nms"


def _apart(labels_BN: Tensor, boxes_BN4: Tensor, there_BN: Tensor) -> Tensor:
    """Boxes of each class moved away from the others', as `batched_nms` moves them, to the same rounding.

    What fills an image up comes last, where it suppresses nothing that is there.
    """
    boxes_BN4 = boxes_BN4.float()
    largest_B = boxes_BN4.where(there_BN[..., None], -torch.inf).amax((1, 2))
    offset_BN = labels_BN * (largest_B[:, None] + 1)
    return boxes_BN4 + offset_BN[..., None]


def _keep(scores_N: Tensor, labels_N: Tensor, boxes_N4: Tensor, nms: ConfigDict | None) -> Tensor:
    """Indices of the boxes of one image that mmcv keeps; it does not take none."""
    if not len(labels_N):
        return labels_N
    return batched_nms(boxes_N4.float(), scores_N.float(), labels_N, nms)[1]


def _to_original(boxes_BN4: Tensor, metas: Sequence[dict]) -> Tensor:
    """From pixels of the input to those of the image files: letterbox off, scaled, clipped."""
    values_B34 = []
    for meta in metas:
        top, _, left, _ = meta.get("pad_param", (0, 0, 0, 0))
        values_B34.append(
            [[left, top] * 2, [*meta["scale_factor"]] * 2, [*meta["ori_shape"][1::-1]] * 2]
        )
    values_B34 = torch.tensor(values_B34, dtype=boxes_BN4.dtype).to(
        boxes_BN4.device, non_blocking=True
    )
    corner_B14, factor_B14, limit_B14 = values_B34[:, :, None].unbind(1)
    return ((boxes_BN4 - corner_B14) / factor_B14).clamp(min=0).minimum(limit_B14)
