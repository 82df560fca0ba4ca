"""What cannot work, with the reason.

The sweep fails for anything else, and for what is listed here and works.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from mmmamba.config.methods import BOUND, NEEDS, NOT_HERE

from .cases import CONTROL

FAULTS: dict[tuple[str, str], str] = {}
"""Ours, to be mended."""


def reason(name: str, backbone: str) -> str | None:
    """Why a case cannot work; None where it should."""
    if name in NOT_HERE:
        return NOT_HERE[name]
    if backbone == CONTROL:
        return None
    return BOUND.get(name) or FAULTS.get((name, backbone))


def surprises(results: dict[str, dict[str, dict]]) -> Iterator[str]:
    """A line for each result that is not what this list says."""
    for name, row in results.items():
        for backbone, result in row.items():
            why = reason(name, backbone)
            if result["ok"] and why:
                yield f"{name} {backbone} works, though it is listed: {why}"
            elif not result["ok"] and not why and not _lacks(name):
                yield f"{name} {backbone}: {result.get('stage', '')}: {result['reason']}"


def _lacks(name: str) -> bool:
    return name in NEEDS and find_spec(NEEDS[name]) is None
