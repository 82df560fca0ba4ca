"""Mamba YOLO-T learns to see shapes within a minute on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine import cli, demo

CONFIG = Path(__file__).parents[2] / "configs" / "mamba_yolo" / "mamba_yolo_t_300e_coco.py"


def test_training_finds_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EPOCHS", 6)
    monkeypatch.setattr(demo, "LEARNING_RATE", 2e-3)
    monkeypatch.setattr(demo, "DEFAULT_SPEC", ShapesSpec(num_train=100, num_val=16, size=96))
    assert cli.train([str(CONFIG), "--demo", "--work-dir", "run"]) == 0
    scalars = next((tmp_path / "run").rglob("vis_data/scalars.json")).read_text().splitlines()
    results = [row for row in map(json.loads, scalars) if "coco/bbox_mAP" in row]
    assert results[-1]["coco/bbox_mAP"] > 0.2
