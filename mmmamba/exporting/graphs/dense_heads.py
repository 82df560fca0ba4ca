"""How the maps of one-stage heads are read: scores and boxes of all priors, and who may compete.

Shape suffixes: B images, P priors over all levels, C classes, D numbers of a prior.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from mmdet.models.dense_heads import YOLOXHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder, DistancePointBBoxCoder
from mmdet.models.task_modules.prior_generators import AnchorGenerator, MlvlPointGenerator
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmmamba.errors import UsageError
from mmmamba.models.one_stage import BatchedRTMDetHead, BatchedYOLOXHead
from mmmamba.models.yolo.batches import in_one_row
from mmmamba.models.yolo.box_selection import is_plain
from mmmamba.models.yolo.head import YOLODFLHead

from .selection import Group, Limits, Seen

KNOWN = (
    "RetinaHead, ATSSHead, FCOSHead and others that choose boxes as mmdet's BaseDenseHead does, "
    "RTMDetSepBNHead, BatchedRTMDetHead, YOLOXHead, BatchedYOLOXHead and YOLODFLHead"
)
UNLIMITED = 1000
"""Boxes of an image where the test_cfg sets no limit, as those of a graph have to be counted."""

Outputs = Sequence[Sequence[Tensor]]
"""Maps of every level, for each kind of output of a head."""


class Reader:
    """Reads a head as its own `predict` does.

    Raises:
        UsageError: a setting of the head that is not known.
    """

    def __init__(self, head: Any):
        self.head = head
        self.check()

    def check(self) -> None:
        """Refuse settings that are not known, before anything is computed."""

    def see(self, outputs: Outputs, image_sizes_B2: Tensor) -> Seen:
        """What the head says of all priors."""
        raise NotImplementedError

    def limits(self) -> Limits:
        """Which pairs are detected, by the head's test_cfg."""
        raise NotImplementedError

    def refuse(self, what: str) -> UsageError:
        return UsageError(f"{type(self.head).__name__} cannot be exported: {what}")

    def settings(self) -> ConfigDict:
        """The test_cfg, with a suppression that a graph has."""
        cfg = ConfigDict(self.head.test_cfg or {})
        if not is_plain(cfg.get("nms")):
            raise self.refuse(
                f"the nms of its test_cfg is {cfg.get('nms')}, wanted just "
                "dict(type='nms', iou_threshold=…). Export it without suppression (`--no-nms`, "
                "nms=False), or change the config."
            )
        return cfg


class BaseReader(Reader):
    """Heads that predict as mmdet's `BaseDenseHead`: the best of each level, then suppression."""

    @staticmethod
    def knows(head: Any) -> bool:
        """Whether nothing of the prediction is the head's own."""
        if not isinstance(head, BaseDenseHead):
            return False
        kind = type(head)
        batched = BaseDenseHead.predict_by_feat, BatchedRTMDetHead.predict_by_feat
        return (
            kind.predict is BaseDenseHead.predict
            and kind.predict_by_feat in batched
            and kind._predict_by_feat_single is BaseDenseHead._predict_by_feat_single
            and kind._bbox_post_process is BaseDenseHead._bbox_post_process
        )

    def check(self) -> None:
        coder, generator = self.head.bbox_coder, self.head.prior_generator
        if type(coder) not in (DeltaXYWHBBoxCoder, DistancePointBBoxCoder):
            raise self.refuse(
                f"its bbox_coder is {type(coder).__name__}, wanted DeltaXYWHBBoxCoder or "
                "DistancePointBBoxCoder"
            )
        if not isinstance(generator, AnchorGenerator | MlvlPointGenerator):
            raise self.refuse(
                f"its priors are of {type(generator).__name__}, wanted AnchorGenerator or "
                "MlvlPointGenerator"
            )
        if coder.use_box_type or getattr(generator, "use_box_type", False):
            raise self.refuse("its boxes are objects (use_box_type=True), wanted plain tensors")
        if getattr(self.head.loss_cls, "custom_cls_channels", False):
            raise self.refuse(
                f"its loss_cls {type(self.head.loss_cls).__name__} has scores of its own, wanted "
                "those of a sigmoid or softmax"
            )

    def limits(self) -> Limits:
        cfg = self.settings()
        for name in ("nms_pre", "max_per_img"):
            if cfg.get(name, -1) < 1:
                raise self.refuse(
                    f"{name} of its test_cfg is {cfg.get(name)}, wanted how many boxes there are "
                    "at most. Set it, for instance "
                    f"--cfg-options model.test_cfg.{name}=1000."
                )
        return Limits(
            most=cfg.max_per_img,
            overlap=cfg.nms.iou_threshold,
            score=cfg.get("score_thr", 0),
            candidates=cfg.nms_pre,
            side=cfg.get("min_bbox_size", -1),
        )

    def see(self, outputs: Outputs, image_sizes_B2: Tensor) -> Seen:
        cls_scores, bbox_preds, *factors = outputs
        sizes = [level.shape[-2:] for level in cls_scores]
        like = bbox_preds[0]
        priors = self.head.prior_generator.grid_priors(sizes, torch.float32, like.device)
        groups = []
        for number, (level, preds, priors_PD) in enumerate(zip(cls_scores, bbox_preds, priors)):
            preds_BP4 = _rows(preds, 4)
            priors_BPD = priors_PD.expand(preds_BP4.shape[0], -1, -1)
            group = Group(self._scores(level), torch.cat([preds_BP4, priors_BPD], dim=-1))
            if factors:
                factor_BP = _rows(factors[0][number], 1)[..., 0].sigmoid()
                group = group._replace(factor_BP=factor_BP)
            groups.append(group)
        return Seen(groups, partial(self._boxes, image_sizes_B2=image_sizes_B2))

    def _scores(self, level: Tensor) -> Tensor:
        logits_BPC = _rows(level, self.head.cls_out_channels)
        if self.head.use_sigmoid_cls:
            return logits_BPC.sigmoid()
        # The last one is the background.
        return logits_BPC.softmax(-1)[..., :-1]

    def _boxes(self, told_BNX: Tensor, image_sizes_B2: Tensor) -> Tensor:
        coder = self.head.bbox_coder
        # mmdet's coders of deltas take one image.
        told_KX = told_BNX.flatten(0, 1)
        boxes_K4 = coder.decode(told_KX[:, 4:], told_KX[:, :4])
        boxes_BN4 = boxes_K4.unflatten(0, told_BNX.shape[:2])
        if not coder.clip_border:
            return boxes_BN4
        # Width, height, twice.
        limit_B14 = image_sizes_B2.flip(1).repeat(1, 2)[:, None].to(boxes_BN4.dtype)
        return boxes_BN4.clamp(min=0).minimum(limit_B14)


