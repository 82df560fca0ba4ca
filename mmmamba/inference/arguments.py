"""What `Predictor` is asked for, checked before a model is opened and once its task is known."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import UsageError
from ..models.classifiers import is_classifier


def task_of(model: torch.nn.Module) -> str:
    """What the model does: "detection", "segmentation", "saliency" or "classification"."""
    if is_classifier(model):
        return "classification"
    from mmdet.models import BaseDetector
    from mmseg.models import BaseSegmentor

    if isinstance(model, BaseSegmentor):
        # Ours say it, as saliency is told by segmentors too.
        return getattr(model, "task", "segmentation")
    if isinstance(model, BaseDetector) and not hasattr(model, "panoptic_fusion_head"):
        return "detection"
    raise UsageError(
        f"{type(model).__name__} is neither a detector of MMDetection, nor a segmentor of "
        "MMSegmentation, nor a classifier of MMPretrain"
    )


def check_task(task: str, score_thr: float | None, top_k: int | None, tile: int | None) -> None:
    """Refuse what means nothing for a task."""
    if task != "classification":
        if top_k is not None:
            raise UsageError(f"top_k is {top_k} (--top-k): only classifiers rank their classes")
        if task == "saliency":
            _check_saliency(score_thr, tile)
        return
    if score_thr is not None:
        raise UsageError(
            f"score_thr is {score_thr:g} (--score-thr), and a classifier finds no objects: top_k "
            "(--top-k) says how many classes it names"
        )
    if tile is not None:
        raise UsageError(
            f"tile is {tile} (--tile), and a classifier says one thing of a whole image: cut the "
            "image yourself if each part is to have a class"
        )


def _check_saliency(score_thr: float | None, tile: int | None) -> None:
    if score_thr is not None:
        raise UsageError(
            f"score_thr is {score_thr:g} (--score-thr), and a saliency map has no objects"
        )
    if tile is not None:
        raise UsageError(
            f"tile is {tile} (--tile), and what is salient depends on the whole image: leave it out"
        )


def check_range(name: str, value: Any, fits: bool, wanted: str) -> None:
    if not fits:
        raise UsageError(f"{name} is {value}, wanted a value {wanted}")
