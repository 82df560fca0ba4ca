"""What tells a classifier of mmpretrain from other models, without importing mmpretrain."""

from __future__ import annotations

from importlib.util import find_spec

from torch import nn

from ..errors import UsageError

BASE = ("mmpretrain.models.classifiers.base", "BaseClassifier")


def is_classifier(model: nn.Module) -> bool:
    """Whether a model is one of mmpretrain's classifiers."""
    return any((kind.__module__, kind.__name__) == BASE for kind in type(model).__mro__)


def need_mmpretrain(why: str) -> None:
    """Make sure that mmpretrain is installed.

    Raises:
        UsageError: it is not; `why` says what needs it.
    """
    if find_spec("mmpretrain") is None:
        raise UsageError(
            f"{why} needs mmpretrain, which is not installed: pip install 'mmmamba[pretrain]'"
        )
