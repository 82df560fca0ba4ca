"""Features of regions from torchvision's operator alone, for files that leave."""

from collections.abc import Sequence

import torch
from torch import Tensor

AWAY = -20000.0
"""Where a region lies in no image."""


def lowered_pooling(
    maps: Sequence[Tensor],
    rois: Tensor,
    level: Tensor,
    size: Sequence[int],
    scales: Sequence[float],
    sampling_ratio: int = 0,
) -> Tensor:
    """`mmmamba::pool_regions`: all regions on each level, those of others beyond its map.

    So no size depends on how many regions a level has; beyond a map all is 0, and soon read.
    """
    import torchvision  # noqa: F401  (torch.ops.torchvision)

    away_5 = torch.tensor([0.0, AWAY, AWAY, AWAY + 1, AWAY + 1], device=rois.device)
    pooled = None
    for number, (one, scale) in enumerate(zip(maps, scales)):
        rois_R5 = rois.where((level == number)[:, None], away_5.to(rois.dtype))
        features = torch.ops.torchvision.roi_align(one, rois_R5, scale, *size, sampling_ratio, True)
        pooled = features if pooled is None else pooled + features
    assert pooled is not None
    return pooled
