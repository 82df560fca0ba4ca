"""Tests of Triton's kernels on a CPU, in its interpreter.

That takes a process of its own, as it is chosen when Triton loads.
"""

import os
import subprocess
import sys

import pytest
import torch

from mmmamba.ops.launch import HAS_TRITON

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

inside = pytest.mark.skipif(
    not INTERPRETED, reason="run by the test of this file that starts the interpreter"
)
outside = pytest.mark.skipif(
    INTERPRETED or not HAS_TRITON, reason="is the interpreter's process, or has no Triton"
)


ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if ON_GPU else "cpu"
gpu = [pytest.mark.gpu, pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")]
kernels = pytest.mark.parametrize(
    "where", [pytest.param("interpreter", marks=inside), pytest.param("gpu", marks=gpu)]
)
"""Both places where a kernel runs."""


def check_in_the_interpreter(file: str, *options: str) -> None:
    """The tests of a file pass in the interpreter's process."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-m",
        "not gpu",
        *options,
        file,
    ]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
