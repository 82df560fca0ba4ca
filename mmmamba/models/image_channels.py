"""How many channels the images of a model have."""

from torch import nn

from .trunks.base import MambaBackbone


def image_channels(model: nn.Module) -> int | None:
    """The channels that a backbone, or a model with one, takes; None of backbones not of ours."""
    backbone = getattr(model, "backbone", model)
    return backbone.in_channels if isinstance(backbone, MambaBackbone) else None
