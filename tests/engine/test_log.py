"""A run begins on the first screen with what it does; what it tells at length is in a file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from mmengine.logging import print_log
from pycocotools import coco

from .tiny_models import Toy, detection, toy, validated
from .tiny_runs import train

LONG = ("System environment", "Config:", "Hooks will be executed", "Initialization information")


def test_the_first_step_is_on_the_first_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = detection(tmp_path)
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=2)
    assert train(cfg, "--no-pictures") == 0
    (log,) = Path(cfg.work_dir).glob("*/*.log")
    screen = capsys.readouterr().out
    for text in (screen, log.read_text()):
        before, _, _ = text.partition("(train) ")
        assert before != text and len(before.splitlines()) < 40
        assert not any(words in text for words in LONG)
        assert "\n  model       NoCopyMaskRCNN on VMamba, " in text
        assert (
            "\n  training    CocoDataset, 10 images, 3 classes (circle, square, triangle)\n" in text
        )
        assert "\n  batch       2 images\n  schedule    2 steps\n" in text
    details = log.with_name("details.txt").read_text()
    assert all(words in details for words in LONG)
    # What pycocotools prints is not lost.
    assert "loading annotations" not in screen and "loading annotations" in details
    assert not hasattr(coco, "print")


def test_a_warning_of_many_lines_is_on_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = validated(toy(tmp_path))
    cfg.train_cfg.max_epochs = 1
    begin = Toy.__init__

    def warned(self: Toy, *args: object) -> None:
        begin(self, *args)
        print_log("first\nsecond", "current", logging.WARNING)

    monkeypatch.setattr(Toy, "__init__", warned)
    assert train(cfg, "--no-pictures") == 0
    (log,) = Path(cfg.work_dir).glob("*/*.log")
    screen = capsys.readouterr().out
    for text in (screen, log.read_text()):
        assert "first\nsecond" in text
        assert "\n  validation  Noise, 10 images, each epoch\n" in text
    assert "first" not in log.with_name("details.txt").read_text()
