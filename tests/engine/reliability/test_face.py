"""What keeps a run safe is taken from one place."""

from __future__ import annotations

from mmmamba.engine import reliability

from ...test_imports import IMPORTS

FACE = "engine.reliability"


def test_nothing_outside_imports_from_the_files_inside() -> None:
    outside = {name: found for name, found in IMPORTS.items() if not name.startswith(FACE)}
    past = {
        name: [one for one in found if one.startswith(f"{FACE}.")]
        for name, found in outside.items()
    }
    assert not {name: found for name, found in past.items() if found}


def test_what_it_promises_is_there() -> None:
    assert all(hasattr(reliability, name) for name in reliability.__all__)
