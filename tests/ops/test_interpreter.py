"""All that needs Triton's interpreter, in a few processes that it is switched on in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmmamba.ops.launch import HAS_TRITON

from .interpreter import INTERPRETED

TESTS = Path(__file__).parents[1]
PROCESSES = 2
"""Few, as a process takes longer to start than most files do."""

FILES = [
    path
    for path in sorted(TESTS.rglob("test_*.py"))
    if "interpreter import" in path.read_text(encoding="utf-8") and path != Path(__file__)
]
GROUPS = {f"every second, from {n}": FILES[n::PROCESSES] for n in range(PROCESSES)}


@pytest.mark.skipif(INTERPRETED or not HAS_TRITON, reason="is inside already, or no Triton")
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
@pytest.mark.parametrize("group", GROUPS)
def test_in_the_interpreter(group: str, which: str) -> None:
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *("-m", f"interpreted and not gpu and {which}"),
        *map(str, GROUPS[group]),
    ]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    # 5: a group without slow tests.
    assert done.returncode in (0, 5 if which == "slow" else 0), done.stdout[-4000:] + done.stderr
