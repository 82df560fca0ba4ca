"""What tells a classifier of mmpretrain from other models, without importing mmpretrain."""

from __future__ import annotations

from torch import nn

BASE = ("mmpretrain.models.classifiers.base", "BaseClassifier")


def is_classifier(model: nn.Module) -> bool:
    """Whether a model is one of mmpretrain's classifiers."""
    return any((kind.__module__, kind.__name__) == BASE for kind in type(model).__mro__)
