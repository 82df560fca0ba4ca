"""Weights cast to autocast's dtype all together, in one kernel, instead of layer by layer.

Which weights autocast would cast is seen in a pass: those that go into linear layers and
convolutions and nowhere else. The numbers are autocast's own, as are the sums of gradients of a
weight that several layers share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LAYERS = (
    F.linear,
    torch.conv1d,
    torch.conv2d,
    torch.conv3d,
    torch.conv_transpose1d,
    torch.conv_transpose2d,
    torch.conv_transpose3d,
)
"""Functions whose weights autocast casts."""


class WeightsOfLayers(TorchFunctionMode):
    """Sees in a pass which parameters autocast casts, and nobody reads in another way."""

    def __init__(self) -> None:
        super().__init__()
        self._in_layers: set[int] = set()
        self._cast_alone: Counter[int] = Counter()
        self._elsewhere: set[int] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping | None = None
    ) -> Any:
        options = kwargs or {}
        used = [id(x) for x in (*args, *options.values()) if isinstance(x, nn.Parameter)]
        for several in args:
            # As in `torch.stack([...])`.
            if isinstance(several, (list, tuple)):
                used += [id(x) for x in several if isinstance(x, nn.Parameter)]
        if used:
            self._note(func, used, args)
        return func(*args, **options)

    def _note(self, func: Any, used: list[int], args: Sequence[Any]) -> None:
        if func in LAYERS:
            self._in_layers.update(used)
        elif func is Tensor.to and len(args) == 2 and args[1] in (torch.float16, torch.bfloat16):
            self._cast_alone.update(used)
        elif func not in LOOKS:
            self._elsewhere.update(used)

    def found(self, parameter: Tensor) -> bool:
        """Whether a parameter is one of them."""
        key = id(parameter)
        if key in self._elsewhere:
            return False
        # Gradients of casts that layers make one by one are added up in float32: one cast of all is
        # the same only where there is one.
        alone = self._cast_alone[key]
        return alone == 0 if key in self._in_layers else alone == 1


LOOKS = (
    Tensor.shape.__get__,
    Tensor.dtype.__get__,
    Tensor.device.__get__,
    Tensor.requires_grad.__get__,
    Tensor.is_cuda.__get__,
    Tensor.ndim.__get__,
    Tensor.data_ptr,
    Tensor.dim,
    Tensor.size,
    Tensor.stride,
    Tensor.__len__,
    Tensor.is_floating_point,
    Tensor.numel,
)
"""What asks for no numbers."""


def cast_together(tensors: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The tensors in another dtype."""
    return _Cast.apply(dtype, *tensors) if tensors else ()


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.dtypes = [x.dtype for x in tensors]
        ctx.set_materialize_grads(False)
        made = [torch.empty_like(x, dtype=dtype) for x in tensors]
        torch._foreach_copy_(made, list(tensors))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        there = [g for g in gradients if g is not None]
        dtypes = [d for d, g in zip(ctx.dtypes, gradients) if g is not None]
        made = [torch.empty_like(g, dtype=dtype) for g, dtype in zip(there, dtypes)]
        if made:
            torch._foreach_copy_(made, there)
        left = iter(made)
        return (None, *(None if g is None else next(left) for g in gradients))
