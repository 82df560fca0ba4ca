"""Necks that mmdet and mmseg lack."""

from .simple_fpn import SimpleFPN

__all__ = ["SimpleFPN"]
