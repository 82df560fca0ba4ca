"""The region proposal network's targets, losses and proposals for all images at once.

Shape suffixes: B images, G ground truths, A anchors of all levels, L levels, N boxes that compete,
K samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmmamba.ops import grouped_nms
from mmmamba.ops.best import best
from mmmamba.ops.waiting import on_device, places, where

from .anchor_grid import AnchorGrid, AnchorGrids
from .assignment import (
    DeviceMaxIoUAssigner,
    DeviceRandomSampler,
    Draw,
    Drawn,
    GroundTruth,
    pick,
)
from .box_coding import EPSILON, box_loss, clip, decode, encode, image_corners, knows_coder
from .candidates import Flat, best_by_level, best_of_grid
from .known import knows_anchors, knows_binary_loss, knows_nms, unchanged
from .proposals import Proposals


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
        flat = Flat(cls_scores, bbox_preds)
        return self._losses(flat, GroundTruth.of(batch_gt_instances), batch_img_metas)

    def loss_and_predict(
        self,
        x: tuple[Tensor, ...],
        batch_data_samples: list[DetDataSample],
        proposal_cfg: ConfigDict | None = None,
        truth: GroundTruth | None = None,
    ) -> tuple[dict, Sequence[InstanceData]]:
        """Losses, and proposals by the same outputs.

        Args:
            truth: that of the samples, if it is filled up already.
        """
        cfg = self.test_cfg if proposal_cfg is None else proposal_cfg
        own = unchanged(self, BatchedRPNHead, "loss_by_feat", "predict_by_feat")
        if not (own and self._batches_losses() and self._batches_proposals(cfg)):
            return super().loss_and_predict(x, batch_data_samples, proposal_cfg)
        flat = Flat(*self(x))
        metas = [sample.metainfo for sample in batch_data_samples]
        if truth is None:
            truth = GroundTruth.of([sample.gt_instances for sample in batch_data_samples])
        corners_B4 = image_corners(metas, flat.device)
        return self._losses(flat, truth, metas), self.propose(flat, corners_B4, cfg)

    def _losses(self, flat: Flat, gts: GroundTruth, metas: list[dict]) -> dict:
        anchors_A4, valid_BA = self._anchors(flat.sizes, flat.device, metas)
        images = len(gts.boxes_BG4)
        gt_BA = self.assigner.assign_batch(gts, anchors_A4.expand(images, -1, -1), valid_BA)
        draw = self.sampler.draw(gt_BA)
        # mmdet counts an image without samples of a kind as if it had one.
        average = draw.found_2B1.clamp(min=1).sum()
        return dict(
            loss_rpn_cls=self._loss_cls(flat.scores_BA, draw, average),
            loss_rpn_bbox=self._loss_bbox(flat, anchors_A4, gts, gt_BA, draw.positive, average),
        )

    def _batches_losses(self) -> bool:
        """Whether the batched way knows these settings."""
        return (
            isinstance(self.assigner, DeviceMaxIoUAssigner)
            and self.assigner.batches
            and isinstance(self.sampler, DeviceRandomSampler)
            and not self.sampler.add_gt_as_proposals
            and knows_binary_loss(self.loss_cls)
            and self.use_sigmoid_cls
            and knows_anchors(self.prior_generator)
            and knows_coder(self.bbox_coder)
            and not self.reg_decoded_bbox
        )

    def _loss_cls(self, scores_BA: Tensor, draw: Draw, average: Tensor) -> Tensor:
        """The loss of the scores at the samples."""
        index_BM, weights_BM = draw.index_BM, draw.meant_BM.float()
        labels_M = _labels(draw.most, index_BM.shape[1], scores_BA.device)
        if self.train_cfg.pos_weight > 0:
            weights_BM = torch.where(
                labels_M > 0, weights_BM * self.train_cfg.pos_weight, weights_BM
            )
        loss_BM = F.binary_cross_entropy_with_logits(
            scores_BA.gather(1, index_BM), labels_M.expand_as(index_BM), reduction="none"
        )
        loss = (loss_BM * weights_BM).sum() / (average + EPSILON)
        return self.loss_cls.loss_weight * loss

    def _loss_bbox(
        self,
        flat: Flat,
        anchors_A4: Tensor,
        gts: GroundTruth,
        gt_BA: Tensor,
        positive: Drawn,
        average: Tensor,
    ) -> Tensor:
        """The loss of the deltas at the positive samples."""
        deltas_BK4 = pick(flat.deltas_BA4, positive.index_BK)
        priors_BK4 = anchors_A4[positive.index_BK]
        gt_BK = gt_BA.gather(1, positive.index_BK)
        matched_BK4 = pick(gts.boxes_BG4, (gt_BK - 1).clamp(min=0))
        # Where no positive is meant there is no ground truth either, and a box without area has no
        # logarithm.
        matched_BK4 = torch.where(positive.meant_BK[..., None], matched_BK4, priors_BK4)
        targets = encode(self.bbox_coder, priors_BK4.flatten(0, 1), matched_BK4.flatten(0, 1))
        return box_loss(
            self.loss_bbox, deltas_BK4.flatten(0, 1), targets, positive.meant_BK.flatten(), average
        )

    def _anchors(
        self, sizes: Sequence[torch.Size], device: torch.device, metas: list[dict]
    ) -> tuple[Tensor, Tensor]:
        """Anchors `(A, 4)` and, of each image, those that count `(B, A)`.

        Raises:
            ValueError: an image has none.
        """
        grid, border = self._grid(sizes, device), self.train_cfg.allowed_border
        images = tuple((*one["pad_shape"][:2], *one["img_shape"][:2]) for one in metas)
        for image in images:
            if border >= 0 and not grid.fits(image, border):
                raise ValueError(
                    "no anchor lies inside an image; check the sizes of images and anchors, or set "
                    "train_cfg.rpn.allowed_border to -1"
                )
        images_B14 = on_device(images, torch.int32, device)[:, None]
        # What mmdet's `valid_flags` says: the cell begins inside of the padded image.
        valid_BA = (grid.corner_A2 < images_B14[..., :2]).all(-1)
        image_2B1 = tuple(images_B14[..., 2:].unbind(-1))
        valid_BA = anchor_inside_flags(grid.anchors_A4, valid_BA, image_2B1, border)
        return grid.anchors_A4, valid_BA

    def _grid(self, sizes: Sequence[torch.Size], device: torch.device) -> AnchorGrid:
        if device not in self._grids:
            self._grids[device] = AnchorGrids(self.prior_generator, device)
        return self._grids[device].of(sizes)

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
        corners_B4 = image_corners(batch_img_metas, cls_scores[0].device)
        return self.propose(Flat(cls_scores, bbox_preds), corners_B4, cfg)

    @torch.no_grad()
    def propose(self, flat: Flat, corners_B4: Tensor, cfg: ConfigDict) -> Proposals:
        """Proposals of each image; `corners_B4` are the images' `image_corners`."""
        scores_BLN, boxes_BLN4 = self._candidates(flat, cfg.get("nms_pre", -1))
        boxes_BLN4 = clip(boxes_BLN4, corners_B4[:, None, None])
        valid_BLN = scores_BLN >= 0
        smallest = cfg.get("min_bbox_size", -1)
        if smallest >= 0:
            sides_BLN2 = boxes_BLN4[..., 2:] - boxes_BLN4[..., :2]
            valid_BLN &= (sides_BLN2 > smallest).all(-1)
        # What is too small must not suppress others either: a box of zeros does not.
        competing_BLN4 = where(valid_BLN[..., None], boxes_BLN4, 0)
        # Levels do not compete. They are moved apart for one thing: so mmdet rounds their boxes.
        largest_B1 = competing_BLN4.flatten(1).amax(1, keepdim=True)
        offset_BL = places(len(flat.sizes), largest_B1.device) * (largest_B1 + 1)
        keep = grouped_nms(
            (competing_BLN4 + offset_BL[:, :, None, None]).flatten(0, 1),
            cfg.nms.iou_threshold,
            most=cfg.max_per_img,
        )
        valid_BLN &= keep.view_as(valid_BLN)
        # A sigmoid is above -1, so that what is not kept comes last.
        kept_BN = where(valid_BLN, scores_BLN, -1).flatten(1)
        scores_BN, order_BN = best(kept_BN, min(cfg.max_per_img, kept_BN.shape[1]))
        return Proposals(
            pick(boxes_BLN4.flatten(1, 2), order_BN),
            scores_BN.float(),
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

    def _candidates(self, flat: Flat, nms_pre: int) -> tuple[Tensor, Tensor]:
        """Scores `(B, L, N)` and decoded boxes `(B, L, N, 4)`: the best `nms_pre` of each level.

        Best first. Levels with fewer are filled up; there scores are -1.
        """
        if torch.compiler.is_exporting():
            found = best_by_level(flat, self.prior_generator, nms_pre)
        else:
            found = best_of_grid(flat, self._grid(flat.sizes, flat.device), nms_pre)
        boxes_BLN4 = decode(self.bbox_coder, found.anchors_BLN4, found.deltas_BLN4)
        return found.scores_BLN, boxes_BLN4


@lru_cache(maxsize=8)
def _labels(positives: int, samples: int, device: torch.device) -> Tensor:
    """1 for the positives, which come first, and 0 for the other samples."""
    # Kept for passes that train, even if the first one that asks does not.
    with torch.inference_mode(False):
        return (places(samples, device) < positives).float()
