"""What MMEngine's wrappers of optimizers hold."""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn


def wrappers_of(wrapper: Any) -> dict[str, OptimWrapper]:
    """MMEngine's wrappers of optimizers by name, those of other kinds left out."""
    several = wrapper.items() if isinstance(wrapper, OptimWrapperDict) else [("optimizer", wrapper)]
    return {key: one for key, one in several if isinstance(one, OptimWrapper)}


def with_gradients(wrapper: OptimWrapper) -> list[nn.Parameter]:
    """The parameters of an optimizer that have gradients now."""
    groups = wrapper.optimizer.param_groups
    return [p for group in groups for p in group["params"] if p.grad is not None]
