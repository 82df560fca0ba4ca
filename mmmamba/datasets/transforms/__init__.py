"""Transforms that mmcv, mmdet and mmseg lack."""

from .cut_out_masks import CutOutMasks
from .fit_within import FitWithin
from .letterbox import Letterbox
from .load_paired_image import LoadPairedImage
from .many_channels import PadAnyChannels, PhotoMetricDistortionOfRGB
from .pack_masks import PackMasks
from .yolo_augment import CenteredRandomAffine, HSVGain

__all__ = [
    "CenteredRandomAffine",
    "CutOutMasks",
    "FitWithin",
    "HSVGain",
    "Letterbox",
    "LoadPairedImage",
    "PackMasks",
    "PadAnyChannels",
    "PhotoMetricDistortionOfRGB",
]