class YOLOXReader(Reader):
    """YOLOX: one class a box, by its score times the objectness. Boxes are not clipped.

    Its `predict` keeps all that is not suppressed; a graph no more than `max_per_img`.
    """

    @staticmethod
    def knows(head: Any) -> bool:
        """Whether nothing of the prediction is the head's own."""
        if not isinstance(head, YOLOXHead):
            return False
        kind = type(head)
        return (
            kind.predict is BaseDenseHead.predict
            and kind.predict_by_feat
            in (YOLOXHead.predict_by_feat, BatchedYOLOXHead.predict_by_feat)
            and kind._bbox_post_process is YOLOXHead._bbox_post_process
            and kind._bbox_decode is YOLOXHead._bbox_decode
        )

    def limits(self) -> Limits:
        cfg = self.settings()
        return Limits(
            most=_most(cfg),
            overlap=cfg.nms.iou_threshold,
            score=cfg.score_thr,
            including=True,
            single=True,
        )

    def see(self, outputs: Outputs, image_sizes_B2: Tensor) -> Seen:
        cls_scores, bbox_preds, objectnesses = outputs
        preds_BP4 = in_one_row(bbox_preds)
        priors = self.head.prior_generator.grid_priors(
            [level.shape[-2:] for level in cls_scores],
            preds_BP4.dtype,
            preds_BP4.device,
            with_stride=True,
        )
        group = Group(
            scores_BPC=in_one_row(cls_scores).sigmoid(),
            told_BPX=self.head._bbox_decode(torch.cat(priors), preds_BP4),
            factor_BP=in_one_row(objectnesses)[..., 0].sigmoid(),
        )
        return Seen([group], _as_they_are)


class DFLReader(Reader):
    """The head of Mamba YOLO: the best over all levels; boxes are not clipped."""

    @staticmethod
    def knows(head: Any) -> bool:
        """Whether nothing of the prediction is the head's own."""
        kind = type(head)
        return (
            isinstance(head, YOLODFLHead)
            and kind.predict is BaseDenseHead.predict
            and kind.predict_by_feat is YOLODFLHead.predict_by_feat
        )

    def limits(self) -> Limits:
        cfg = self.settings()
        candidates = cfg.get("nms_pre", -1)
        return Limits(
            most=_most(cfg),
            overlap=cfg.nms.iou_threshold,
            score=cfg.score_thr,
            candidates=candidates if candidates > 0 else None,
            single=not cfg.get("multi_label", True),
        )

    def see(self, outputs: Outputs, image_sizes_B2: Tensor) -> Seen:
        decoded = self.head.decode(*outputs)
        return Seen([Group(decoded.logits_BPC.sigmoid(), decoded.boxes_BP4)], _as_they_are)


READERS: tuple[Any, ...] = (DFLReader, YOLOXReader, BaseReader)


def reader_of(head: nn.Module) -> Reader:
    """What reads a head.

    Raises:
        UsageError: nothing does, or it has settings that are not known.
    """
    for kind in READERS:
        if kind.knows(head):
            return kind(head)
    raise UsageError(
        f"{type(head).__name__} cannot be exported: how it chooses its boxes is not known. "
        f"Known are {KNOWN}."
    )


def _most(cfg: ConfigDict) -> int:
    limit = cfg.get("max_per_img", -1)
    return limit if limit > 0 else UNLIMITED


def _as_they_are(boxes: Tensor) -> Tensor:
    return boxes


def _rows(level: Tensor, numbers: int) -> Tensor:
    """A level in one row, several priors of a cell after each other: `(B, P, numbers)`."""
    rows = in_one_row([level])
    return rows.reshape(rows.shape[0], -1, numbers)
