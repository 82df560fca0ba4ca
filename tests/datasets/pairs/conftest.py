"""Drawn pairs for the tests of this folder."""

from pathlib import Path

import pytest

from mmmamba.datasets.shape_pairs import make_pairs
from mmmamba.datasets.shapes import ShapesSpec


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Six pairs to train on and three to validate on."""
    return make_pairs(tmp_path / "pairs", ShapesSpec(num_train=6, num_val=3, size=64))
