"""Transforms that mmdet lacks."""

from .cut_out_masks import CutOutMasks
from .fit_within import FitWithin
from .letterbox import Letterbox
from .pack_masks import PackMasks
from .yolo_augment import CenteredRandomAffine, HSVGain

__all__ = ["CenteredRandomAffine", "CutOutMasks", "FitWithin", "HSVGain", "Letterbox", "PackMasks"]
