"""Transforms that mmdet lacks."""

from .letterbox import Letterbox
from .pack_masks import PackMasks
from .yolo_augment import CenteredRandomAffine, HSVGain

__all__ = ["CenteredRandomAffine", "HSVGain", "Letterbox", "PackMasks"]
