"""A run begins on the first screen with what it does; what it tells at length is in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.logging import MMLogger
from pycocotools import coco

from mmmamba.engine.log import DETAILS, DetailsAside

from .tiny_models import detection
from .tiny_runs import train

LONG = ("System environment", "Config:", "Hooks will be executed", "Initialization information")


def test_the_first_step_is_on_the_first_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As CI has it, where rich would take a pipe for a terminal and draw a live line.
    monkeypatch.setenv("FORCE_COLOR", "1")
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
    assert "images/s" not in screen and "\x1b[?25l" not in screen
    details = log.with_name("details.txt").read_text()
    assert all(words in details for words in LONG)
    # What pycocotools prints is not lost.
    assert "loading annotations" not in screen and "loading annotations" in details
    assert not hasattr(coco, "print")


class Bare:
    """What of a runner has to do with its log."""

    def __init__(self, folder: Path) -> None:
        self.log_dir, self.loaded = str(folder), False
        self.logger = self.build_logger()

    def build_logger(self) -> MMLogger:
        return MMLogger(self.log_dir, log_file=str(Path(self.log_dir, "run.log")))

    def load_or_resume(self) -> None:
        self.loaded = True


def test_only_long_texts_of_the_start_are_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runner = type("Ours", (DetailsAside, Bare), {})(tmp_path)
    runner.logger.info("short")
    runner.logger.info("long\ntext")
    runner.logger.warning("long\nwarning")
    runner.load_or_resume()
    assert runner.loaded
    runner.logger.info("later\ntable")
    for text in (capsys.readouterr().out, (tmp_path / "run.log").read_text()):
        assert "short" in text and "long\nwarning" in text and "later\ntable" in text
        assert "long\ntext" not in text
    details = (tmp_path / DETAILS).read_text()
    assert "long\ntext" in details and "short" not in details and "warning" not in details
