"""How the processes of a run exchange gradients."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from .fsdp import NAME as FSDP


def choose_ddp(cfg: Config, device: torch.device) -> None:
    """Name DDP and its settings in a config of several processes, where it names no wrapper.

    Gradients lie in the memory that they are exchanged in: they are the same, and need not be
    copied back, nor be held twice.

    Args:
        device: of the model.
    """
    if cfg.launcher == "none":
        return
    # As MMEngine wraps by itself, but for where gradients lie.
    made = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
        gradient_as_bucket_view=True,
    )
    if device.type == "cpu" and cfg.launcher == "pytorch":
        _meet_without_gpu()
        # It would name a GPU.
        cfg.model_wrapper_cfg = dict(made, device_ids=None)
        return
    named = cfg.get("model_wrapper_cfg") or {}
    # The resolved config of an earlier run names what was made here.
    ours = named.keys() - {"device_ids"} in (set(), made.keys())
    if ours and cfg.get("runner_type") != FSDP:
        cfg.model_wrapper_cfg = made


def _meet_without_gpu() -> None:
    """MMEngine's own start of several processes picks a CUDA device for each."""
    print_log("no GPU: the processes run on the CPU and talk through gloo", logger="current")
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
