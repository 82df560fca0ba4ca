"""Assigners, their overlaps and samplers that mmdet lacks."""

from .device_assignment import DeviceMaxIoUAssigner, DeviceRandomSampler
from .normalized_task_aligned import CIoUOverlaps, NormalizedTaskAlignedAssigner

__all__ = [
    "CIoUOverlaps",
    "DeviceMaxIoUAssigner",
    "DeviceRandomSampler",
    "NormalizedTaskAlignedAssigner",
]
