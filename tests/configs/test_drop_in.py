"""A config somebody already has, with three lines changed: the promise this project is for."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from .conftest import build_detector, train_step

MMDET_CONFIG = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
ROOT = Path(__file__).parents[2]
# As in the README, but for the size.
LINES = """
_base_ = "{base}"
custom_imports = dict(imports=["mmmamba"])
model = dict(
    backbone=dict(_delete_=True, type="VMamba", arch="vmamba_t"),
    neck=dict(in_channels=[96, 192, 384, 768]))
"""


@pytest.fixture
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's config in a directory of their own, on top of the file that mmdet ships."""
    monkeypatch.chdir(tmp_path)
    base = (
        Path(find_spec("mmdet").submodule_search_locations[0]) / ".mim" / "configs" / MMDET_CONFIG
    )
    path = tmp_path / "mine.py"
    path.write_text(LINES.format(base=base))
    return path


def test_mmdets_own_config_trains_a_step(own_config: Path) -> None:
    from mmengine.config import Config

    cfg = Config.fromfile(own_config)
    model = build_detector(cfg)
    assert type(model.backbone).__name__ == "VMamba" and cfg.optim_wrapper.optimizer.type == "SGD"
    losses = train_step(cfg, model)
    assert all(torch.isfinite(value).all() for value in losses.values())


def test_a_process_that_knows_only_mmdet_finds_it(own_config: Path) -> None:
    """Nothing imports mmmamba but the config's custom_imports."""
    code = (
        "from mmengine.config import Config; from mmengine.registry import init_default_scope; "
        f"cfg = Config.fromfile({str(own_config)!r}); cfg.model.backbone.depths = (1, 1, 1, 1); "
        "init_default_scope('mmdet'); from mmdet.registry import MODELS; "
        "print('found', type(MODELS.build(cfg.model).backbone).__name__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "found VMamba" in done.stdout
