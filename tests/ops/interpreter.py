"""Tests of Triton's kernels on a CPU, in its interpreter.

It is chosen when Triton loads, and so takes a process of its own: `test_interpreter.py` starts it.
"""

import inspect
import os
from functools import cache
from typing import Any

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def patch_builtins_by_name() -> None:
    """The interpreter looks for Triton's operators anew, in every call of a kernel's functions.

    Half of all its time went there; here their names are looked for once.
    """
    from triton.language.core import is_builtin
    from triton.runtime import interpreter

    @cache
    def names(module: Any) -> list[str]:
        return [name for name, member in inspect.getmembers(module) if is_builtin(member)]

    def patch(module: Any, builder: Any, scope: Any) -> None:
        # Within a kernel all of them are patched already.
        if names(module) and is_builtin(getattr(module, names(module)[0])):
            for name in names(module):
                interpreter._patch_attr(module, name, getattr(module, name), builder, scope)

    interpreter._patch_builtin = patch


if INTERPRETED:
    patch_builtins_by_name()

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
