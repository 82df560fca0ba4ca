"""Features of regions from the maps of a pyramid."""

from collections.abc import Sequence

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.ops.roi_align import MAX_LEVELS, pool_regions, pools_pyramid, pyramid_roi_align
from mmmamba.ops.waiting import on_device


def maps_for_pooling(maps: Sequence[Tensor], training: bool) -> tuple[Tensor, ...]:
    """Maps as `SortedRoIExtractor` reads them: converted once for all heads that pool from them."""
    # The kernel reads whole pixels and computes in float32 by itself; gradients of several heads
    # are added up in the maps' type. Heads read the first maps; a pyramid has one more, left as it
    # is.
    fused = pools_pyramid(maps[:MAX_LEVELS])
    memory = torch.channels_last if fused else torch.contiguous_format
    wide = training or not fused
    pooled = maps[:MAX_LEVELS] if fused else maps
    converted = [
        one.to(
            torch.promote_types(one.dtype, torch.float32) if wide else one.dtype,
            memory_format=memory,
        )
        for one in pooled
    ]
    return (*converted, *maps[len(pooled) :])


@MODELS.register_module()
class SortedRoIExtractor(SingleRoIExtractor):
    """mmdet's `SingleRoIExtractor` that pools from all levels at once.

    On a GPU in one kernel (`ops/roi_align.py`) where the layers are `RoIAlign` with
    `use_torchvision=True` and the defaults otherwise. Elsewhere regions are sorted by level once;
    mmdet searches for them and writes them back at each level. Regions stay float32 under autocast;
    mmdet rounds them to the features' type: in bfloat16 a corner at 1000 pixels moves by up to 2.
    """

    def forward(
        self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Features `(R, channels, h, w)` of regions `(R, 5)`: image, x1, y1, x2, y2."""
        if not torch.is_autocast_enabled(rois.device.type):
            rois = rois.type_as(feats[0])
        # A region that is no number has no level: its features are none, and the loss says so.
        level_R = self._levels(rois, len(feats))
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        scales = [layer.spatial_scale for layer in self.roi_layers][: len(feats)]
        if torch.compiler.is_exporting():
            size, samples = self.roi_layers[0].output_size, self.roi_layers[0].sampling_ratio
            return pool_regions(feats, rois, level_R, size, scales, samples)
        if pools_pyramid(feats) and all(_is_plain(layer) for layer in self.roi_layers):
            return pyramid_roi_align(feats, rois, level_R, self.roi_layers[0].output_size, scales)
        order_R = level_R.argsort(stable=True)
        number_L = torch.arange(len(feats), device=rois.device)
        # One look for all levels: how many regions each has.
        counts = (level_R[:, None] == number_L).sum(dim=0).tolist()
        parts = rois[order_R].split(counts)
        pooled = [layer(level, part) for layer, level, part in zip(self.roi_layers, feats, parts)]
        # The argsort of an order undoes it.
        return torch.cat(pooled)[order_R.argsort()]

    def _levels(self, rois: Tensor, number: int) -> Tensor:
        """The level of each region; the first one of a region that is no number."""
        if not torch.compiler.is_exporting():
            return self.map_roi_levels(rois, number).clamp(0, number - 1)
        # Elsewhere logarithms to base 2 are quotients, and those of powers of 2, such as the sides
        # of a region that is all of an image, are rounded to below whole numbers.
        start_R2, end_R2 = rois[:, 1:3], rois[:, 3:]
        scale_R1 = (end_R2 - start_R2).prod(1, keepdim=True).sqrt() / self.finest_scale
        powers = tuple(2.0**level for level in range(1, number))
        bounds_L = on_device(powers, rois.dtype, rois.device)
        return (scale_R1 + 1e-6 >= bounds_L).sum(1)


def _is_plain(layer: nn.Module) -> bool:
    """Whether the kernel computes what this layer does; `pool_mode` is not torchvision's."""
    return (
        type(layer) is RoIAlign
        and layer.use_torchvision
        and layer.sampling_ratio == 0
        and layer.aligned
    )
