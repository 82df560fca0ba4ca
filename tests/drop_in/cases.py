"""One config of each method that mmdet and mmseg ship."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def config_path(name: str) -> Path:
    """The file of such as ``mmdet/retinanet/retinanet_r50_fpn_1x_coco.py``."""
    package, _, inside = name.partition("/")
    root = Path(find_spec(package).submodule_search_locations[0]) / ".mim" / "configs"
    return root / inside
