"""The network inside what spreads it over processes or gives it each image twice."""

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn


def bare_model(model: nn.Module) -> nn.Module:
    """The network that DDP, test-time augmentation or both hold, or the model itself."""
    while _holds_another(model):
        model = model.module
    return model


def with_bare_model(model: nn.Module, network: nn.Module) -> nn.Module:
    """The model with another network in the place of its bare one; its wrappers are kept."""
    if not _holds_another(model):
        return network
    model.module = with_bare_model(model.module, network)
    return model


def _holds_another(model: nn.Module) -> bool:
    return is_model_wrapper(model) or isinstance(model, BaseTTAModel)
