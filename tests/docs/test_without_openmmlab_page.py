"""docs/without_openmmlab.md runs: plain PyTorch, a detector of torchvision, timm, the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from .blocks import run_page

pytest.importorskip("timm")
pytest.importorskip("huggingface_hub")


@pytest.mark.slow
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page("docs/without_openmmlab.md")
    assert Path("my_backbone/model.safetensors").is_file()
