"""Trained models on one's own images.

`Predictor("work_dirs/demo")("photo.jpg").save("found.jpg")`
"""

from ..structures.objects import Objects
from .predictor import Predictor
from .results import Detections, Segmentation
from .sources import Frame, Source, UnreadableImage, find_sources, read_frames

__all__ = [
    "Detections",
    "Frame",
    "Objects",
    "Predictor",
    "Segmentation",
    "Source",
    "UnreadableImage",
    "find_sources",
    "read_frames",
]
