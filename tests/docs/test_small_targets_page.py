"""The examples of docs/small_targets.md run; its commands train, and are parsed."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from .blocks import ROOT, run_page


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def own_data(block: str) -> None:
        file = tmp_path / "mine.py"
        file.write_text(block.replace("configs/", f"{ROOT}/configs/"))
        data = Config.fromfile(file).train_dataloader.dataset
        assert (data.type, data.data_root) == ("SmallTargetDataset", "data/mine/")

    run_page("docs/small_targets.md", special={"_base_ =": own_data}, parsed=("mmmamba ",))
