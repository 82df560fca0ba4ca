"""RoI heads that mmdet lacks."""

from .batched_roi_head import BatchedRoIHead
from .packed_mask_head import PackedFCNMaskHead
from .sorted_roi_extractor import SortedRoIExtractor

__all__ = ["BatchedRoIHead", "PackedFCNMaskHead", "SortedRoIExtractor"]
