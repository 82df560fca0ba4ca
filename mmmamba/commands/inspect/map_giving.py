"""Backbones that give maps, also of classifiers, whose backbones give logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import nn

OF_CLASSIFIERS = ("classifier", "num_classes", "init_cfg")
"""Arguments that a backbone with maps is made without."""


def giving_maps(backbone: nn.Module, settings: Mapping[str, Any]) -> nn.Module:
    """The backbone, or one with the same weights that gives its maps in the place of logits.

    Norms through which only maps leave are as new.

    Args:
        settings: what the backbone was built from.
    """
    if not getattr(backbone, "is_classifier", False):
        return backbone
    kept = {key: value for key, value in settings.items() if key not in OF_CLASSIFIERS}
    twin = MODELS.build(kept)
    # What one of them has alone stands behind the last block.
    twin.load_state_dict(backbone.state_dict(), strict=False)
    return twin.to(next(backbone.parameters()).device).train(backbone.training)
