"""How many operators a computation calls, and which of them wait for a GPU."""

from __future__ import annotations

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2"}


class Operators(TorchDispatchMode):
    """Counts operators that compute something; views do not."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            for index in args[1]:
                masks = index is not None and index.dtype in (torch.bool, torch.uint8)
                assert not masks, "indexing by a mask waits for the number of its True"
        if not is_view(func):
            self.count[name] += 1
        return func(*args, **(kwargs or {}))

    def check_nothing_waits(self) -> None:
        assert not WAITING & set(self.count), WAITING & set(self.count)


def is_view(func: torch._ops.OpOverload) -> bool:
    """Whether an operator gives another look at what it got."""
    infos = [argument.alias_info for argument in func._schema.arguments]
    return any(info is not None and not info.is_write for info in infos)
