"""Runs that torchrun starts again by itself when one of their processes has died."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.logging import print_log
from torch.distributed.rendezvous import rendezvous

from ...errors import UsageError
from .resume.newest import newest_whole

RESTARTS = "TORCHELASTIC_RESTART_COUNT"
"""How often torchrun has started this run again."""
MOST = "TORCHELASTIC_MAX_RESTARTS"
"""How often it may (`--max-restarts`)."""


def restarts_of(cfg: Config) -> int:
    """How often torchrun has started the run of this process again."""
    return int(os.environ.get(RESTARTS, 0)) if cfg.launcher == "pytorch" else 0


def meet_again(cfg: Config) -> None:
    """Let the processes of a run that torchrun has started again find one another.

    torchrun keeps one store for all starts, and in it the addresses of processes that are dead:
    each start has a part of its own here. MMEngine takes a group that exists for its own.
    """
    options = dict((cfg.get("env_cfg") or {}).get("dist_cfg") or {})
    backend = options.pop("backend", "nccl")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        backend = "gloo"
    store, rank, world_size = next(iter(rendezvous("env://")))
    own = dist.PrefixStore(f"restart_{restarts_of(cfg)}", store)
    dist.init_process_group(backend, store=own, rank=rank, world_size=world_size, **options)


def resumed_after_restart(cfg: Config, resume: str | None, newest: str) -> str | None:
    """What a run goes on from: what was asked for, or its newest checkpoint after a restart.

    The command is the same each time, and what it resumed at first is older than what the run has
    saved since.

    Args:
        resume: what was asked for.
        newest: the word for the newest checkpoint of the work dir.

    Raises:
        UsageError: the run begins anew, may be started again, and its folder holds checkpoints
            which a restart could not tell from its own.
    """
    restarts = restarts_of(cfg)
    if not restarts:
        most = int(os.environ.get(MOST, 0)) if cfg.launcher == "pytorch" else 0
        if most and resume is None and newest_whole(cfg):
            raise UsageError(
                f"--max-restarts {most}: a restart goes on from the newest checkpoint of "
                f"{cfg.work_dir}, which holds some of an earlier run. Say --resume to go on from "
                "them, or name another --work-dir"
            )
        return resume
    if resume in (None, newest) or newest_whole(cfg):
        print_log(f"torchrun has started this run again, for the {restarts}. time", "current")
        return newest
    return resume
