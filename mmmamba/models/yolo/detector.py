"""Mamba YOLO as a whole (arXiv 2406.05835)."""

from mmdet.models.detectors import SingleStageDetector
from mmengine.registry import MODELS

from mmmamba.checkpoints.strict_loading import StrictLoading

from .key_maps import DETECTOR_KEY_MAP


@MODELS.register_module()
class MambaYOLO(StrictLoading, SingleStageDetector):
    """mmdet's `SingleStageDetector` that can start from a file its authors' program wrote.

    `init_cfg=dict(type="Pretrained", checkpoint="best.pt")` loads such a file whole, without
    running what it holds.
    """

    KEY_MAP = DETECTOR_KEY_MAP
