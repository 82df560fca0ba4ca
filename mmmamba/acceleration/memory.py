"""The memory that all graphs of a model share, and how tensors lie in it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from .recording import Recorder

ALIGNED = 256
"""Bytes: tensors in a buffer begin at multiples, as the allocator's do."""


class Pass:
    """A forward pass: autograd holds it as long as its backward pass can come."""

    done = False


class GraphMemory:
    """What all graphs of a model share.

    Each pass writes over what the last one left, so a pass must not be replayed while the backward
    pass of the one before may be needed.
    """

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        self._buffers: dict[str, Tensor] = {}
        self._gradients: dict[int, Tensor] = {}
        # Weakly: a pass that autograd has let go of has no backward pass to come.
        self._last: weakref.ref[Pass] | None = None
        self.castable: dict[tuple, list[int]] = {}
        """Places of the parameters that are cast together, by mode and dtype."""

    @property
    def pending(self) -> bool:
        """Whether the backward pass of the last forward pass may still come."""
        last = None if self._last is None else self._last()
        return last is not None and not last.done

    def begin(self) -> Pass:
        """Open a new forward pass."""
        last = Pass()
        self._last = weakref.ref(last)
        return last

    def like(
        self, name: str, tensors: Sequence[Tensor], orders: Sequence[Order | None] | None = None
    ) -> list[Tensor]:
        """Tensors of these shapes, side by side in a buffer that is shared under its name.

        They lie in memory as these do, or in the orders that are given. Whoever has tensors of a
        buffer that became too small keeps that alive.
        """
        starts, end = [], 0
        for x in tensors:
            starts.append(end)
            end += -(-x.numel() * x.element_size() // ALIGNED) * ALIGNED
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < end:
            device = tensors[0].device if tensors else torch.device("cpu")
            buffer = torch.empty(end, dtype=torch.uint8, device=device)
            self._buffers[name] = buffer
        return [
            _at(buffer, start, x, order)
            for start, x, order in zip(starts, tensors, orders or [None] * len(starts))
        ]

    def gradient(self, parameter: Tensor) -> Tensor:
        """Where graphs of any size leave the gradient of a parameter."""
        key = id(parameter)
        if key not in self._gradients:
            self._gradients[key] = torch.empty_like(parameter)
        return self._gradients[key]


def _at(buffer: Tensor, start: int, like: Tensor, order: Order | None) -> Tensor:
    """A tensor of this shape in the bytes of a buffer from `start` on."""
    if like.numel() == 0:
        return torch.empty_like(like)
    # Strides of what leaves no holes; any other is laid out anew.
    strides = torch.empty_like(like, device="meta").stride()
    if order is not None:
        strides = dense_strides(like.shape, order)
    flat = buffer[start : start + like.numel() * like.element_size()].view(like.dtype)
    return flat.as_strided(like.shape, strides)


Order = tuple[int, ...]
"""Axes of a tensor from the one with the largest stride to that with the smallest."""


def order_of(x: Tensor) -> Order:
    """How a tensor lies in memory, holes aside."""
    return tuple(sorted(range(x.dim()), key=lambda axis: (-x.stride(axis), axis)))


def dense_strides(shape: Sequence[int], order: Order) -> list[int]:
    """Strides of a tensor without holes that lies in memory in this order."""
    strides, step = [1] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return strides
