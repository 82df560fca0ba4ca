"""Losses that mmdet lacks."""

from .ciou import UnclampedCIoULoss, ciou

__all__ = ["UnclampedCIoULoss", "ciou"]
