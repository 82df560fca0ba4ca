"""Maps that no neck or head reads: what made them gets gradients of zero.

Without a gradient a parameter would stop DistributedDataParallel at its second step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

OnUnread = Callable[[list[int]], None]


def watch_maps(
    maps: Sequence[Tensor], owners: Sequence[Sequence[nn.Module]], on_unread: OnUnread
) -> tuple[Tensor, ...]:
    """The maps unchanged, but no parameter behind them lacks a gradient after a backward pass.

    Where a loss depends on some of the maps only, what belongs to the others gets zeros.

    Args:
        maps: in the order of the network, each before the modules of its own.
        owners: for each map the modules that only it passes through on its way out.
        on_unread: called in the backward pass with the places of the unread maps.
    """
    recorded = torch.is_grad_enabled() and any(m.requires_grad for m in maps)
    # A compiled backward pass takes zeros for what nobody reads by itself.
    if not recorded or torch.compiler.is_compiling():
        return tuple(maps)
    trainable = [_trainable(modules) for modules in owners]
    counts = [len(parameters) for parameters in trainable]
    flat = [p for parameters in trainable for p in parameters]
    return _Watched.apply(on_unread, counts, *maps, *flat)


def _trainable(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]


class _Watched(torch.autograd.Function):
    """Maps and parameters to the same maps, seen by autograd as made of both.

    Its backward pass runs once all that read any of the maps are done; a map without a gradient
    was read by none.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(on_unread: OnUnread, counts: list[int], *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(m.view_as(m) for m in tensors[: len(counts)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        ctx.on_unread, ctx.counts, *tensors = inputs
        # Else PyTorch would hand over zeros for an unread map, and it could not be told apart.
        ctx.set_materialize_grads(False)
        # Parameters outlive the pass; of maps the shape will do.
        ctx.parameters = tensors[len(ctx.counts) :]
        ctx.likes = [(m.shape, m.dtype, m.device) for m in output]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        unread = [i for i, grad in enumerate(grads) if grad is None]
        if not unread:
            return None, None, *grads, *(None for _ in ctx.parameters)
        ctx.on_unread(unread)
        last_read = max(i for i, grad in enumerate(grads) if grad is not None)
        maps = list(grads)
        for i in range(last_read + 1, len(maps)):
            # The stages behind the last map that is read lead to no other. Those before it get
            # their gradients through the map that is read.
            shape, dtype, device = ctx.likes[i]
            maps[i] = torch.zeros(shape, dtype=dtype, device=device)
        parameters: list[Tensor | None] = []
        left = iter(ctx.parameters)
        for i, count in enumerate(ctx.counts):
            own = [next(left) for _ in range(count)]
            parameters += [torch.zeros_like(p) for p in own] if i in unread else [None] * count
        # None for the modules of maps that were read: their gradients come from the modules
        # themselves, and are not to be counted twice.
        return None, None, *maps, *parameters

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        # The first two inputs, a function and the counts, have no tangents.
        maps = tangents[2 : 2 + len(ctx.counts)]
        return tuple(None if t is None else t.view_as(t) for t in maps)
