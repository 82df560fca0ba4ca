"""Dense heads that mmdet lacks."""

from .batched_rpn_head import BatchedRPNHead
from .yolo_dfl_head import YOLODFLHead

__all__ = ["BatchedRPNHead", "YOLODFLHead"]
