"""Every kind of head trains in two processes, also where it leaves maps of the backbone unread."""

from __future__ import annotations

import pytest

from .two_processes import DROP_INS, folders


@pytest.mark.parametrize("name", [*folders(), *DROP_INS])
def test_two_steps_in_two_processes(two_processes: list[dict], name: str) -> None:
    for found in two_processes:
        assert found["heads"][name]["finite"]
        assert found["heads"][name]["apart"] == 0
