"""Numbers stay: 12 iterations of a config of each head give the losses that are written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .golden import FILE, NAMES, drift, golden_losses

WANTED = json.loads(FILE.read_text())
# What another CPU's rounding may change, of the largest value of a loss. Weights that differ by
# 1e-6 of themselves from the start change the first four by less than 5e-5 (in the fifth one CPU
# took another region for the cascade), and the others, as a rule, by less than 1e-3, MobileMamba's
# by 1e-2.
FIRST, EARLY, LATE = 4, 1e-4, 3e-2
# In so many iterations rounding may decide whether a region is positive, of the few that these
# small heads draw.
DECIDED = 3


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_as_they_were(name: str, tmp_path: Path) -> None:
    found, wanted = golden_losses(name, tmp_path), WANTED[name]
    assert found.keys() == wanted.keys()
    moved = {}
    for key, values in found.items():
        drifts = drift(values, wanted[key])
        if max(drifts[:FIRST]) > EARLY or sorted(drifts)[-1 - DECIDED] > LATE:
            moved[key] = f"by {max(drifts[:FIRST]):.1e} at first, {max(drifts):.1e} in all"
    assert not moved, (
        "if they should move: python -m tests.configs.golden writes them anew; say so in the commit"
    )


def test_a_small_mistake_would_show(tmp_path: Path) -> None:
    """Weights that differ by a hundredth do."""
    name = "mask_rcnn/vmamba_t_1x_coco"
    found = golden_losses(name, tmp_path, noise=1e-2, iterations=FIRST)
    moved = []
    for key, values in found.items():
        # The later ones as they were.
        moved += drift([*values, *WANTED[name][key][FIRST:]], WANTED[name][key])
    assert max(moved) > EARLY
