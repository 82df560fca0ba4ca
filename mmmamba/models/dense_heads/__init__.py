"""Dense heads that mmdet lacks."""

from .yolo_dfl_head import YOLODFLHead

__all__ = ["YOLODFLHead"]
