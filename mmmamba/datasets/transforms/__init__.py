"""Transforms of YOLO recipes that mmdet lacks."""

from .letterbox import Letterbox
from .yolo_augment import CenteredRandomAffine, HSVGain

__all__ = ["CenteredRandomAffine", "HSVGain", "Letterbox"]
