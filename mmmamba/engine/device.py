"""Which device a run is on, and how many processes share it."""

from __future__ import annotations

import os

import torch
from mmengine.device import get_device, utils

from ..errors import UsageError

PROCESSES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}
"""Where those who start processes say how many."""
_FOUND = get_device()
"""What MMEngine has found when it was imported."""


def use_device(name: str | None, launcher: str = "none") -> None:
    """Let runs of this process be on a device.

    Args:
        name: `cpu`, `cuda` or the number of a GPU; None takes the first GPU where there is one.
        launcher: what started the processes; each has a GPU of its own.

    Raises:
        UsageError: no such device is here, or several are named, with the command for them.
    """
    name = (name or "").removeprefix("cuda:")
    numbers = [part.strip() for part in name.split(",")]
    if len(numbers) > 1 and all(part.isdecimal() for part in numbers):
        raise UsageError(
            f"--device {name} names {len(numbers)} GPUs, and one process trains on one. Start one "
            f"for each: CUDA_VISIBLE_DEVICES={','.join(numbers)} torchrun --nproc-per-node="
            f"{len(numbers)} -m mmmamba train CONFIG"
        )
    if name.isdecimal():
        _use_gpu(int(name), launcher)
    elif name not in ("", "cpu", "cuda"):
        raise UsageError(f"--device is {name!r}, wanted cpu, cuda or the number of a GPU")
    elif name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch sees no GPU here. Write cpu")
    # MMEngine asks for the device in many places, all of them by this value, which it sets once.
    utils.DEVICE = "cpu" if name == "cpu" else "cuda" if name else _FOUND


def count_processes(launcher: str) -> int:
    """The processes that train together, each with a batch of its own."""
    return int(os.environ.get(PROCESSES.get(launcher, ""), "1"))


def _use_gpu(number: int, launcher: str) -> None:
    if launcher != "none":
        raise UsageError(
            f"--device {number}: {launcher} gives each process a GPU of its own. Choose them with "
            "CUDA_VISIBLE_DEVICES"
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= count:
        raise UsageError(f"--device {number}: PyTorch sees {count} GPUs here, counted from 0")
    torch.cuda.set_device(number)
