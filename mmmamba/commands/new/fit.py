"""Which configs learn from something else than labelled images."""

from __future__ import annotations

from mmengine.config import Config

from ...config import methods
from .frames import steps_of


def other_data(cfg: Config) -> str | None:
    """What a config learns from that no folder of labelled images has; None where it has all."""
    model = cfg.model
    roi_head = model.get("roi_head") or {}
    if "tracker" in model or "track_head" in model:
        return methods.VIDEOS
    if "language_model" in model:
        return methods.LANGUAGE
    if "teacher_config" in model or "teacher_backbone" in model:
        return methods.TEACHER
    if "semi_train_cfg" in model:
        return methods.UNLABELLED
    if "train_dataloader" not in cfg:
        return "has no data to train on, and no pipeline for any"
    if any(step.get("type") == "LoadPanopticAnnotations" for step in steps_of(cfg)):
        return methods.STUFF if "semantic_head" in model else methods.PANOPTIC
    if "semantic_head" in roi_head or "semantic_head" in model:
        return methods.STUFF
    if any(step.get("type") == "LoadProposals" for step in steps_of(cfg)):
        return methods.PROPOSALS
    return methods.NO_CLASSES if model.get("type") == "RPN" else None
