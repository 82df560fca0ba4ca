"""Running statistics of every process.

Batch norm gathers its own in each, and a checkpoint's weights hold those of the first.

They change nothing that is trained, but a process validates its share of the images with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from mmengine.hooks import EMAHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from ...checkpoints.storing import misfit
from ...errors import UsageError
from ...printable import printable_names
from ..bare_model import bare_model

KEY = "buffers_of_processes"


def remember_buffers(runner: Runner) -> None:
    """Put buffers that differ between processes into the message hub, which each checkpoint holds.

    All processes have to ask.
    """
    world = get_world_size()
    if world == 1:
        # What a checkpoint of several processes left there would go into the next one.
        if runner.message_hub.get_info(KEY):
            runner.message_hub.update_info(KEY, {})
        return
    own = _floating_buffers(runner)
    rows = _rows_of_processes(own) if own else {}
    differing = {}
    for name, row in rows.items():
        if not row.equal(row[:1].expand_as(row)):
            buffer = own[name]
            differing[name] = row.to(buffer.dtype).reshape(world, *buffer.shape)
    runner.message_hub.update_info(KEY, differing)


def _rows_of_processes(buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every buffer as all processes have it: (processes, elements) of float64.

    They are joined before they are gathered, so that there is one call for all of them. float64
    holds every smaller type exactly.
    """
    together = torch.cat([buffer.detach().double().flatten() for buffer in buffers.values()])
    sizes = [buffer.numel() for buffer in buffers.values()]
    rows = torch.stack(all_gather(together)).cpu().split(sizes, dim=1)
    return dict(zip(buffers, rows))


def restore_buffers(runner: Runner) -> None:
    """Give this process what `remember_buffers` kept of it.

    Raises:
        UsageError: the checkpoint holds what no such statistics are.
    """
    kept: dict[str, Any] = runner.message_hub.get_info(KEY) or {}
    if not isinstance(kept, Mapping) or not all(map(_has_rows, kept.values())):
        raise UsageError(f"the checkpoint's {KEY} is not a dict of tensors, one row a process")
    worlds = {len(rows) for rows in kept.values()}
    if worlds - {get_world_size()}:
        print_log(
            f"the checkpoint is one of {worlds.pop()} processes, here there are "
            f"{get_world_size()}: each goes on with the running statistics of the first",
            "current",
            30,
        )
        return
    own = _floating_buffers(runner)
    # Another model's names are passed over with a line, as other state without a place is.
    missing = kept.keys() - own.keys()
    if missing:
        names = printable_names(sorted(missing))
        print_log(
            f"the checkpoint holds running statistics that have no place here: {names}",
            "current",
            30,
        )
    for name in kept.keys() & own.keys():
        if kept[name].shape[1:] != own[name].shape or misfit(kept[name], own[name]):
            raise UsageError(
                f"the checkpoint's {KEY} has {tuple(kept[name].shape[1:])} of {kept[name].dtype} "
                f"for {name}, wanted {tuple(own[name].shape)} of floating point"
            )
        own[name].data.copy_(kept[name][get_rank()])


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _floating_buffers(runner: Runner) -> dict[str, Tensor]:
    """Buffers of the model and of its averages, where batch norm has its statistics."""
    models = {"model": bare_model(runner.model)}
    averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    for number, hook in enumerate(averages):
        models[f"average{number}"] = hook.ema_model.module
    found = {}
    for which, model in models.items():
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point() and buffer.numel():
                found[f"{which}.{name}"] = buffer
    return found
