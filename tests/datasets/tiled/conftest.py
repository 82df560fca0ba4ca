from __future__ import annotations

import pytest
from mmengine.registry import DefaultScope

import mmmamba.detection  # noqa: F401

from .scenes import write_scenes


@pytest.fixture(autouse=True)
def mmdet_scope():
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Two large images of many objects, and one that is smaller than the tiles."""
    sizes = [(150, 230), (170, 140), (40, 60)]
    return write_scenes(tmp_path_factory.mktemp("scenes"), sizes)
