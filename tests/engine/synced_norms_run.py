"""One of two processes with a GPU each: batch norms over both, with counts read back or not."""

from __future__ import annotations

import copy
import os

import torch
from torch import Tensor, distributed, nn

from mmmamba.engine.synced_norms import leave_counts_unread


def step(model: nn.Module, x: Tensor) -> list[Tensor]:
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel(), device=y.device).view_as(y)).sum().backward()
    return [y, *(p.grad for p in model.parameters()), *model.buffers()]


if __name__ == "__main__":
    rank = int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(rank)
    distributed.init_process_group("nccl")
    torch.manual_seed(0)
    reading = nn.Sequential(nn.Conv2d(3, 8, 3), nn.SyncBatchNorm(8), nn.ReLU()).cuda()
    quick = copy.deepcopy(reading)
    assert leave_counts_unread(quick) == [quick[1]]
    # One has an image, the other two.
    x = torch.randn(1 + rank, 3, 9, 7, generator=torch.Generator().manual_seed(rank)).cuda()
    for _ in range(2):
        wanted = step(reading, x)
        # Whatever waits for the GPU raises.
        torch.cuda.set_sync_debug_mode("error")
        got = step(quick, x)
        torch.cuda.set_sync_debug_mode("default")
        assert all(map(torch.equal, got, wanted))
    distributed.destroy_process_group()
