"""Exported files as models of mmdet and mmseg, which their runners and metrics take.

`classifier.py`, which needs mmpretrain, has those of that.
"""

from .detector import ExportedDetector
from .preparing import PrepareForFile
from .saliency import ExportedSaliency
from .segmentor import ExportedSegmentor

__all__ = ["ExportedDetector", "ExportedSaliency", "ExportedSegmentor", "PrepareForFile"]
