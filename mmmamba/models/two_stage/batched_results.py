"""Prediction of a region head for all images at once, looked at once.

Shape suffixes: B images, P proposals, N detections at most, R regions of all images, C classes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmmamba.ops.waiting import Readback

from .box_coding import clip, decode, image_corners
from .detections import (
    Detections,
    enlargements,
    mask_shapes,
    scale_factors,
    select_detections,
    unpad,
)
from .known import knows_box_head, knows_mask_results, knows_nms
from .proposals import Padded, pad_proposals, to_rois
from .roi_extractor import maps_for_pooling


class BoxOutputs(NamedTuple):
    """What the last box head says, and of which boxes."""

    scores_RC: Tensor
    """Logits, the background's last."""
    deltas: Tensor
    """`(R, classes * 4)`, or `(R, 4)` for all classes."""
    boxes_BP4: Tensor


class BatchedResults:
    """Adds `predict` to a region head of mmdet's.

    Numbers stay on the GPU up to how many were detected; these are fetched while the mask head
    works, on as many regions as there can be detections.
    """

    with_mask: bool
    test_cfg: Any

    def predict(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of each image: `bboxes`, `scores`, `labels` and, with a mask head, `masks`."""
        metas = [sample.metainfo for sample in batch_data_samples]
        if not self._batches_results(metas):
            return super().predict(x, rpn_results_list, batch_data_samples, rescale)
        maps = maps_for_pooling(x, training=False)
        proposals = pad_proposals(rpn_results_list)
        device = proposals.boxes_BN4.device
        # Masks want boxes as the network sees them; without masks mmdet scales before it selects.
        early = rescale and not self.with_mask
        detections = self.detect(
            maps,
            proposals,
            image_corners(metas, device),
            enlargements(metas, device) if early else None,
        ).shortened()
        counts = Readback(detections.count_B)
        if not self.with_mask:
            return unpad(detections, counts.tolist())
        masks_BNhw = self.masks(maps, detections.boxes_BN4, detections.labels_BN)
        if rescale:
            boxes_BN4 = detections.boxes_BN4 / scale_factors(metas, device)
            detections = detections._replace(boxes_BN4=boxes_BN4)
        return unpad(
            detections,
            counts.tolist(),
            masks_BNhw,
            mask_shapes(metas, rescale),
            self.test_cfg.mask_thr_binary,
        )

    def detect(
        self,
        maps: tuple[Tensor, ...],
        proposals: Padded,
        corners_B4: Tensor,
        enlargements_B14: Tensor | None = None,
    ) -> Detections:
        """What is found at proposals.

        Args:
            maps: as `maps_for_pooling` leaves them.
            corners_B4: the images' `image_corners`.
            enlargements_B14: multiply boxes before some are selected.
        """
        boxes_BP4, there_BP = proposals
        corners_B14 = corners_B4[:, None]
        outputs = self._box_outputs(maps, boxes_BP4, corners_B14)
        # As autocast computes it on a GPU, on a CPU too.
        wide = torch.promote_types(outputs.scores_RC.dtype, torch.float32)
        scores_RC = outputs.scores_RC.softmax(-1, dtype=wide)
        scores_BPC = scores_RC[:, :-1].unflatten(0, there_BP.shape)
        boxes_BPC4 = decode(
            self._box_heads()[-1].bbox_coder,
            outputs.boxes_BP4[:, :, None],
            outputs.deltas.view(*there_BP.shape, -1, 4),
        )
        boxes_BPC4 = clip(boxes_BPC4, corners_B14[:, None])
        if enlargements_B14 is not None:
            boxes_BPC4 = boxes_BPC4 * enlargements_B14[:, None]
        return select_detections(scores_BPC, boxes_BPC4, there_BP, self.test_cfg)

    def masks(self, maps: tuple[Tensor, ...], boxes_BN4: Tensor, labels_BN: Tensor) -> Tensor:
        """How sure each pixel of a box belongs to an object of the box's class, `(B, N, h, w)`."""
        shares_Rhw = self._mask_shares(maps, to_rois(boxes_BN4), labels_BN.flatten())
        return shares_Rhw.unflatten(0, boxes_BN4.shape[:2])

    def _batches_results(self, metas: Sequence[dict]) -> bool:
        """Whether the batched way knows these settings."""
        masks = not self.with_mask or (
            all(knows_mask_results(head) for head in self._mask_heads())
            and self.test_cfg.mask_thr_binary >= 0
            # mmdet's cascade turns masks of flipped images back.
            and not any(meta.get("flip", False) for meta in metas)
        )
        return (
            masks
            and knows_nms(self.test_cfg)
            and all(knows_box_head(head) for head in self._box_heads())
        )

    def _box_heads(self) -> Sequence[nn.Module]:
        raise NotImplementedError

    def _mask_heads(self) -> Sequence[nn.Module]:
        raise NotImplementedError

    def _box_outputs(
        self, maps: tuple[Tensor, ...], boxes_BP4: Tensor, corners_B14: Tensor
    ) -> BoxOutputs:
        """What the box heads say of proposals; `corners_B14` are those of the images."""
        raise NotImplementedError

    def _mask_shares(self, maps: tuple[Tensor, ...], rois_R5: Tensor, labels_R: Tensor) -> Tensor:
        """`masks` of regions, `(R, h, w)`."""
        raise NotImplementedError
