"""Mamba YOLO-T learns to see shapes within a minute on a CPU, and sees as well when fused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmengine.logging import MessageHub

from mmmamba.commands import main
from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine import demo

CONFIG = Path(__file__).parents[2] / "configs" / "mamba_yolo" / "mamba_yolo_t_300e_coco.py"


@pytest.mark.slow
def test_training_finds_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EPOCHS", 6)
    monkeypatch.setattr(demo, "LEARNING_RATE", 2e-3)
    monkeypatch.setattr(demo, "DEFAULT_SPEC", ShapesSpec(num_train=100, num_val=16, size=96))
    assert main(["train", str(CONFIG), "--demo", "--work-dir", "run"]) == 0
    trained = MessageHub.get_current_instance().get_scalar("val/coco/bbox_mAP").current()
    assert trained > 0.2
    capsys.readouterr()
    assert main(["test", str(CONFIG), "--demo", "--work-dir", "run", "--fuse"]) == 0
    assert re.search(r"--fuse: (\d+) of \1 batch norms", capsys.readouterr().out)
    fused = MessageHub.get_current_instance().get_scalar("test/coco/bbox_mAP").current()
    assert fused == pytest.approx(trained, abs=0.01)
