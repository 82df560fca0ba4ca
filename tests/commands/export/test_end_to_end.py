"""A trained segmentor becomes a file, and the file does what the run does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mmmamba
from mmmamba.commands import main

from ...inference import colours

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)
segmentor_run = colours.segmentor_run


def test_from_a_run_to_a_file_and_back(
    segmentor_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["export", str(segmentor_run), "--size", "60", "80", "--out", "colours.onnx"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "against PyTorch: right" in printed and "exported colours.onnx" in printed
    assert Path("colours_example.py").is_file()
    image = colours.draw_image(60, 80, 4)
    wanted = mmmamba.Predictor(segmentor_run)(image)
    given = mmmamba.Predictor("colours.onnx", batch_size=2).predict([image, image])[1]
    assert np.array_equal(wanted.labels, given.labels)
    assert wanted.classes.names == given.classes.names and given.shares() == wanted.shares()


def test_the_call_is_there_whatever_was_imported_before() -> None:
    import mmmamba.exporting.files

    assert callable(mmmamba.export) and mmmamba.exporting.files.FORMATS
