"""docs/pretrain.md: its data are found, its configs are configs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mmpretrain")

from ..classification.core_data import draw_splits
from .blocks import run_page


def test_pretraining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_splits(Path("my_cells"))
    # tests/classification trains and tests so, and without reading published weights.
    run_page(
        "docs/pretrain.md",
        special={"mmmamba.train(": lambda code: compile(code, "page", "exec")},
        parsed=("mmmamba train", "mmmamba test"),
    )
    assert Path("mine.py").is_file()
