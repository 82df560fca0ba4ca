"""A part of a model as a function of images and of all that gradients go to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from .memory import Order

Outputs = Any
"""Tensors in tuples, lists and dicts, as heads return them."""


class Function:
    """What is to be recorded: a function of images and of all that gradients go to.

    Args:
        call: the function of images.
        module: holds the parameters and buffers that `call` uses.
        orders: how the gradients of the outputs' tensors lie in memory; None where that is unknown.
    """

    def __init__(
        self,
        call: Callable[[Tensor], Outputs],
        module: nn.Module,
        orders: Callable[[Outputs], list[Order | None]],
    ):
        self.call, self.module, self.orders = call, module, orders
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        places = {id(p): place for place, p in enumerate(self.parameters)}
        self._slots = []
        # Modules that are shared come once here: `functional_call` would leave them changed.
        for part in module.modules():
            for name, p in part._parameters.items():
                if id(p) in places:
                    self._slots.append(_Slot(part._parameters, name, places[id(p)]))

    def __call__(self, x: Tensor, tensors: Sequence[Tensor]) -> Outputs:
        """The outputs with other tensors in the parameters' places."""
        try:
            for slot in self._slots:
                slot.held[slot.name] = tensors[slot.place]
            return self.call(x)
        finally:
            for slot in self._slots:
                slot.held[slot.name] = self.parameters[slot.place]


class _Slot(NamedTuple):
    """Where a module holds a parameter, and which it is."""

    held: dict[str, Any]
    name: str
    place: int
