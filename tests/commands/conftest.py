"""Data to write configs for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmmamba.datasets.shapes import ShapesSpec, make_shapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn shapes as COCO files, and below `maps` as folders of label maps."""
    root = make_shapes(
        tmp_path_factory.mktemp("data") / "shapes", ShapesSpec(num_train=4, num_val=2, size=64)
    )
    for split in ("train", "val"):
        shutil.copytree(root / split, root.parent / "maps/images" / split)
        shutil.copytree(root / "labels" / split, root.parent / "maps/labels" / split)
    return root.parent
