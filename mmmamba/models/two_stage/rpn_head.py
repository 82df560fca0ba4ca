"""The region proposal network's targets, losses and proposals for all images at once.

Shape suffixes: B images, G ground truths, A anchors of all levels, L levels, N boxes that compete,
K samples.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmmamba.ops import grouped_nms

from .anchor_grid import AnchorGrid, AnchorGrids
from .assignment import DeviceMaxIoUAssigner, DeviceRandomSampler, Drawn, pad_boxes, pick
from .box_coding import box_loss, clip, decode, encode, image_corners, knows_coder
from .known import knows_anchors, knows_nms
from .proposals import Proposals
from .waiting import on_device


@MODELS.register_module()
class BatchedRPNHead(RPNHead):
    """mmdet's `RPNHead`: the same losses and proposals in a tenth of the operations.

    Nothing is read back from the GPU, and proposals are `Proposals`. Losses are computed at the
    sampled anchors only: at the others mmdet multiplies them by 0. What the batched way does not
    know (other assigners and samplers than `Device…`, other priors than anchors, a softmax, boxes
    decoded for the loss, another suppression, rescaling) goes mmdet's way. Labels of the ground
    truth need not be 0.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._grids: dict[torch.device, AnchorGrids] = {}

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """`loss_rpn_cls` and `loss_rpn_bbox` by `(B, channels, H, W)` of each level."""
        if not self._batches_losses():
            # mmdet takes labels for classes, of which there is one here.
            unlabelled = [
                InstanceData(bboxes=found.bboxes, labels=torch.zeros_like(found.labels))
                for found in batch_gt_instances
            ]
            return super().loss_by_feat(
                cls_scores, bbox_preds, unlabelled, batch_img_metas, batch_gt_instances_ignore
            )
        anchors_A4, valid_BA = self._anchors(cls_scores, batch_img_metas)
        gts_BG4 = pad_boxes([found.bboxes for found in batch_gt_instances])
        gt_BA = self.assigner.assign_batch(
            gts_BG4,
            [len(found) for found in batch_gt_instances],
            anchors_A4.expand(len(gts_BG4), -1, -1),
            valid_BA,
        )
        positive, negative = self.sampler.draw(gt_BA)
        # mmdet counts an image without samples of a kind as if it had one.
        positives_B = positive.meant_BK.sum(1).clamp(min=1)
        negatives_B = negative.meant_BK.sum(1).clamp(min=1)
        average = (positives_B + negatives_B).sum()
        return dict(
            loss_rpn_cls=self._loss_cls(cls_scores, positive, negative, average),
            loss_rpn_bbox=self._loss_bbox(
                bbox_preds, anchors_A4, gts_BG4, gt_BA, positive, average
            ),
        )

    def _batches_losses(self) -> bool:
        """Whether the batched way knows these settings."""
        return (
            isinstance(self.assigner, DeviceMaxIoUAssigner)
            and self.assigner.batches
            and isinstance(self.sampler, DeviceRandomSampler)
            and not self.sampler.add_gt_as_proposals
            and isinstance(self.loss_cls, CrossEntropyLoss)
            and self.use_sigmoid_cls
            and knows_anchors(self.prior_generator)
            and knows_coder(self.bbox_coder)
            and not self.reg_decoded_bbox
        )

    def _loss_cls(
        self, cls_scores: list[Tensor], positive: Drawn, negative: Drawn, average: Tensor
    ) -> Tensor:
        """The loss of the scores at the samples."""
        scores_BA = torch.cat([_last(level, 1) for level in cls_scores], dim=1)[..., 0]
        index_BK = torch.cat([positive.index_BK, negative.index_BK], dim=1)
        ones, zeros = torch.ones_like(positive.index_BK), torch.zeros_like(negative.index_BK)
        labels_BK = torch.cat([ones, zeros], dim=1)
        pos_weight = self.train_cfg.pos_weight if self.train_cfg.pos_weight > 0 else 1.0
        weights_BK = torch.cat([positive.meant_BK * pos_weight, negative.meant_BK], dim=1)
        return self.loss_cls(
            scores_BA.gather(1, index_BK).view(-1, 1),
            labels_BK.view(-1, 1),
            weights_BK.view(-1, 1),
            avg_factor=average,
        )

    def _loss_bbox(
        self,
        bbox_preds: list[Tensor],
        anchors_A4: Tensor,
        gts_BG4: Tensor,
        gt_BA: Tensor,
        positive: Drawn,
        average: Tensor,
    ) -> Tensor:
        """The loss of the deltas at the positive samples."""
        deltas_BA4 = torch.cat([_last(level, 4) for level in bbox_preds], dim=1)
        deltas_BK4 = pick(deltas_BA4, positive.index_BK)
        priors_BK4 = anchors_A4[positive.index_BK]
        gt_BK = gt_BA.gather(1, positive.index_BK)
        matched_BK4 = pick(gts_BG4, (gt_BK - 1).clamp(min=0))
        # Where no positive is meant there is no ground truth either, and a box without area has no
        # logarithm.
        matched_BK4 = torch.where(positive.meant_BK[..., None], matched_BK4, priors_BK4)
        targets = encode(self.bbox_coder, priors_BK4.flatten(0, 1), matched_BK4.flatten(0, 1))
        return box_loss(
            self.loss_bbox, deltas_BK4.flatten(0, 1), targets, positive.meant_BK.flatten(), average
        )

    def _anchors(self, cls_scores: list[Tensor], metas: list[dict]) -> tuple[Tensor, Tensor]:
        """Anchors `(A, 4)` and, of each image, those that count `(B, A)`.

        Raises:
            ValueError: an image has none.
        """
        grid, border = self._grid(cls_scores), self.train_cfg.allowed_border
        sizes = tuple((*one["pad_shape"][:2], *one["img_shape"][:2]) for one in metas)
        for size in sizes:
            if border >= 0 and not grid.fits(size, border):
                raise ValueError(
                    "no anchor lies inside an image; check the sizes of images and anchors, or set "
                    "train_cfg.rpn.allowed_border to -1"
                )
        sizes_B4 = on_device(sizes, torch.long, grid.anchors_A4.device)
        padded_2B1, image_2B1 = sizes_B4.T[:, :, None].split(2)
        # What mmdet's `valid_flags` says: the cell begins inside of the padded image.
        y_A, x_A = grid.corner_A2.unbind(1)
        valid_BA = (y_A < padded_2B1[0]) & (x_A < padded_2B1[1])
        valid_BA = anchor_inside_flags(grid.anchors_A4, valid_BA, tuple(image_2B1), border)
        return grid.anchors_A4, valid_BA

    def _grid(self, cls_scores: list[Tensor]) -> AnchorGrid:
        device = cls_scores[0].device
        if device not in self._grids:
            self._grids[device] = AnchorGrids(self.prior_generator, device)
        return self._grids[device].of([level.shape[-2:] for level in cls_scores])

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
    ) -> Sequence[InstanceData]:
        """Proposals of each image: `bboxes`, `scores` and `labels`, all 0, best first."""
        cfg = self.test_cfg if cfg is None else cfg
        if rescale or not (with_nms and self._batches_proposals(cfg)):
            return super().predict_by_feat(
                cls_scores, bbox_preds, score_factors, batch_img_metas, cfg, rescale, with_nms
            )
        scores_BLN, boxes_BLN4 = self._candidates(cls_scores, bbox_preds, cfg.get("nms_pre", -1))
        corners_B4 = image_corners(batch_img_metas, boxes_BLN4.device)
        boxes_BLN4 = clip(boxes_BLN4, corners_B4[:, None, None])
        valid_BLN = scores_BLN >= 0
        smallest = cfg.get("min_bbox_size", -1)
        if smallest >= 0:
            sides_BLN2 = boxes_BLN4[..., 2:] - boxes_BLN4[..., :2]
            valid_BLN &= (sides_BLN2 > smallest).all(-1)
        # What is too small must not suppress others either: a box of zeros does not.
        competing_BLN4 = boxes_BLN4.where(valid_BLN[..., None], 0)
        # Levels do not compete. They are moved apart for one thing: so mmdet rounds their boxes.
        largest_B1 = competing_BLN4.flatten(1).amax(1, keepdim=True)
        level_L = torch.arange(len(cls_scores), device=largest_B1.device)
        offset_BL = level_L * (largest_B1 + 1)
        keep = grouped_nms(
            (competing_BLN4 + offset_BL[:, :, None, None]).flatten(0, 1), cfg.nms.iou_threshold
        )
        valid_BLN &= keep.view_as(valid_BLN)
        # A sigmoid is above -1, so that what is not kept comes last.
        kept_BN = scores_BLN.where(valid_BLN, -1).flatten(1)
        scores_BN, order_BN = kept_BN.sort(dim=1, descending=True, stable=True)
        best = slice(cfg.max_per_img)
        return Proposals(
            pick(boxes_BLN4.flatten(1, 2), order_BN[:, best]),
            scores_BN[:, best].float(),
            valid_BLN.sum((1, 2)).clamp(max=cfg.max_per_img),
        )

    def _batches_proposals(self, cfg: ConfigDict) -> bool:
        """Whether the batched way knows this suppression, coder and priors."""
        return (
            knows_nms(cfg)
            and knows_coder(self.bbox_coder)
            and knows_anchors(self.prior_generator)
            and self.use_sigmoid_cls
        )

    def _candidates(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], nms_pre: int
    ) -> tuple[Tensor, Tensor]:
        """Scores `(B, L, N)` and decoded boxes `(B, L, N, 4)`: the best `nms_pre` of each level.

        Best first. Levels with fewer are filled up; there scores are -1.
        """
        grid = self._grid(cls_scores)
        place_LN, there_LN = grid.best(nms_pre)
        scores_BA = torch.cat([_last(level, 1) for level in cls_scores], dim=1)[..., 0].sigmoid()
        deltas_BA4 = torch.cat([_last(level, 4) for level in bbox_preds], dim=1)
        # One sort for all levels.
        order_BA = (scores_BA - grid.apart_A).sort(dim=1, descending=True, stable=True).indices
        index_BM = order_BA[:, place_LN.flatten()]
        boxes_BM4 = decode(self.bbox_coder, grid.anchors_A4[index_BM], pick(deltas_BA4, index_BM))
        scores_BM = scores_BA.gather(1, index_BM).where(there_LN.flatten(), -1)
        shape = (len(scores_BM), *place_LN.shape)
        return scores_BM.view(shape), boxes_BM4.view(*shape, 4)


def _last(level: Tensor, channels: int) -> Tensor:
    """`(B, anchors * channels, H, W)` to `(B, H * W * anchors, channels)`."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, channels)
