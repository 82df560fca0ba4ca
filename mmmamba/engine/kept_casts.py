"""Weights in half precision that autocast would make anew in every prediction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn

from ..layers.packed import Conv2d, Linear

LINEAR = (nn.Linear, wrappers.Linear)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, wrappers.Conv2d)
"""Classes whose forward pass takes the weight as it is. Subclasses may do something to it first."""
Kept = dict[nn.Module, tuple[Tensor | None, Tensor | None]]
"""Weight and bias of layers."""


class KeptCasts:
    """Casts of the weights of a network's linear layers and convolutions.

    They serve in `within`, where autocast is on, and are the same numbers as autocast's own: one
    rounding of the weight. Parameters stay as they are, for layers of ours that read them in
    float32 too; the casts take half of their memory once more.

    Args:
        network: gets other forward passes in its layers of these classes. Do it once.
        device_type: of its inputs.
    """

    def __init__(self, network: nn.Module, device_type: str):
        self.device_type = device_type
        # A dtype's casts stay when another's serve: CUDA graphs may have been captured with them.
        self._kept: dict[torch.dtype, Kept] = {}
        self._made_of: dict[torch.dtype, list[object]] = {}
        self._serving: Kept | None = None
        self._layers: list[nn.Module] = []
        # On a CPU the backbones' own layers keep casts by themselves.
        packed = (Linear, Conv2d) if device_type != "cpu" else ()
        for module in network.modules():
            known = type(module) in (*LINEAR, *CONVOLUTIONS, *packed)
            # Older forms of weight norm write a weight that is no parameter in each pass.
            if known and isinstance(module.weight, nn.Parameter):
                self._layers.append(module)
        for layer in self._layers:
            if isinstance(layer, nn.Linear):
                layer.forward = _Linear(layer, self)
            else:
                layer._conv_forward = _Convolution(layer, self)

    @contextmanager
    def within(self, dtype: torch.dtype) -> Iterator[None]:
        """Have the casts to a dtype serve; float32: none."""
        if dtype == torch.float32:
            yield
            return
        self._serving = self._up_to_date(dtype)
        try:
            yield
        finally:
            self._serving = None

    def of(self, layer: nn.Module) -> tuple[Tensor | None, Tensor | None]:
        """Weight and bias that a layer computes with."""
        if self._serving is not None and torch.is_autocast_enabled(self.device_type):
            return self._serving[layer]
        return layer.weight, layer.bias

    def _up_to_date(self, dtype: torch.dtype) -> Kept:
        """Casts to a dtype, made anew where a parameter or its values are others than last time."""
        kept = self._kept.setdefault(dtype, {})
        made_of: list[object] = []
        for layer in self._layers:
            for x in (layer.weight, layer.bias):
                made_of += () if x is None else (x.data_ptr(), x._version)
        if made_of == self._made_of.get(dtype):
            return kept
        self._made_of[dtype] = made_of
        for layer in self._layers:
            weight, bias = kept.get(layer, (None, None))
            kept[layer] = _cast(layer.weight, dtype, weight), _cast(layer.bias, dtype, bias)
        return kept


def _cast(x: Tensor | None, dtype: torch.dtype, last: Tensor | None) -> Tensor | None:
    """`x` in a dtype; in the memory of the last time, which a CUDA graph may read."""
    if x is None:
        return None
    if last is None or (last.shape, last.device) != (x.shape, x.device):
        # As `to` keeps the layout, it is what autocast would give.
        return x.detach().to(dtype)
    return last.copy_(x.detach())


class _Linear:
    """The forward pass of a linear layer."""

    def __init__(self, layer: nn.Module, casts: KeptCasts):
        self.layer, self.casts = layer, casts

    def __call__(self, x: Tensor) -> Tensor:
        weight, bias = self.casts.of(self.layer)
        if weight is self.layer.weight:
            return type(self.layer).forward(self.layer, x)
        return F.linear(x, weight, bias)


class _Convolution:
    """What a convolution's forward pass calls with its weight and bias."""

    def __init__(self, layer: nn.Module, casts: KeptCasts):
        self.layer, self.casts = layer, casts

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return type(self.layer)._conv_forward(self.layer, x, *self.casts.of(self.layer))
