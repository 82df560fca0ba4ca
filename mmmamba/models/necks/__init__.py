"""Necks that mmdet and mmseg lack."""

from .efficientvit_fpn import EfficientViTFPN
from .level_blocks import LevelBlocks
from .mamba_yolo_pafpn import MambaYOLOPAFPN
from .simple_fpn import SimpleFPN

__all__ = ["EfficientViTFPN", "LevelBlocks", "MambaYOLOPAFPN", "SimpleFPN"]
