"""Detectors that mmdet lacks."""

from .mamba_yolo import MambaYOLO
from .two_stage import NoCopyCascadeRCNN, NoCopyMaskRCNN

__all__ = ["MambaYOLO", "NoCopyCascadeRCNN", "NoCopyMaskRCNN"]
