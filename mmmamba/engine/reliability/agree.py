"""One small number that all processes of a run agree on, without touching a GPU."""

from __future__ import annotations

import torch
from mmengine.dist import get_world_size


class Agreement:
    """A small number that all processes know.

    It has a gloo group of its own, as NCCL's would make the CPU wait for the GPU. All processes
    have to make it at the same point.
    """

    def __init__(self) -> None:
        self.group = torch.distributed.new_group(backend="gloo") if get_world_size() > 1 else None

    def most(self, value: int) -> int:
        """The largest value of any process; all have to ask."""
        if self.group is None:
            return value
        tensor = torch.tensor(value)
        torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX, self.group)
        return int(tensor)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.group is not None:
            torch.distributed.barrier(self.group)
