"""The examples of docs/saliency.md run; its commands train, and are parsed."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from .blocks import ROOT, run_page


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def several_sets(block: str) -> None:
        file = tmp_path / "mine.py"
        file.write_text(block.replace("configs/", f"{ROOT}/configs/"))
        data = Config.fromfile(file).train_dataloader.dataset
        assert [one.condition for one in data.datasets] == ["natural_mouse", "natural_eye", "ui"]

    run_page("docs/saliency.md", special={"_base_ =": several_sets}, parsed=("mmmamba ",))
