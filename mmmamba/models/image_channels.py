"""How many channels the images of a model have."""

from torch import nn

from ..checkpoints.strict_loading import StrictLoading


def image_channels(model: nn.Module) -> int | None:
    """The channels that a backbone, or a model with one, takes; None of backbones not of ours."""
    backbone = getattr(model, "backbone", model)
    return getattr(backbone, "in_channels", None) if isinstance(backbone, StrictLoading) else None
