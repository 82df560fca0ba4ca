"""What a recorded pass takes for granted about a model, looked at before each replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules import module as of_all_modules

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = (
    of_all_modules._global_forward_hooks,
    of_all_modules._global_forward_pre_hooks,
    of_all_modules._global_backward_hooks,
    of_all_modules._global_backward_pre_hooks,
)
NUMBERS = ("p", "momentum", "drop_prob", "eps")
"""Attributes that recipes change while they train: of dropout, drop path and norms."""


class State(NamedTuple):
    """What a recorded pass has read once and for all."""

    training: list[bool]
    requires_grad: list[bool]
    identities: list[int]
    addresses: list[int]
    modules: list[int]
    numbers: list[Any]

    def changes(self, other: State) -> str:
        """What is different in another state, in words."""
        found = [text for text, old, new in zip(CHANGES, self, other) if old != new]
        return " and ".join(found)


CHANGES = (
    "modules were switched between training and evaluation",
    "parameters were frozen or freed",
    "parameters were replaced",
    "weights or buffers were moved in memory",
    "modules were replaced",
    "drop rates or momentum were changed",
)


class Watch:
    """Looks at modules quickly, as it does so in each pass.

    Args:
        roots: modules that are watched with all that is in them.
        hooked: those of them whose own hooks do run.
    """

    def __init__(self, roots: Iterable[nn.Module], hooked: Sequence[nn.Module] = ()):
        self.roots = list(roots)
        modules = list(dict.fromkeys(chain.from_iterable(root.modules() for root in self.roots)))
        self._modules = modules
        self._children = [m._modules for m in modules if m._modules]
        tensors = [*(m._parameters for m in modules), *(m._buffers for m in modules)]
        self._tensors: list[dict] = [held for held in tensors if held]
        self._numbers = [(m.__dict__, n) for m in modules for n in NUMBERS if n in m.__dict__]
        # The dictionaries themselves: to ask whether any of them holds something is quick.
        self._hooks = [(m, getattr(m, kind)) for m in modules if m not in hooked for kind in HOOKS]
        self._hook_dicts = [*(held for _, held in self._hooks), *GLOBAL_HOOKS]

    def state(self) -> State:
        """The state of now."""
        values = chain.from_iterable(map(dict.values, self._tensors))
        tensors = [x for x in values if x is not None]
        return State(
            list(map(attrgetter("training"), self._modules)),
            list(map(attrgetter("requires_grad"), tensors)),
            list(map(id, tensors)),
            # By address, too: `.to()` moves data while the parameter stays the same object.
            list(map(Tensor.data_ptr, tensors)),
            list(map(id, chain.from_iterable(map(dict.values, self._children)))),
            [held[name] for held, name in self._numbers],
        )

    def hooked(self) -> str | None:
        """A module with hooks, which a replay would not run, in words."""
        if not any(self._hook_dicts):
            return None
        for module, held in self._hooks:
            if held:
                return f"a {type(module).__name__} inside has hooks"
        return "there are hooks on all modules"

    def any(self, attribute: str) -> bool:
        """Whether this attribute of a module is true."""
        return any(getattr(module, attribute, False) for module in self._modules)
