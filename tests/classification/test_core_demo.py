"""`--demo` of a classifier: the drawn shapes, cut out."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mmpretrain")

from mmengine.config import Config

import mmmamba
from mmmamba.config.find import find_config
from mmmamba.datasets.shape_crops import make_crops
from mmmamba.datasets.shapes import CLASSES, ShapesSpec
from mmmamba.engine.demo import apply_demo

SPEC = ShapesSpec(num_train=6, num_val=3, size=48)


def test_a_shape_of_each_object_in_the_folder_of_its_class(tmp_path: Path) -> None:
    crops = make_crops(tmp_path / "shapes", SPEC)
    found = {split: [*(crops / split).glob("*/*.png")] for split in ("train", "val")}
    assert {path.parent.name for path in found["train"]} == set(CLASSES)
    assert len(found["train"]) > len(found["val"]) > 0
    times = [path.stat().st_mtime_ns for path in found["train"]]
    assert make_crops(tmp_path / "shapes", SPEC) == crops
    assert times == [path.stat().st_mtime_ns for path in found["train"]]
    # Of another specification they are drawn anew.
    fewer = make_crops(tmp_path / "shapes", ShapesSpec(num_train=1, num_val=1, size=48))
    assert len([*fewer.glob("train/*/*.png")]) < len(found["train"])


def test_a_student_learns_by_itself(tmp_path: Path) -> None:
    cfg = Config.fromfile(find_config("groupmamba_t_300e-distilled_imagenet"))
    apply_demo(cfg, tmp_path / "shapes", SPEC)
    assert cfg.model.type == "ImageClassifier" and "teacher" not in cfg.model
    assert cfg.model.backbone.num_classes == cfg.model.data_preprocessor.num_classes == 3


@pytest.mark.slow
def test_it_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = "efficientvmamba_t_300e_imagenet"
    run = mmmamba.train(config, demo=True, device="cpu", imgsz=48)
    assert run.metrics["accuracy/top1"] > 90
