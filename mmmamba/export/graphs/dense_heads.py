"""How the maps of one-stage heads are read: scores and boxes of all priors, and who may compete.

Shape suffixes: B images, P priors over all levels, C classes, D numbers of a prior.
"""

from collections.abc import Sequence
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

from .selection import Limits, Seen

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

    def __init__(self, head: nn.Module):
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
    def knows(head: nn.Module) -> bool:
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
        preds_BP4 = _rows(bbox_preds, 4)
        sizes = [level.shape[-2:] for level in cls_scores]
        priors = self.head.prior_generator.grid_priors(sizes, preds_BP4.dtype, preds_BP4.device)
        boxes_BP4 = self._decode(torch.cat(priors), preds_BP4)
        if self.head.bbox_coder.clip_border:
            # Width, height, twice.
            limit_B14 = image_sizes_B2.flip(1).repeat(1, 2)[:, None].to(boxes_BP4.dtype)
            boxes_BP4 = boxes_BP4.clamp(min=0).minimum(limit_B14)
        factor_BP = _rows(factors[0], 1)[..., 0].sigmoid() if factors else None
        return Seen([self._scores(level) for level in cls_scores], boxes_BP4, factor_BP)

    def _scores(self, level: Tensor) -> Tensor:
        logits_BPC = _rows([level], self.head.cls_out_channels)
        if self.head.use_sigmoid_cls:
            return logits_BPC.sigmoid()
        # The last one is the background.
        return logits_BPC.softmax(-1)[..., :-1]

    def _decode(self, priors_PD: Tensor, preds_BP4: Tensor) -> Tensor:
        # mmdet's coders of deltas take one image.
        priors_BPD = priors_PD.expand(preds_BP4.shape[0], -1, -1)
        boxes = self.head.bbox_coder.decode(priors_BPD.flatten(0, 1), preds_BP4.flatten(0, 1))
        return boxes.view_as(preds_BP4)


class YOLOXReader(Reader):
    """YOLOX: one class a box, by its score times the objectness. Boxes are not clipped.

    Its `predict` keeps all that is not suppressed; a graph no more than `max_per_img`.
    """

    @staticmethod
    def knows(head: nn.Module) -> bool:
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
        return Seen(
            scores=[in_one_row(cls_scores).sigmoid()],
            boxes_BP4=self.head._bbox_decode(torch.cat(priors), preds_BP4),
            factor_BP=in_one_row(objectnesses)[..., 0].sigmoid(),
        )


class DFLReader(Reader):
    """The head of Mamba YOLO: the best over all levels; boxes are not clipped."""

    @staticmethod
    def knows(head: nn.Module) -> bool:
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
        return Seen([decoded.logits_BPC.sigmoid()], decoded.boxes_BP4)


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


def _rows(maps: Sequence[Tensor], numbers: int) -> Tensor:
    """Levels in one row, with several priors a cell after each other: `(B, P, numbers)`."""
    rows = in_one_row(maps)
    return rows.reshape(rows.shape[0], -1, numbers)
