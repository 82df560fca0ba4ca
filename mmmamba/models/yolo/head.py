"""The decoupled anchor-free head of YOLO detectors with distribution focal loss (arXiv 2006.04388).

Shape suffixes: B images, P priors over all levels, C classes, R bins.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.config import ConfigDict
from mmengine.dist import get_world_size
from mmengine.registry import MODELS, TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmmamba.acceleration.replays import Replays

from .assigner import NormalizedTaskAlignedAssigner
from .batches import PriorCache, Truth, boxes_of, distances_of, in_one_row, pad_truth, pick
from .blocks import conv_norm_act
from .box_selection import select_boxes

LOSS_CLS = dict(type="mmdet.CrossEntropyLoss", use_sigmoid=True, reduction="sum", loss_weight=0.5)
LOSS_BBOX = dict(type="UnclampedCIoULoss", reduction="sum", loss_weight=7.5)
# A quarter: the sum is over the four sides, the published loss their mean.
LOSS_DFL = dict(type="mmdet.DistributionFocalLoss", reduction="sum", loss_weight=1.5 / 4)

LARGEST = 0.01
"""How far the largest distance that a distribution is trained on stays below its last bin."""


class Decoded(NamedTuple):
    """What the head says of all priors, its levels in one row."""

    logits_BPC: Tensor
    """Class logits."""
    bins_BP4R: Tensor
    """Logits of the distances to the sides of the box."""
    boxes_BP4: Tensor
    """Corners in pixels of the input."""
    priors_P4: Tensor
    """Centre and stride, twice."""


@MODELS.register_module()
class YOLODFLHead(BaseDenseHead):
    """Boxes as distributions of the distances to their sides, and class scores; no objectness.

    Args:
        num_classes: C.
        in_channels: of each level's map.
        strides: of each level.
        reg_max: R; distances reach R - 1 strides.
        assigner: assigns priors to boxes and gives target scores: all images at once if it is a
            `NormalizedTaskAlignedAssigner`, any other image by image.
        loss_cls, loss_bbox, loss_dfl: losses of sums; the head divides by the sum of the target
            scores.
        train_cfg: `assigner` in it takes the place of the argument.
        test_cfg: `score_thr`, `nms_pre` (candidates of an image over all levels; -1: all), `nms`,
            `max_per_img` (-1: all), and `multi_label` (default true: a prior may be a candidate of
            several classes).

    Raises:
        ValueError: not one stride a level.
    """

    replays: Replays | None = None
    """Set by `graph_model`."""

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        strides: Sequence[int] = (8, 16, 32),
        reg_max: int = 16,
        assigner: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_dfl: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if len(in_channels) != len(strides):
            raise ValueError(
                f"YOLODFLHead got {len(in_channels)} in_channels and {len(strides)} strides, "
                "wanted one of each for every level"
            )
        self.num_classes, self.reg_max, self.strides = num_classes, reg_max, tuple(strides)
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        # Points in the middle of their cells.
        self.prior_generator = TASK_UTILS.build(
            dict(type="mmdet.MlvlPointGenerator", strides=list(strides), offset=0.5)
        )
        self._priors = PriorCache(self.prior_generator)
        self.assigner = TASK_UTILS.build(
            (train_cfg or {}).get("assigner")
            or assigner
            or dict(type="NormalizedTaskAlignedAssigner")
        )
        self.loss_cls = MODELS.build(loss_cls or LOSS_CLS)
        self.loss_bbox = MODELS.build(loss_bbox or LOSS_BBOX)
        self.loss_dfl = MODELS.build(loss_dfl or LOSS_DFL)
        # Widths as published: of both branches they follow the finest level's map.
        reg_channels = max(16, in_channels[0] // 4, 4 * reg_max)
        cls_channels = max(in_channels[0], min(num_classes, 100))
        self.reg_preds = nn.ModuleList(_branch(c, reg_channels, 4 * reg_max) for c in in_channels)
        self.cls_preds = nn.ModuleList(_branch(c, cls_channels, num_classes) for c in in_channels)
        # The numbers of the bins, which never change and so are not saved. The authors' files hold
        # them as the weights of a convolution, which the key map passes over.
        self.register_buffer(
            "project", torch.arange(reg_max, dtype=torch.float32), persistent=False
        )
        self._init_biases()

    def _init_biases(self) -> None:
        """Boxes of even distributions, and scores as if an image of 640 pixels had five objects."""
        for reg, cls, stride in zip(self.reg_preds, self.cls_preds, self.strides):
            nn.init.ones_(reg[-1].bias)
            nn.init.constant_(cls[-1].bias, math.log(5 / self.num_classes / (640 / stride) ** 2))

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Class logits `(B, C, H, W)` and box logits `(B, 4 R, H, W)` of each level."""
        cls_scores = [cls(x) for cls, x in zip(self.cls_preds, maps)]
        bbox_preds = [reg(x) for reg, x in zip(self.reg_preds, maps)]
        return cls_scores, bbox_preds

    def decode(self, cls_scores: list[Tensor], bbox_preds: list[Tensor]) -> Decoded:
        """Put all levels in one row and turn distributions into boxes.

        In full precision: a coordinate in bfloat16 may be off by two strides.
        """
        logits_BPC = in_one_row(cls_scores)
        bins_BP4R = in_one_row(bbox_preds).unflatten(-1, (4, self.reg_max))
        priors_P4 = self._priors(cls_scores, logits_BPC)
        # No matrix product, which autocast would take in half precision.
        distances_BP4 = (bins_BP4R.softmax(-1) * self.project).sum(-1) * priors_P4[:, 2:3]
        return Decoded(logits_BPC, bins_BP4R, boxes_of(priors_P4, distances_BP4), priors_P4)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict] | None = None,
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """`loss_cls`, `loss_bbox`, `loss_dfl`: per unit of target score, times all GPUs' images.

        For all images at once, with nothing read from the GPU.

        DDP averages the gradients over the GPUs, so their number makes that average a sum, as the
        original has it.
        """
        logits_BPC, bins_BP4R, boxes_BP4, priors_P4 = self.decode(cls_scores, bbox_preds)
        truth = pad_truth(batch_gt_instances, boxes_BP4)
        # Targets are found by what the head says now, but they are no function of it.
        with torch.no_grad():
            gt_BP, score_BP = self._assign(
                priors_P4, boxes_BP4, logits_BPC.sigmoid(), truth, batch_gt_instances
            )
            # A batch without objects has no target score at all.
            scale = len(boxes_BP4) * get_world_size() / score_BP.sum().clamp(min=1)
            labels_BP1 = truth.labels_BG.gather(1, gt_BP)[..., None]
            # At the class of its box a positive learns its target score; all else learns 0.
            soft_BPC = torch.zeros_like(logits_BPC).scatter_(2, labels_BP1, score_BP[..., None])
            targets_BP4 = pick(truth.boxes_BG4, gt_BP)
            stride_P1 = priors_P4[:, 2:3]
            distances_BP4 = distances_of(priors_P4, targets_BP4) / stride_P1
            # The loss is on the two bins around a distance, and the upper one has to exist.
            distances_BP4 = distances_BP4.clamp(0, self.reg_max - 1 - LARGEST)

        # All priors, of which background weighs nothing: to pick the positives would be to wait
        # for their number.
        weight_N = score_BP.flatten()
        loss_cls = self.loss_cls(logits_BPC.flatten(0, 1), soft_BPC.flatten(0, 1))
        # Boxes are compared in strides, so that a pixel counts more on finer levels.
        loss_bbox = self.loss_bbox(
            (boxes_BP4 / stride_P1).flatten(0, 1), (targets_BP4 / stride_P1).flatten(0, 1), weight_N
        )
        loss_dfl = self.loss_dfl(
            bins_BP4R.flatten(0, 2),
            distances_BP4.flatten(),
            weight_N[:, None].expand(-1, 4).flatten(),
        )
        return dict(
            loss_cls=loss_cls * scale, loss_bbox=loss_bbox * scale, loss_dfl=loss_dfl * scale
        )

    def _assign(
        self,
        priors_P4: Tensor,
        boxes_BP4: Tensor,
        scores_BPC: Tensor,
        truth: Truth,
        gt_instances: list[InstanceData],
    ) -> tuple[Tensor, Tensor]:
        """Ground truth and target score of each prior, `(B, P)`: 0 and 0 for background."""
        if isinstance(self.assigner, NormalizedTaskAlignedAssigner):
            assigned = self.assigner.assign_batch(priors_P4, boxes_BP4, scores_BPC, truth)
            return assigned.gt_BP, assigned.scores_BP
        # Any other has to be asked image by image.
        results = [
            self.assigner.assign(InstanceData(priors=priors_P4, bboxes=boxes, scores=scores), gts)
            for boxes, scores, gts in zip(boxes_BP4, scores_BPC, gt_instances)
        ]
        gt_BP = torch.stack([result.gt_inds for result in results]).clamp(min=1) - 1
        return gt_BP, torch.stack([result.assign_metrics for result in results])

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Boxes of each image after NMS; with `rescale` in pixels of the original image."""
        cfg = ConfigDict(self.test_cfg if cfg is None else cfg)
        decoded = self.decode(cls_scores, bbox_preds)
        scores_BPC = decoded.logits_BPC.sigmoid()
        return select_boxes(
            scores_BPC, decoded.boxes_BP4, batch_img_metas, cfg, rescale, with_nms, self.replays
        )


def _branch(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        conv_norm_act(in_channels, channels, 3),
        conv_norm_act(channels, channels, 3),
        nn.Conv2d(channels, out_channels, 1),
    )
