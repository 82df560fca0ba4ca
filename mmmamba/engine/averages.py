"""Averaged weights that cost Python a handful of launches a step."""

import math
from collections.abc import Iterable

import torch
from mmdet.models.layers import ExpMomentumEMA
from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class GroupedExpMomentumEMA(ExpMomentumEMA):
    """MMDetection's average of a model, all tensors at once; the numbers are the same."""

    def update_parameters(self, model: nn.Module) -> None:
        """Average once more, with the weights that `model` has now."""
        # The first step copies, and a step between two averages does nothing.
        if self.steps == 0 or self.steps % self.interval:
            super().update_parameters(model)
            return
        decay = math.exp(-float(1 + self.steps) / self.gamma)
        momentum = (1 - self.momentum) * decay + self.momentum
        kept, given = _floating(self.module.parameters()), _floating(model.parameters())
        kept_buffers, given_buffers = list(self.module.buffers()), list(model.buffers())
        with torch.no_grad():
            if self.update_buffers:
                kept += _floating(kept_buffers)
                given += _floating(given_buffers)
            elif kept_buffers:
                torch._foreach_copy_(kept_buffers, given_buffers)
            # Of another device where the averages are kept apart.
            there = [x.to(mean.device) for mean, x in zip(kept, given)]
            torch._foreach_lerp_(kept, there, momentum)
        self.steps += 1


def _floating(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [x for x in tensors if x.is_floating_point()]
