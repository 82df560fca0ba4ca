"""What is wrong with a data set, before training finds out."""

from .coco import check_coco
from .kinds import KINDS, Kind
from .report import ClassCount, Finding, Report
from .segmentation import check_segmentation

__all__ = ["KINDS", "ClassCount", "Finding", "Kind", "Report", "check_coco", "check_segmentation"]
