"""Every kind of head trains in two processes, also where it leaves maps of the backbone unread."""

from __future__ import annotations

import json

import pytest

from ..torchrun import torchrun
from .two_processes import DROP_INS, folders


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each process found, by `torchrun` with gloo on the CPU."""
    folder = tmp_path_factory.mktemp("two_processes")
    torchrun("tests/configs/two_processes.py", folder)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", [*folders(), *DROP_INS])
def test_two_steps_in_two_processes(found: list[dict], name: str) -> None:
    for one in found:
        assert one[name]["finite"]
        assert one[name]["apart"] == 0
