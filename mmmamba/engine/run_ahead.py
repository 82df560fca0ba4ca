"""Training steps in which Python does not wait for the GPU."""

from __future__ import annotations

from typing import Any

from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import OptimWrapper
from torch import nn

from ..models.segmentors.quick_losses import quick_losses, slow_losses
from .late_hub import LateHub, read_at_once, read_late
from .optimizers import with_gradients, wrappers_of
from .sharding import whole
from .synced_norms import leave_counts_unread, read_counts


class RunAhead:
    """Takes the waits out of a model's `train_step`, until it is undone.

    Losses and the norm of clipped gradients are read one step later, or when somebody asks the hub
    for them; images travel to the GPU without being waited for, where they lie in pinned memory;
    mmseg's heads count right pixels without reading back how many there are (`quick_losses`), and
    batch norms over several processes their images (`leave_counts_unread`).

    Args:
        wrapper: MMEngine's, or a dictionary of several.
        hub: that losses are given to.
    """

    def __init__(self, model: nn.Module, wrapper: Any, hub: MessageHub):
        self.hub, self.wrappers = read_late(hub), list(wrappers_of(wrapper).values())
        self.heads, self.norms = quick_losses(model), leave_counts_unread(model)
        self.preprocessors = []
        for one in self.wrappers:
            _clip_without_reading(one, self.hub)
        for module in model.modules():
            if isinstance(module, BaseDataPreprocessor) and not module._non_blocking:
                module._non_blocking = True
                self.preprocessors.append(module)

    def end_step(self) -> None:
        """Wait for the step before this one, which is to be called after each."""
        self.hub.end_step()

    def undo(self) -> None:
        """Read what is on its way, and leave all as it was."""
        for one in self.wrappers:
            one.__dict__.pop("_clip_grad", None)
        slow_losses(self.heads)
        read_counts(self.norms)
        for module in self.preprocessors:
            module._non_blocking = False
        read_at_once(self.hub)


def _clip_without_reading(wrapper: OptimWrapper, hub: LateHub) -> None:
    """Have a wrapper give the norm of its gradients to a hub as a tensor."""
    # A subclass may clip in a way of its own.
    if type(wrapper)._clip_grad is not OptimWrapper._clip_grad:
        return

    def clip() -> None:
        parameters = with_gradients(wrapper)
        if not parameters:
            return
        norm = wrapper.clip_func(parameters, **wrapper.clip_grad_kwargs)
        # Clipping by value gives none.
        if norm is not None:
            hub.update_scalar(f"train/{wrapper.grad_name}", whole(norm))

    wrapper._clip_grad = clip
