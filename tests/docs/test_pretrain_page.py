"""docs/pretrain.md: its data are found, its configs are configs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("mmpretrain")

from ..classification.core_data import draw_splits
from ..classification.verbs_runs import RESNET, write_clip, write_images, write_run
from .blocks import run_page


def test_pretraining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_splits(Path("my_cells"))
    photos = write_images(Path("photos"))
    shutil.copy(photos / "eosinophil/0.png", "photo.jpg")
    write_clip(Path("clip.mp4"))
    write_run(Path("work_dirs/mine"), RESNET)
    # tests/classification does so with small models, and without reading published weights.
    run_page(
        "docs/pretrain.md",
        special={"mmmamba.train(": lambda code: compile(code, "page", "exec")},
        parsed=(
            "mmmamba train",
            "mmmamba test",
            "mmmamba bench",
            "mmmamba inspect",
            "mmmamba export",
            "mmmamba infer mine.onnx",
        ),
    )
    assert Path("mine.py").is_file() and Path("found.jpg").is_file()
    assert len(Path("found/predictions.csv").read_text().splitlines()) == 1 + 6 + 3
