"""Every kind of head trains in two processes, also where it leaves maps of the backbone unread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .two_processes import DROP_INS, folders

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each process found, by `torchrun` with gloo on the CPU."""
    folder = tmp_path_factory.mktemp("two_processes")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(ROOT / "tests/configs/two_processes.py"),
        str(folder),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", [*folders(), *DROP_INS])
def test_two_steps_in_two_processes(found: list[dict], name: str) -> None:
    for one in found:
        assert one[name]["finite"]
        assert one[name]["apart"] == 0
