"""Assigners and their overlaps that mmdet lacks."""

from .normalized_task_aligned import CIoUOverlaps, NormalizedTaskAlignedAssigner

__all__ = ["CIoUOverlaps", "NormalizedTaskAlignedAssigner"]
