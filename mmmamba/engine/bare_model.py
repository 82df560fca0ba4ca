"""The model without what spreads it over processes."""

from mmengine.model import is_model_wrapper
from torch import nn


def bare_model(model: nn.Module) -> nn.Module:
    """What DDP or its like holds, or the model itself."""
    return model.module if is_model_wrapper(model) else model
