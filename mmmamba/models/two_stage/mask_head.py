"""The mask head of Mask R-CNN with targets made where its predictions are."""

from collections.abc import Sequence
from itertools import accumulate, groupby

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.mask import BaseInstanceMasks, PolygonMasks
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.modules.utils import _pair

from mmmamba.structures.packed_masks import PackedMasks

ROWS = 128
"""In training regions are filled up to a multiple of this.

cuDNN plans each convolution anew for every number of them, which takes 28 ms of a step.
"""

PIXELS = 2**27
"""Masks are unpacked together until they have so many pixels, of 4 bytes each, and those of one
more image."""


@MODELS.register_module()
class PackedFCNMaskHead(FCNMaskHead):
    """mmdet's `FCNMaskHead` that crops its targets from `PackedMasks` on the device.

    mmdet goes by way of NumPy; the targets are the same. Bitmaps that the pipeline did not pack
    (`PackMasks`) are packed here; polygons are rasterised one by one, as in mmdet.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(R, classes, 2h, 2w)` by features `(R, channels, h, w)`."""
        # Half precision convolutions of a GPU read rows of channels: turned so once, not for each
        # of them.
        x = x.contiguous(memory_format=torch.channels_last)
        if not (self.training and x.is_cuda):
            return super().forward(x)
        missing = -len(x) % ROWS
        if missing == 0:
            return super().forward(x)
        # `F.pad` counts axes from the last one: the fourth pair is for the regions.
        return super().forward(F.pad(x, (0, 0) * 3 + (0, missing)))[: len(x)]

    def get_targets(
        self,
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
        rcnn_train_cfg: ConfigDict,
    ) -> Tensor:
        """Targets `(positives of all images, *mask_size)`."""
        if _any_polygons(batch_gt_instances):
            return super().get_targets(sampling_results, batch_gt_instances, rcnn_train_cfg)
        return self.crop_targets(
            [one.pos_priors for one in sampling_results],
            [one.pos_assigned_gt_inds for one in sampling_results],
            [found.masks for found in batch_gt_instances],
            rcnn_train_cfg,
        )

    def crop_targets(
        self,
        boxes: Sequence[Tensor],
        gts: Sequence[Tensor],
        masks: Sequence[BaseInstanceMasks],
        cfg: ConfigDict,
    ) -> Tensor:
        """Targets `(regions of all images, *mask_size)` of regions, of their ground truth's mask.

        Args:
            boxes, gts: of each image; an image without masks may have boxes, which get any target.
            masks: of each image, no polygons.
        """
        size = _pair(cfg.mask_size)
        binarize = not cfg.get("soft_mask_target", False)
        packed = [_packed(one, found.device) for one, found in zip(masks, boxes, strict=True)]
        targets = []
        groups = _groups(packed)
        # `groupby` joins neighbours only, which leaves the targets in the order of the images.
        for _, images in groupby(range(len(packed)), key=groups.__getitem__):
            chosen = list(images)
            together = PackedMasks.join([packed[i] for i in chosen])
            # A region names its image's mask; the masks of the images before it come first.
            starts = accumulate([0, *(len(packed[i]) for i in chosen)])
            mask_P = torch.cat([gts[i] + start for i, start in zip(chosen, starts)])
            boxes_P4 = torch.cat([boxes[i] for i in chosen])
            targets.append(
                together.crop_to(boxes_P4, mask_P.clamp(max=len(together) - 1), size, binarize)
            )
        return torch.cat(targets)


def crops_targets(head: object, gts: Sequence[InstanceData]) -> bool:
    """Whether a head has `crop_targets` for the masks of these ground truths."""
    return isinstance(head, PackedFCNMaskHead) and not _any_polygons(gts)


def _any_polygons(gts: Sequence[InstanceData]) -> bool:
    return any(isinstance(found.masks, PolygonMasks) for found in gts)


def _groups(masks: list[PackedMasks]) -> list[tuple[int, int, int]]:
    """A key for each image: those in a row that share it can be unpacked together.

    They are of one size and have not too many pixels.
    """
    pixels = accumulate(len(one) * one.height * one.width for one in masks)
    # The running total in steps of PIXELS: a new key each time that another step is begun.
    return [(one.height, one.width, total // PIXELS) for one, total in zip(masks, pixels)]


def _packed(masks: BaseInstanceMasks, device: torch.device) -> PackedMasks:
    if not isinstance(masks, PackedMasks):
        masks = PackedMasks(masks.to_ndarray(), masks.height, masks.width)
    return masks.to(device)
