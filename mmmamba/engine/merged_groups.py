"""Few parameter groups instead of one for each parameter."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with parameters of equal settings in one group.

    The original makes a group of each parameter once there is a `paramwise_cfg`, so that optimizers
    update hundreds of groups one after the other. A run that began with one of the two cannot be
    resumed with the other.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = "", **kwargs: Any
    ) -> None:
        super().add_params(params, module, prefix=prefix, **kwargs)
        # It calls itself for the children of a module, with a prefix.
        if not prefix:
            params[:] = merge_groups(params)


def merge_groups(groups: list[dict]) -> list[dict]:
    """Groups with the same settings become one, in the order in which the settings first appear."""
    merged: dict[str, dict] = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key != "params"}
        # By text, as settings such as betas may be lists, which cannot be keys.
        found = merged.setdefault(repr(sorted(settings.items())), {"params": [], **settings})
        found["params"].extend(group["params"])
    return list(merged.values())
