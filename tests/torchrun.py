"""Programs of tests in two processes, as `torchrun` starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def torchrun(
    program: str, *words: str | Path, restarts: int = 0, patience: int = 300, gpus: bool = False
) -> None:
    """Run a program, named from the root of the checkout; it must end well.

    Args:
        restarts: how often torchrun starts both anew when one has died.
        patience: seconds.
        gpus: let them see GPUs, and so talk through NCCL.
    """
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        f"--max-restarts={restarts}",
        str(ROOT / program),
        *map(str, words),
    ]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    if not gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=patience
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
