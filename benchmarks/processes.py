"""Processes of a benchmark on several GPUs, and the rows that they tell while they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from common import DEVICE
from mmengine.model import MMDistributedDataParallel
from torch import distributed, nn

TOLD = "BENCHMARK_ROWS"
"""In the environment: the file that rows are told by."""


def join() -> tuple[int, int]:
    """Meet the other processes of torchrun. Returns this one's rank, and how many there are."""
    if DEVICE == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if DEVICE == "cuda" else "gloo")
    return distributed.get_rank(), distributed.get_world_size()


def distribute(model: nn.Module, stock: bool = False) -> MMDistributedDataParallel:
    """A model whose gradients the processes exchange, as our runs make it, or as MMEngine does."""
    devices = [torch.cuda.current_device()] if DEVICE == "cuda" else None
    return MMDistributedDataParallel(
        model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=not stock
    )


def tell(row: dict[str, Any]) -> None:
    """Hand a row to the process that started this one. For one of the processes alone."""
    with open(os.environ[TOLD], "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


class Processes:
    """A script in as many processes by torchrun.

    Iterating gives the rows as they are told; then `code` is torchrun's exit code, and what it
    wrote is printed where that is not 0.
    """

    def __init__(self, count: int, script: str, *arguments: Any, threads: int = 1) -> None:
        self.count, self.code = count, 0
        self.command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        self.command += [f"--nproc-per-node={count}", script, *map(str, arguments)]
        self.threads = threads

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            told, log = Path(folder, "rows"), Path(folder, "log")
            told.touch()
            environment = {**os.environ, TOLD: str(told), "OMP_NUM_THREADS": str(self.threads)}
            with log.open("w") as out, told.open(encoding="utf-8") as rows:
                process = subprocess.Popen(
                    self.command, env=environment, stdout=out, stderr=subprocess.STDOUT
                )
                while process.poll() is None:
                    time.sleep(0.2)
                    yield from map(json.loads, rows)
                yield from map(json.loads, rows)
            self.code = process.returncode
            if self.code:
                print(f"{self.count} processes: {log.read_text()[-2500:]}", flush=True)
