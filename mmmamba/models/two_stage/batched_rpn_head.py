"""The region proposal network's targets, losses and proposals for all images at once.

Shape suffixes: B images, G ground truths, A anchors of all levels, L levels, N boxes that compete,
K samples.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.models.task_modules.prior_generators import AnchorGenerator, anchor_inside_flags
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ...ops import grouped_nms
from .device_assignment import DeviceMaxIoUAssigner, DeviceRandomSampler, pad_boxes


@MODELS.register_module()
class BatchedRPNHead(RPNHead):
    """mmdet's `RPNHead` with the same losses and proposals, a tenth of the operations and few waits
    for the GPU.

    Losses are computed at the sampled anchors only: at the others mmdet multiplies them by 0. What
    the batched way does not know (other assigners and samplers than `Device…`, other priors than
    anchors, a softmax, boxes decoded for the loss, another suppression, rescaling, tests) goes
    mmdet's way. Labels of the ground truth need not be 0.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._grid_of_sizes: tuple[tuple, tuple[list[Tensor], Tensor]] = ((), ([], torch.empty(0)))

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """`loss_rpn_cls` and `loss_rpn_bbox` by scores and deltas `(B, channels, H, W)` of each
        level.
        """
        batched = (
            isinstance(self.assigner, DeviceMaxIoUAssigner)
            and self.assigner.batches
            and isinstance(self.sampler, DeviceRandomSampler)
            and not self.sampler.add_gt_as_proposals
            and isinstance(self.loss_cls, CrossEntropyLoss)
            and self.use_sigmoid_cls
            and isinstance(self.prior_generator, AnchorGenerator)
        )
        if not batched or self.reg_decoded_bbox:
            batch_gt_instances = [
                InstanceData(bboxes=found.bboxes, labels=torch.zeros_like(found.labels))
                for found in batch_gt_instances
            ]
            return super().loss_by_feat(
                cls_scores,
                bbox_preds,
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
            )
        anchors_A4, valid_BA = self._anchors(cls_scores, batch_img_metas)
        gts_BG4 = pad_boxes([found.bboxes for found in batch_gt_instances])
        gt_BA = self.assigner.assign_batch(
            gts_BG4,
            [len(found) for found in batch_gt_instances],
            anchors_A4.expand(len(gts_BG4), -1, -1),
            valid_BA,
        )
        positive_BK, meant_BK, negative, meant_negative = self.sampler.draw(gt_BA)
        average = (meant_BK.sum(1).clamp(min=1) + meant_negative.sum(1).clamp(min=1)).sum()

        scores_BA = torch.cat([_last(level, 1) for level in cls_scores], dim=1)[..., 0]
        index = torch.cat([positive_BK, negative], dim=1)
        labels = torch.cat([torch.ones_like(positive_BK), torch.zeros_like(negative)], dim=1)
        pos_weight = self.train_cfg.pos_weight if self.train_cfg.pos_weight > 0 else 1.0
        weights = torch.cat([meant_BK * pos_weight, meant_negative], dim=1)
        loss_cls = self.loss_cls(
            scores_BA.gather(1, index).view(-1, 1),
            labels.view(-1, 1),
            weights.view(-1, 1),
            avg_factor=average,
        )

        deltas_BK4 = _pick(torch.cat([_last(level, 4) for level in bbox_preds], dim=1), positive_BK)
        priors_BK4 = anchors_A4[positive_BK]
        matched_BK4 = _pick(gts_BG4, (gt_BA.gather(1, positive_BK) - 1).clamp(min=0))
        # Where no positive is meant there is no ground truth either, and a box without area has no
        # logarithm.
        matched_BK4 = torch.where(meant_BK[..., None], matched_BK4, priors_BK4)
        targets = self.bbox_coder.encode(priors_BK4.flatten(0, 1), matched_BK4.flatten(0, 1))
        weights = meant_BK.view(-1, 1).expand_as(targets).to(targets)
        loss_bbox = self.loss_bbox(deltas_BK4.flatten(0, 1), targets, weights, avg_factor=average)
        return dict(loss_rpn_cls=loss_cls, loss_rpn_bbox=loss_bbox)

    def _anchors(self, cls_scores: list[Tensor], metas: list[dict]) -> tuple[Tensor, Tensor]:
        """Anchors `(A, 4)` and, of each image, those that count `(B, A)`.

        Raises:
            ValueError: an image has none.
        """
        levels, corner_A2 = self._grid(cls_scores)
        anchors_A4, border = torch.cat(levels), self.train_cfg.allowed_border
        sizes_4B = torch.tensor(
            [[*meta["pad_shape"][:2], *meta["img_shape"][:2]] for meta in metas]
        ).T
        padded_2B, image_2B = sizes_4B.to(anchors_A4.device, non_blocking=True)[:, :, None].split(2)
        # What mmdet's `valid_flags` says: the cell begins inside of the padded image.
        valid_BA = (corner_A2[:, 0] < padded_2B[0]) & (corner_A2[:, 1] < padded_2B[1])
        valid_BA = anchor_inside_flags(anchors_A4, valid_BA, tuple(image_2B), border)
        if border >= 0 and not valid_BA.any(dim=1).all():
            raise ValueError(
                "no anchor lies inside an image; check the sizes of images and anchors, or set "
                "train_cfg.rpn.allowed_border to -1"
            )
        return anchors_A4, valid_BA

    def _grid(self, cls_scores: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Anchors of each level and their cells' corners (y, x) `(A, 2)`.

        They are kept until another size comes: to make them takes a copy to the GPU for each level.
        """
        key = (cls_scores[0].device, *(level.shape[-2:] for level in cls_scores))
        if self._grid_of_sizes[0] != key:
            device, *sizes = key
            corners = [
                torch.cartesian_prod(
                    stride_y * torch.arange(height, device=device),
                    stride_x * torch.arange(width, device=device),
                ).repeat_interleave(count, dim=0)
                for (height, width), (stride_x, stride_y), count in zip(
                    sizes, self.prior_generator.strides, self.prior_generator.num_base_priors
                )
            ]
            self._grid_of_sizes = (
                key,
                (self.prior_generator.grid_priors(sizes, device=device), torch.cat(corners)),
            )
        return self._grid_of_sizes[1]

    @torch.no_grad()
    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        score_factors: list[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Proposals of each image: `bboxes`, `scores` and `labels`, all 0, best first."""
        cfg = self.test_cfg if cfg is None else cfg
        known = (
            set(cfg.nms) == {"type", "iou_threshold"}
            and cfg.nms.type == "nms"
            and isinstance(self.bbox_coder, DeltaXYWHBBoxCoder)
            and self.bbox_coder.clip_border
            and isinstance(self.prior_generator, AnchorGenerator)
        )
        if not (self.training and known and with_nms and self.use_sigmoid_cls) or rescale:
            return super().predict_by_feat(
                cls_scores, bbox_preds, score_factors, batch_img_metas, cfg, rescale, with_nms
            )
        scores_BLN, boxes_BLN4 = self._candidates(cls_scores, bbox_preds, cfg.get("nms_pre", -1))
        limit_B4 = torch.tensor(
            [[*meta["img_shape"][1::-1]] * 2 for meta in batch_img_metas], dtype=torch.float32
        )
        limit_B4 = limit_B4.to(boxes_BLN4.device, non_blocking=True)
        boxes_BLN4 = boxes_BLN4.clamp(min=0).minimum(limit_B4[:, None, None])
        valid_BLN = scores_BLN >= 0
        smallest = cfg.get("min_bbox_size", -1)
        if smallest >= 0:
            valid_BLN &= ((boxes_BLN4[..., 2:] - boxes_BLN4[..., :2]) > smallest).all(-1)
        # What is too small must not suppress others either: a box of zeros does not. Levels do not
        # compete.
        keep = grouped_nms(
            boxes_BLN4.where(valid_BLN[..., None], 0).flatten(0, 1), cfg.nms.iou_threshold
        )
        valid_BLN &= keep.view_as(valid_BLN)
        # A sigmoid is above -1, so that what is not kept comes last.
        scores_BN, order_BN = (
            scores_BLN.where(valid_BLN, -1).flatten(1).sort(dim=1, descending=True, stable=True)
        )
        boxes_BN4 = _pick(boxes_BLN4.flatten(1, 2), order_BN[:, : cfg.max_per_img])
        labels_N = torch.zeros_like(order_BN[0])
        return [
            InstanceData(bboxes=boxes[:count], scores=scores[:count], labels=labels_N[:count])
            for boxes, scores, count in zip(
                boxes_BN4,
                scores_BN.float(),
                valid_BLN.sum((1, 2)).clamp(max=cfg.max_per_img).tolist(),
            )
        ]

    def _candidates(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], nms_pre: int
    ) -> tuple[Tensor, Tensor]:
        """Scores `(B, L, N)` and decoded boxes `(B, L, N, 4)`: the best `nms_pre` of each level,
        best first.

        Levels with fewer are filled up; there scores are -1.
        """
        scores, deltas, priors = [], [], []
        for anchors_A4, score, delta in zip(self._grid(cls_scores)[0], cls_scores, bbox_preds):
            score_BN, order_BN = (
                _last(score, 1)[..., 0].sigmoid().sort(dim=1, descending=True, stable=True)
            )
            order_BN = order_BN[:, : nms_pre if nms_pre > 0 else None]
            scores.append(score_BN[:, : order_BN.shape[1]])
            deltas.append(_pick(_last(delta, 4), order_BN))
            priors.append(anchors_A4[order_BN])
        scores_BLN, deltas, priors = _stack(scores, -1), _stack(deltas, 0), _stack(priors, 0)
        return scores_BLN, self.bbox_coder.decode(priors.view(-1, 4), deltas.view(-1, 4)).view_as(
            priors
        )


def _last(level: Tensor, channels: int) -> Tensor:
    """`(B, anchors * channels, H, W)` to `(B, H * W * anchors, channels)`."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, channels)


def _pick(values_BN4: Tensor, index_BK: Tensor) -> Tensor:
    """`(B, K, 4)`."""
    return values_BN4.gather(1, index_BK[..., None].expand(-1, -1, values_BN4.shape[-1]))


def _stack(levels: list[Tensor], value: float) -> Tensor:
    """`(B, N, ...)` of each level to `(B, L, largest N, ...)`, filled with `value`."""
    longest = max(level.shape[1] for level in levels)
    return torch.stack(
        [
            level
            if level.shape[1] == longest
            else F.pad(
                level, (0, 0) * (level.dim() - 2) + (0, longest - level.shape[1]), value=value
            )
            for level in levels
        ],
        dim=1,
    )
