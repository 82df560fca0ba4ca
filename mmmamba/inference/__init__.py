"""Trained models on one's own images.

`Predictor("work_dirs/demo")("photo.jpg").save("found.jpg")`
"""

from ..structures.objects import Objects
from .predictor import Predictor
from .results import Classification, Detections, Segmentation
from .saliency import Saliency
from .sources import Frame, Source, UnreadableImage, find_sources, read_frames

__all__ = [
    "Classification",
    "Detections",
    "Frame",
    "Objects",
    "Predictor",
    "Saliency",
    "Segmentation",
    "Source",
    "UnreadableImage",
    "find_sources",
    "read_frames",
]
