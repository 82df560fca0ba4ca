"""The lines of docs/deploy.md that open files run, on files made by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from mmmamba.commands import main

from ..exporting.onnx_files import write_detector
from ..inference import colours
from .blocks import arguments, run_page

pytest.importorskip("onnxruntime")
detector_run = colours.detector_run


def test_the_page(detector_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(detector_run, "work_dirs/demo")
    write_detector(tmp_path / "work_dirs/demo/demo.onnx", size=(64, 64))
    shutil.copy("work_dirs/demo/demo.onnx", "demo.onnx")
    Path("photos").mkdir()
    for seed, name in enumerate(("photo.jpg", "photos/a.jpg")):
        cv2.imwrite(name, colours.draw_image(60, 80, 1, seed))

    def bench(line: str) -> None:
        # A smaller backbone, for less than the usual seconds.
        words = arguments(line.replace("vmamba_t", "mobilemamba_t2"))
        assert main([*words, "--seconds", "0.01"]) == 0

    special = {"mmmamba bench": bench, "mmmamba.export(": str}
    # Exporting takes its time, and the run has no data to be tested on.
    run_page("docs/deploy.md", special, parsed=("mmmamba export", "mmmamba test"))
    assert len(list(Path("found/pictures").iterdir())) == 1
