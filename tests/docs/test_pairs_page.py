"""The page on pairs: a config is written, checked and predicted with, on drawn pairs."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from mmmamba.datasets.shape_pairs import make_pairs
from mmmamba.datasets.shapes import ShapesSpec

from ..inference import pair_runs
from .blocks import run_page

pair_run = pair_runs.pair_run


def test_pairs(pair_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = make_pairs(tmp_path / "data", ShapesSpec(num_train=4, num_val=2, size=64))
    (data / "rgb").rename(data / "images")
    shutil.copytree(pair_run, "work_dirs/mine")
    image, heat, _ = pair_runs.draw_pair()
    cv2.imwrite("a.jpg", image)
    cv2.imwrite("a_thermal.png", heat)
    run_page("docs/pairs.md", parsed=("mmmamba train",))
    assert len(list(Path("predictions/pictures").glob("*.jpg"))) == 2
