"""Tests of Triton's kernels on a CPU, in its interpreter.

It is chosen when Triton loads, and so takes a process of its own: `test_interpreter.py` starts it.
"""

import os

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

INSIDE = [
    pytest.mark.interpreted,
    pytest.mark.skipif(
        not INTERPRETED, reason="tests/ops/test_interpreter.py runs it, in another process"
    ),
]


def inside(test):
    """A test, as one that only Triton's interpreter can pass."""
    for mark in INSIDE:
        test = mark(test)
    return test


ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if ON_GPU else "cpu"
gpu = [pytest.mark.gpu, pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")]
kernels = pytest.mark.parametrize(
    "where", [pytest.param("interpreter", marks=INSIDE), pytest.param("gpu", marks=gpu)]
)
"""Both places where a kernel runs."""
