"""One of two processes: a gradient that overflows in one of them, under FSDP and a loss scale."""

from __future__ import annotations

import os
import sys

import torch
from torch import distributed, nn

from mmmamba.engine.sharding import shard, whole


def weights_and_scale(bad: int | None, fused: bool) -> tuple[torch.Tensor, float]:
    """After a step, and one in which process `bad` overflows."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
    shard(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    rank = distributed.get_rank()
    for step in range(1 if bad is None else 2):
        x = torch.full((3, 4), float("inf") if step == 1 and rank == bad else rank + 1.0)
        optimizer.zero_grad()
        scaler.scale(model(x).sum()).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    return torch.cat([whole(p.detach()).flatten() for p in model.parameters()]), scaler.get_scale()


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    for fused in (False, True):
        wanted, _ = weights_and_scale(None, fused)
        for bad in (0, 1):
            got, scale = weights_and_scale(bad, fused)
            assert torch.equal(got, wanted) and scale == 4.0, (bad, fused, scale)
    # Gloo's threads may abort a process that takes itself apart.
    sys.stdout.flush()
    os._exit(0)
