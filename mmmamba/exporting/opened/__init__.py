"""Exported files as models of mmdet and mmseg, which their runners and metrics take."""

from .detector import ExportedDetector
from .preparing import PrepareForFile
from .segmentor import ExportedSegmentor

__all__ = ["ExportedDetector", "ExportedSegmentor", "PrepareForFile"]
