"""Learning rates that fall from layer to layer of a backbone, towards the image."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ..errors import UsageError
from .merged_groups import merge_groups


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with `paramwise_cfg=dict(layer_decay_rate=0.8, …)`.

    A parameter of the backbone learns at `lr · rate^(depths - 1 - depth)`, what is beside the
    backbone at `lr`. All other settings of `paramwise_cfg` hold as well, and parameters of equal
    settings are in one group. It serves mmdet, mmseg and mmpretrain.

    Raises:
        UsageError: no rate, one that cannot be, or a backbone that does not know its depths.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rate = self.paramwise_cfg.get("layer_decay_rate")
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise UsageError(
                f"paramwise_cfg.layer_decay_rate is {rate!r}, wanted a number above 0, at most 1: "
                "optim_wrapper=dict(constructor='LayerDecayOptimWrapperConstructor', "
                "paramwise_cfg=dict(layer_decay_rate=0.8))"
            )
        if self.base_lr is None:
            raise UsageError(
                "optim_wrapper.optimizer has no lr, from which layer_decay_rate counts"
            )
        self.rate = rate

    def __call__(self, model: nn.Module) -> OptimWrapper:
        bare = model.module if hasattr(model, "module") else model
        backbone = getattr(bare, "backbone", None)
        if not hasattr(backbone, "get_layer_depth"):
            found = "no backbone" if backbone is None else f"a {type(backbone).__name__}"
            raise UsageError(
                f"layer_decay_rate: the model has {found}, wanted a backbone with "
                "get_layer_depth(name, prefix), as those of mmmamba and mmpretrain's transformers"
            )
        return super().__call__(model)

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = "", **kwargs: Any
    ) -> None:
        super().add_params(params, module, prefix=prefix, **kwargs)
        # It calls itself for the children of a module, with a prefix.
        if prefix:
            return
        names = {id(p): f"backbone.{n}" for n, p in module.backbone.named_parameters()}
        for group in params:
            # One parameter each, before they are merged.
            name = names.get(id(group["params"][0]))
            if name is None:
                continue
            depth, depths = module.backbone.get_layer_depth(name, prefix="backbone.")
            group["lr"] = group.get("lr", self.base_lr) * self.rate ** (depths - 1 - depth)
        params[:] = merge_groups(params)
