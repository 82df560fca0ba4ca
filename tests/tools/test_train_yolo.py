"""Mamba YOLO-T learns to see shapes within a minute on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.logging import MessageHub

from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine import cli, demo

CONFIG = Path(__file__).parents[2] / "configs" / "mamba_yolo" / "mamba_yolo_t_300e_coco.py"


def test_training_finds_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EPOCHS", 6)
    monkeypatch.setattr(demo, "LEARNING_RATE", 2e-3)
    monkeypatch.setattr(demo, "DEFAULT_SPEC", ShapesSpec(num_train=100, num_val=16, size=96))
    assert cli.train([str(CONFIG), "--demo", "--work-dir", "run"]) == 0
    assert MessageHub.get_current_instance().get_scalar("val/coco/bbox_mAP").current() > 0.2
