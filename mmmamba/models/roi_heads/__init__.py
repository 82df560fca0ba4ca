"""RoI heads that mmdet lacks."""

from .packed_mask_head import PackedFCNMaskHead

__all__ = ["PackedFCNMaskHead"]
