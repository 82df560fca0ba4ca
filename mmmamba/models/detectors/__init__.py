"""Detectors that mmdet lacks."""

from .mamba_yolo import MambaYOLO

__all__ = ["MambaYOLO"]
