"""Necks that mmdet and mmseg lack."""

from .efficientvit_fpn import EfficientViTFPN
from .simple_fpn import SimpleFPN

__all__ = ["EfficientViTFPN", "SimpleFPN"]
